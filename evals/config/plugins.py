"""Encoders and loaders of data that other installed packages bring, found by their entry points.

A package declares them in its pyproject.toml, and nothing here is imported before one is named:

    [project.entry-points."jina_clip_evals.encoders"]
    mine = "my_package:MyEncoder"

    [project.entry-points."jina_clip_evals.data"]
    my_format = "my_package:load"

Then `--model mine:SPEC` and rows with `encoder: mine` mean MyEncoder(spec=SPEC, name=NAME), and
rows with `data: my_format` are read by load(source). docs/plugins.md says what both must give.
"""

from collections.abc import Callable, Collection
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from evals.schema import ConfigError, MissingError

ENCODERS = "jina_clip_evals.encoders"
DATA = "jina_clip_evals.data"


class Plugin(NamedTuple):
    """An entry point and the package that brings it, as `my-package 1.2`."""

    entry: EntryPoint
    package: str

    def load(self) -> Callable[..., Any]:
        """What the entry point names. MissingError where its package cannot be imported."""
        try:
            loaded: Callable[..., Any] = self.entry.load()
        except (ImportError, AttributeError) as error:
            raise MissingError(
                f"{self.entry.value}, which {self.package} declares as {self.entry.name} of "
                f"{self.entry.group}, cannot be imported: {error}. Install the package again."
            ) from None
        return loaded


def plugins(group: str, taken: Collection[str]) -> dict[str, Plugin]:
    """The plug-ins of a group by name.

    ConfigError, with both places, for a name in `taken`, which is built in, and for one that two
    packages bring: which of them is meant must not depend on the order of installation.
    """
    brought: dict[str, Plugin] = {}
    for entry in entry_points(group=group):
        plugin = Plugin(entry, _package_of(entry))
        if entry.name in taken:
            raise ConfigError(
                f"{plugin.package} brings {entry.name} ({group}), which jina-clip-evals has "
                "itself. Rename or uninstall that plug-in."
            )
        first = brought.setdefault(entry.name, plugin)
        # one package may stand on the path twice, as an editable one does
        if (first.package, first.entry.value) != (plugin.package, entry.value):
            raise ConfigError(
                f"{first.package} and {plugin.package} both bring {entry.name} ({group}). "
                "Uninstall one of them."
            )
    return brought


def _package_of(entry: EntryPoint) -> str:
    distribution = entry.dist
    if distribution is None:
        return "a package without a name"
    return f"{distribution.metadata['Name']} {distribution.version}"
