"""Keeps baselines: folders of whole records below results/baselines, with a history of each move."""

import getpass
import json
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evals.config.catalog import nearest
from evals.files import write_atomically
from evals.paths import baseline_folder, checkout
from evals.records.provenance import source_state
from evals.records.record import (
    MANIFEST,
    METRICS,
    QUERIES,
    Run,
    list_incomplete,
    list_runs,
    path_component,
    read_run,
)
from evals.regress.sanity import faults
from evals.schema import ConfigError, InvalidError

BASELINES = baseline_folder()
HISTORY = "history.jsonl"


def read_baseline(name: str) -> list[Run]:
    """The records of a baseline: a name, a folder of records, or one record.

    ConfigError when there is no such place, InvalidError when it holds no record or a broken one.
    """
    folder = locate(name)
    if (folder / MANIFEST).exists():
        return [read_run(folder)]
    broken = list_incomplete(folder)
    if broken:
        raise InvalidError(f"{broken[0]}: no {MANIFEST}; the baseline is incomplete. Set it again.")
    # oldest first: of two records of one place the newer one counts
    newest = {path.parent: path for path in list_runs(folder)}
    if not newest:
        command = f"python -m evals.regress baseline set {name} --why …"
        raise InvalidError(f"{folder} holds no record. Set one: {command}")
    return [read_run(path) for path in newest.values()]


def locate(name: str) -> Path:
    """The folder that `--baseline` means. ConfigError when there is none."""
    if (BASELINES / name).is_dir() and path_component(name) == name:
        return BASELINES / name
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    names = sorted(path.name for path in BASELINES.glob("*/")) if BASELINES.is_dir() else []
    raise ConfigError(
        f"No baseline {name!r}.{nearest(name, dict.fromkeys(names))} "
        f"There is {', '.join(names) or 'none yet'} in {BASELINES}; "
        "a path to a record or a folder of records serves too."
    )


def set_baseline(name: str, runs: Sequence[Run], why: str) -> list[dict[str, Any]]:
    """Make these records the baseline and return the new lines of its history.

    Each is copied whole, then takes the place of the one it replaces. InvalidError for partial and
    unsound records, before anything is copied; ConfigError for a name or reason that cannot be.
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
    return [_replace(BASELINES / name, run, why.strip()) for run in runs]


def history(folder: Path) -> list[dict[str, Any]]:
    """The lines of a baseline's history, oldest first. InvalidError names a line that is broken."""
    file = folder / HISTORY
    if not file.exists():
        return []
    lines = []
    # not splitlines(): a reason may hold U+2028
    for number, text in enumerate(file.read_text(encoding="utf-8").split("\n")[:-1], 1):
        try:
            lines.append(dict(json.loads(text)))
        except (ValueError, TypeError) as error:
            raise InvalidError(f"{file}, line {number}: {error}. Restore it from git.") from error
    return lines


def _replace(folder: Path, run: Run, why: str) -> dict[str, Any]:
    benchmark, model = str(run.manifest["benchmark"]), str(run.manifest["model"])
    place = folder / path_component(benchmark) / path_component(model)
    before = place.iterdir() if place.is_dir() else []
    replaced = [path for path in before if path.name != run.path.name]
    target = place / run.path.name
    # the manifest last: until it is there the record is incomplete
    target.mkdir(parents=True, exist_ok=True)
    for name in (METRICS, QUERIES, MANIFEST):
        write_atomically(target / name, (run.path / name).read_bytes())
    line = {
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "who": _who(),
        "why": why,
        "benchmark": benchmark,
        "model": model,
        "old": replaced[-1].name if replaced else None,
        "new": run.path.name,
        "record_source": run.manifest.get("source"),
        "commit": (source_state() or {}).get("commit"),
    }
    _append(folder / HISTORY, line)
    # the manifest first, for the same reason
    for path in replaced:
        for name in (MANIFEST, METRICS, QUERIES):
            (path / name).unlink(missing_ok=True)
        path.rmdir()
    return line


def _append(file: Path, line: dict[str, Any]) -> None:
    before = file.read_bytes() if file.exists() else b""
    text = json.dumps(line, ensure_ascii=False, sort_keys=True)
    write_atomically(file, before + f"{text}\n".encode())


def _who() -> str:
    """The name that git signs with here, else that of the account."""
    command = ["git", "config", "user.name"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=checkout(), check=False)  # noqa: S603
    except OSError:  # no git on this machine
        return getpass.getuser()
    return done.stdout.strip() or getpass.getuser()
