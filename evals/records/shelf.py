"""Finds records below a folder by what their manifests say.

Where a record lies and what its folder is called must follow from its manifest. A record that was
laid into the place of another is refused, because it would pass for it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from evals.records.identity import ModelIdentity
from evals.records.manifest import Manifest, path_component, read_manifest
from evals.records.places import check_place, check_time
from evals.records.record import list_incomplete, list_runs
from evals.schema import InvalidError


@runtime_checkable
class Choice(Protocol):
    """Which models are meant, and the names that their records usually carry."""

    @property
    def names(self) -> Sequence[str]: ...

    def accepts(self, model: ModelIdentity) -> bool: ...


class Entry(NamedTuple):
    """A record with its manifest, whose checksum holds."""

    path: Path
    manifest: Manifest

    @property
    def model(self) -> ModelIdentity:
        """Which model was measured."""
        return self.manifest.model_identity


class Shelf:
    """All records below a folder. Manifests are read once, other files not at all."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_benchmark: dict[str, list[Entry]] = {}
        self._by_folder: dict[Path, list[Entry | InvalidError]] = {}
        for path in list_runs(root):
            entry = _read(path)
            self._by_folder.setdefault(path.parent, []).append(entry)
            if isinstance(entry, Entry):
                self._by_benchmark.setdefault(entry.manifest.benchmark, []).append(entry)

    def __iter__(self) -> Iterator[Entry]:
        """All records whose manifests could be read."""
        for entries in self._by_benchmark.values():
            yield from entries

    def __len__(self) -> int:
        return sum(map(len, self._by_folder.values()))

    def newest_first(self, benchmark: str, model: Choice) -> list[Entry]:
        """The records of a benchmark by a model, the newest first.

        InvalidError for one that lies elsewhere than its manifest says or is from the future, and
        for whatever lies among these and is broken or of another benchmark or model.
        """
        entries = [
            entry for entry in self._by_benchmark.get(benchmark, ()) if model.accepts(entry.model)
        ]
        folders = {self._folder(benchmark, name) for name in model.names}
        for folder in folders | {entry.path.parent for entry in entries}:
            for entry in self._by_folder.get(folder, ()):
                if isinstance(entry, InvalidError):
                    raise entry
                check_place(entry.path, entry.manifest)
                check_time(entry.path, entry.manifest)
        return sorted(entries, key=lambda entry: entry.path.name, reverse=True)

    def newest(self, model: Choice) -> Entry | None:
        """The newest record by a model, of whatever benchmark; None when there is none."""
        entries = [entry for entry in self if model.accepts(entry.model)]
        return max(entries, key=lambda entry: entry.path.name, default=None)

    def interrupted(self, benchmark: str, model: Choice) -> list[Path]:
        """The folders of runs that ended before they had a manifest, or that are writing now."""
        return [
            path for name in model.names for path in list_incomplete(self.root, benchmark, name)
        ]

    def _folder(self, benchmark: str, name: str) -> Path:
        return self.root / path_component(benchmark) / path_component(name)


def _read(path: Path) -> Entry | InvalidError:
    try:
        return Entry(path, read_manifest(path))
    except InvalidError as error:
        return error
