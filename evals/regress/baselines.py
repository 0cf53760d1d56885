"""Reads baselines: folders of whole records below results/baselines, each with an index.

    NAME/index.json                    what belongs to the baseline, with hashes
    NAME/history.jsonl                 when, why and by whom it was moved, one line per record
    NAME/<benchmark>/<model>/<record>  copies of records

The index alone says what the baseline is. It is replaced by one rename, so that a move happens as a
whole or not at all (evals.regress.moves). What lies there and is not in it is a leftover of a move
that was killed, and is not read.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from evals.config.rows import nearest
from evals.paths import baseline_folder, baseline_folders
from evals.reading import read_json, read_jsonl
from evals.records.manifest import MANIFEST, path_component
from evals.records.places import read_placed
from evals.records.record import Run, list_incomplete, read_run
from evals.records.selection import newest_of_each
from evals.schema import ConfigError, InvalidError, MissingError

BASELINES = baseline_folder()
INDEX = "index.json"
HISTORY = "history.jsonl"
SCHEMA_VERSION = 1
# benchmark/model/record, as path_component writes them: nothing that leads out of the baseline
_PLACE = re.compile(r"(?!\.)[\w.-]+(/(?!\.)[\w.-]+){2}", re.ASCII)

T = TypeVar("T")


@dataclass(frozen=True)
class Index:
    """What belongs to a baseline.

    `records` gives the sha256 of the manifest, which holds those of the other files, by the path
    below the baseline (`benchmark/model/record`). `history` is how many lines of the history are
    true: a move that was killed may have left more. `history_sha256` is the hash of these lines,
    None in an index of earlier versions.
    """

    records: Mapping[str, str] = field(default_factory=dict)
    history: int = 0
    history_sha256: str | None = None

    def as_json(self) -> bytes:
        """The bytes of index.json."""
        value: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "history": self.history,
            "records": dict(self.records),
        }
        if self.history_sha256 is not None:
            value["history_sha256"] = self.history_sha256
        return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_baseline(name: str) -> list[Run]:
    """The records of a baseline: a name, a folder of records, or one record.

    ConfigError when there is no such place, InvalidError when it holds no record, a broken one, or
    not all that its index names.
    """
    folder = locate(name)
    if (folder / MANIFEST).exists():
        return [read_run(folder)]
    if is_indexed(folder):
        return while_unmoved(folder, lambda: _read_indexed(folder))
    return _read_loose(folder)


def locate(name: str) -> Path:
    """The folder that `--baseline` means. ConfigError when there is none."""
    folders = list(dict.fromkeys([BASELINES, *baseline_folders()]))
    if path_component(name) == name:
        for folder in folders:
            if (folder / name).is_dir():
                return folder / name
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path_component(name) != name:
        raise ConfigError(
            f"{name}: no such folder. Name a record, a folder of records such as results/runs, or a "
            "baseline by its name."
        )
    names = sorted({path.name for folder in folders for path in folder.glob("*/")})
    raise ConfigError(
        f"No baseline {name!r}.{nearest(name, dict.fromkeys(names))} "
        f"There is {', '.join(names) or 'none yet'} in {' or '.join(map(str, folders))}; "
        "a path to a record or a folder of records serves too."
    )


def is_indexed(folder: Path) -> bool:
    """Whether a folder was made by `baseline set`, rather than being any folder of records."""
    return (folder / INDEX).exists() or (folder / HISTORY).exists()


def read_index(folder: Path) -> Index:
    """What belongs to a baseline. InvalidError when its index is missing or broken."""
    file = folder / INDEX
    try:
        value = read_json(file)
    except MissingError:
        raise InvalidError(
            f"{file}: missing, so that nobody knows what belongs to this baseline. {_remedy(folder)}"
        ) from None
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version != SCHEMA_VERSION:
        raise InvalidError(
            f"{file}: schema version {version!r}, this is {SCHEMA_VERSION}. Restore it from git."
        )
    records, lines = value.get("records"), value.get("history")
    if not isinstance(records, dict) or type(lines) is not int:
        raise InvalidError(f"{file}: no index of records with hashes. {_remedy(folder)}")
    for place, text in records.items():
        if not _PLACE.fullmatch(place) or not isinstance(text, str):
            raise InvalidError(f"{file}: {place!r} is no record with a hash. {_remedy(folder)}")
    digest = value.get("history_sha256")
    if digest is not None and not isinstance(digest, str):
        raise InvalidError(f"{file}: history_sha256 is no hash. {_remedy(folder)}")
    return Index(records, lines, digest)


def history(folder: Path) -> list[dict[str, Any]]:
    """The lines of a baseline's history, oldest first. InvalidError names a line that is broken."""
    file = folder / HISTORY
    if not is_indexed(folder):
        return []
    return while_unmoved(folder, lambda: _read_history(file, read_index(folder).history))


def while_unmoved(folder: Path, read: Callable[[], T]) -> T:
    """What `read` makes of a baseline, read again when the baseline was moved meanwhile.

    A reader takes no lock: it may have no right to write there. So it may see the records of one
    move and the index of another, and the index tells.
    """
    while True:
        before = _index_bytes(folder)
        try:
            value = read()
        except InvalidError:
            if _index_bytes(folder) == before:
                raise
            continue
        if _index_bytes(folder) == before:
            return value


def hash_of(record: Path) -> str:
    """The hash by which an index knows a record."""
    return hashlib.sha256((record / MANIFEST).read_bytes()).hexdigest()


def _index_bytes(folder: Path) -> bytes | None:
    try:
        return (folder / INDEX).read_bytes()
    except FileNotFoundError:
        return None


def _read_indexed(folder: Path) -> list[Run]:
    runs = []
    for place, expected in read_index(folder).records.items():
        path = folder / place
        if not (path / MANIFEST).exists():
            raise InvalidError(f"{path}: missing; {folder / INDEX} names it. {_remedy(folder)}")
        if hash_of(path) != expected:
            raise InvalidError(
                f"{path / MANIFEST}: not the one that {folder / INDEX} names. {_remedy(folder)}"
            )
        runs.append(read_placed(path))
    if not runs:
        raise InvalidError(_empty(folder))
    return runs


def _read_loose(folder: Path) -> list[Run]:
    """The newest record of each benchmark and model in a folder of records without an index."""
    broken = list_incomplete(folder)
    if broken:
        raise InvalidError(f"{broken[0]}: no {MANIFEST}; the record is incomplete. Run it again.")
    runs = newest_of_each(folder)
    if not runs:
        raise InvalidError(_empty(folder))
    return runs


def _read_history(file: Path, lines: int) -> list[dict[str, Any]]:
    try:
        entries = list(read_jsonl(file))
    except MissingError:
        entries = []
    if len(entries) < lines:
        raise InvalidError(
            f"{file}: {len(entries)} lines, and {INDEX} counts {lines}. Restore it from git."
        )
    for entry in entries[:lines]:
        if not isinstance(entry.value, dict):
            raise InvalidError(f"{entry.where}: no JSON object. Restore it from git.")
    return [entry.value for entry in entries[:lines]]


def _remedy(folder: Path) -> str:
    return f"Restore it from git, or remove {folder} and set the baseline again."


def _empty(folder: Path) -> str:
    command = f"python -m evals.regress baseline set {folder.name} --why …"
    return f"{folder} holds no record. Set one: {command}"
