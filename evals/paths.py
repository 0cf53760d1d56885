"""Where the project's own files lie: `configs/` and the repository, from a checkout and from an installed copy.

In a checkout `configs/` stands beside the package. A wheel carries it inside the package, as
`evals/_configs`, where it cannot meet a folder of another project. EVALS_CONFIGS names another
folder of configs, and wins over both.
"""

import os
from pathlib import Path, PurePosixPath

VARIABLE = "EVALS_CONFIGS"

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_configs"  # pyproject.toml puts configs/ there
_BUILT = _PACKAGE / "_built.json"  # hatch_build.py writes it


def checkout() -> Path | None:
    """The root of the repository that this code runs from; None for an installed copy."""
    # An editable installation is a checkout: its configs are those that are edited.
    return None if _INSTALLED.is_dir() else _PACKAGE.parent


def built_from() -> Path:
    """The file in which a wheel says what commit it was built from; a checkout has none."""
    return _BUILT


def configs() -> Path:
    """The folder of benchmarks.yaml, models.yaml and their like: EVALS_CONFIGS if that is set, else the one that came along."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen) if chosen else bundled()


def bundled() -> Path:
    """The `configs/` that came with this code, the bundled checkpoint among it, whatever EVALS_CONFIGS says."""
    root = checkout()
    return root / "configs" if root else _INSTALLED


def of_row(path: str) -> Path:
    """The place that a `path:` in a row means.

    `configs/…` lies in the folder of configs, or in the bundled one when the former has no such
    file. Anything else is relative to the repository; for an installed copy, to the folder above
    the configs.
    """
    first, _, rest = path.partition("/")
    if first == "configs":
        # A folder of one's own need not copy the bundled checkpoint to have its row.
        chosen = configs() / rest
        return chosen if chosen.exists() else bundled() / rest
    return (checkout() or configs().parent) / path


def leads_out(name: str) -> bool:
    """Whether a name that comes from a file means a place outside of the folder that it is relative to."""
    path = PurePosixPath(name)
    # As POSIX on every system: the names come from files that are shared.
    return path.is_absolute() or ".." in path.parts


def baseline_folder() -> Path:
    """The folder that baselines are written to: `results/baselines` below the current folder."""
    return Path("results") / "baselines"


def baseline_folders() -> list[Path]:
    """Where a baseline is looked for by its name: in `baseline_folder`, then among those committed to the repository."""
    root = checkout()
    return [baseline_folder(), *([root / baseline_folder()] if root else [])]


def as_recorded(folder: Path) -> str:
    """A folder as a record names it: one that came along has the same name on every machine, such as `configs/tiny`."""
    folder = folder.resolve()
    if folder.is_relative_to(bundled()):
        return f"configs/{folder.relative_to(bundled()).as_posix()}".removesuffix("/.")
    root = checkout()
    return str(folder.relative_to(root) if root and folder.is_relative_to(root) else folder)
