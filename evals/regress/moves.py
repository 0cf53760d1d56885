"""Moves a baseline to other records: as a whole or not at all, one process at a time.

The records are copied beside the old ones, then the history grows, then the index is replaced by
one rename: that is the move. What the new index does not name is removed last. A process that is
killed leaves the old baseline or the new one, and leftovers that the next move sweeps.
"""

import getpass
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from evals.files import sweep_parts, sync_folder, write_atomically
from evals.records.manifest import MANIFEST, path_component
from evals.records.provenance import source_state
from evals.records.record import METRICS, QUERIES, Run, read_run
from evals.records.seal import SEAL, as_seal, read_seal, sha256
from evals.regress import baselines
from evals.regress.baselines import HISTORY, INDEX, Index, hash_of, history, is_indexed, read_index
from evals.regress.sanity import faults
from evals.schema import ConfigError, InvalidError, MissingError

FILES = (METRICS, QUERIES, MANIFEST)
# a move takes a second; who waits longer waits for a process that hangs
PATIENCE = 60.0


class Move(NamedTuple):
    """What came of `baseline set`: its folder, those of the copies, and the new lines of the history."""

    folder: Path
    records: list[Path]
    history: list[dict[str, Any]]


def set_baseline(name: str, runs: Sequence[Run], why: str, root: Path | None = None) -> Move:
    """Make these records part of the baseline, each in the place of that of its benchmark and model.

    `root` is the folder of baselines, `results/baselines` below the current one unless given.

    InvalidError for partial and unsound records, and for a baseline whose index is broken;
    ConfigError for a name or a reason that cannot be; MissingError when another process does not
    end its move. In all these cases the baseline stays what it was.
    """
    if path_component(name) != name:
        raise ConfigError(
            f"{name!r} is no name for a folder. Use letters, digits, `.`, `_` and `-`."
        )
    if not why.strip():
        raise ConfigError("--why is empty. Say why the baseline moves: the history keeps it.")
    # all of them, before the first is copied
    for run in runs:
        reasons = faults(run)
        if reasons:
            raise InvalidError(f"{run.path}: {reasons[0]}")
    folder = (root or baselines.BASELINES) / name
    with _locked(folder):
        return _move(folder, runs, why.strip())


def _move(folder: Path, runs: Sequence[Run], why: str) -> Move:
    if not is_indexed(folder):
        # first of all: from now on the folder is a baseline, though one that holds nothing
        write_atomically(folder / INDEX, Index().as_json())
    index, lines = read_index(folder), history(folder)
    _sweep(folder, index)
    circumstances = _circumstances(why)
    records, targets, new_lines = dict(index.records), [], []
    for run in runs:
        place = run.manifest.place
        replaced = [path for path in records if Path(path).parent == place.parent]
        target = _copy(run, folder / place)
        targets.append(target)
        for path in replaced:
            del records[path]
        records[place.as_posix()] = hash_of(target)
        old = Path(replaced[-1]).name if replaced else None
        new_lines.append(circumstances | _step(run, old))
    text = "".join(
        json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in lines + new_lines
    )
    write_atomically(folder / HISTORY, text.encode())
    new_index = Index(records, len(lines) + len(new_lines), sha256(text.encode()))
    write_atomically(folder / INDEX, new_index.as_json())  # the move
    _sweep(folder, new_index)
    return Move(folder, targets, new_lines)


def _copy(run: Run, target: Path) -> Path:
    """A copy of a record at `target`. InvalidError when the record changes while it is copied."""
    target.mkdir(parents=True, exist_ok=True)
    hashes = read_seal(run.path)
    if hashes is not None:
        # Figures stay behind, and the copy's seal does not name them.
        of_copy = {name: text for name, text in hashes.items() if name in FILES}
        write_atomically(target / SEAL, as_seal(of_copy))
    for name in FILES:
        write_atomically(target / name, (run.path / name).read_bytes())
    for folder in (target, *target.parents[:3]):
        sync_folder(folder)
    if read_run(target).manifest != run.manifest:
        raise InvalidError(f"{run.path}: was changed while it was copied. Set the baseline again.")
    return target


def _sweep(folder: Path, index: Index) -> None:
    """Remove what killed moves left: parts of files, and copies of records that the index lacks."""
    sweep_parts(folder)
    for copy in folder.glob("*/*/*/"):
        sweep_parts(copy)
        foreign = {path.name for path in copy.iterdir()} - {*FILES, SEAL}
        if str(copy.relative_to(folder)) not in index.records and not foreign:
            shutil.rmtree(copy)
            _remove_empty(copy.parent, folder)


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder and those above it, up to `root`, as far as they are empty."""
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone with a baseline. The lock lies beside it, so that it never enters its folder."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    file = folder.with_name(f".{folder.name}.lock")
    try:
        with FileLock(file, timeout=PATIENCE):
            yield
    except Timeout:
        raise MissingError(
            f"{file}: another process has held the lock of this baseline for {PATIENCE:.0f} s. "
            "End it, or wait for it, and set the baseline again."
        ) from None


def _circumstances(why: str) -> dict[str, Any]:
    """What the lines of the history for one move share."""
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "who": _who(),
        "why": why,
        "commit": (source_state() or {}).get("commit"),
    }


def _step(run: Run, old: str | None) -> dict[str, Any]:
    """What the history says of one record, which took the place of `old`."""
    return {
        "benchmark": run.manifest.benchmark,
        "model": run.manifest.model,
        "old": old,
        "new": run.manifest.place.name,
        "record_source": run.manifest.raw.get("source"),
    }


def _who() -> str:
    """The name that git signs with here, else that of the account."""
    command = ["git", "config", "user.name"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:  # no git on this machine
        return getpass.getuser()
    return done.stdout.strip() or getpass.getuser()
