"""Whether a baseline's index, history and records agree, byte by byte; nothing is judged."""

from pathlib import Path
from typing import NamedTuple

from evals.counts import counted
from evals.reading import read_bytes
from evals.records.manifest import MANIFEST
from evals.records.seal import sha256
from evals.regress.baselines import HISTORY, INDEX, hash_of, read_index


class Proof(NamedTuple):
    """The records that the index names and that are there, what is wrong, and what has no hash."""

    records: list[Path]
    problems: list[str]
    unsealed: list[str]


def check_baseline(folder: Path) -> Proof:
    """Hold the index of a baseline against its own form, its history and its manifests.

    InvalidError for an index that cannot be read.
    """
    index = read_index(folder)
    problems = []
    # It is written in one form only: another one was not written here.
    if read_bytes(folder / INDEX) != index.as_json():
        problems.append(
            f"{folder / INDEX}: not in the form in which it is written: it was changed."
        )
    records = []
    for place, expected in index.records.items():
        path = folder / place
        if not (path / MANIFEST).is_file():
            problems.append(f"{path}: missing; {INDEX} names it.")
            continue
        records.append(path)
        if hash_of(path) != expected:
            problems.append(f"{path / MANIFEST}: not the one that {INDEX} names: it was changed.")
    problems += _history(folder, index.history, index.history_sha256)
    unsealed = [] if index.history_sha256 else [str(folder / HISTORY)]
    return Proof(records, problems, unsealed)


def _history(folder: Path, n_lines: int, expected: str | None) -> list[str]:
    file = folder / HISTORY
    lines = read_bytes(file).splitlines(keepends=True) if file.is_file() else []
    if len(lines) < n_lines:
        return [
            f"{file}: {counted(len(lines), 'line')}, and {INDEX} counts {n_lines:,}: some are missing."
        ]
    # A move that was killed may have left more lines than are true.
    if expected is not None and sha256(b"".join(lines[:n_lines])) != expected:
        return [f"{file}: not the lines that {INDEX} names: it was changed."]
    return []
