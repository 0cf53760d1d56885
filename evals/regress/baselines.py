"""Baselines: folders of whole records below results/baselines, and a history of why each one moved."""

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
    """The records of a baseline: a name below results/baselines, a folder of records, or one record.

    ConfigError when there is no such place, InvalidError when it holds no record or a broken one.
    """
    folder = locate(name)
    if (folder / MANIFEST).exists():
        return [read_run(folder)]
    if broken := list_incomplete(folder):
        raise InvalidError(f"{broken[0]}: no {MANIFEST}; the baseline is incomplete. Set it again.")
    newest = {path.parent: path for path in list_runs(folder)}
    if not newest:
        raise InvalidError(
            f"{folder} holds no record. Set one: python -m evals.regress baseline set {name} --why …"
        )
    return [read_run(path) for path in newest.values()]


def locate(name: str) -> Path:
    """The folder that `--baseline` means."""
    if (BASELINES / name).is_dir() and path_component(name) == name:
        return BASELINES / name
    if (path := Path(name).expanduser()).is_dir():
        return path
    there = sorted(path.name for path in BASELINES.glob("*/")) if BASELINES.is_dir() else []
    raise ConfigError(
        f"No baseline {name!r}.{nearest(name, dict.fromkeys(there))} There is {', '.join(there) or 'none yet'} in {BASELINES}; "
        "a path to a record or a folder of records serves too."
    )


def set_baseline(name: str, runs: Sequence[Run], why: str) -> list[dict[str, Any]]:
    """Make these records the baseline: each is copied whole, then takes the place of the one it replaces; the history grows.

    Refuses partial and unsound records (InvalidError) before anything is copied. Returns the new lines of the history.
    """
    if path_component(name) != name:
        raise ConfigError(
            f"{name!r} is no name for a folder. Use letters, digits, `.`, `_` and `-`."
        )
    if not why.strip():
        raise ConfigError("--why is empty. Say why the baseline moves: the history keeps it.")
    for run in runs:
        if reasons := faults(run):
            raise InvalidError(f"{run.path}: {reasons[0]}")
    return [_replace(BASELINES / name, run, why.strip()) for run in runs]


def history(folder: Path) -> list[dict[str, Any]]:
    """The lines of a baseline's history, oldest first; InvalidError names the line that is no JSON object."""
    file, lines = folder / HISTORY, []
    for number, text in enumerate(
        file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else [], 1
    ):
        try:
            lines.append(dict(json.loads(text)))
        except (ValueError, TypeError) as error:
            raise InvalidError(f"{file}, line {number}: {error}. Restore it from git.") from error
    return lines


def _replace(folder: Path, run: Run, why: str) -> dict[str, Any]:
    benchmark, model = str(run.manifest["benchmark"]), str(run.manifest["model"])
    place = folder / path_component(benchmark) / path_component(model)
    old = [
        path for path in (place.iterdir() if place.is_dir() else []) if path.name != run.path.name
    ]
    target = place / run.path.name
    target.mkdir(parents=True, exist_ok=True)
    for name in (METRICS, QUERIES, MANIFEST):
        write_atomically(target / name, (run.path / name).read_bytes())
    line = {
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "who": _who(),
        "why": why,
        "benchmark": benchmark,
        "model": model,
        "old": old[-1].name if old else None,
        "new": run.path.name,
        "record_source": run.manifest.get("source"),
        "commit": (source_state() or {}).get("commit"),
    }
    before = (folder / HISTORY).read_bytes() if (folder / HISTORY).exists() else b""
    write_atomically(
        folder / HISTORY,
        before + (json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n").encode(),
    )
    for path in old:
        for name in (MANIFEST, METRICS, QUERIES):
            (path / name).unlink(missing_ok=True)
        path.rmdir()
    return line


def _who() -> str:
    """The name that git signs with here, else that of the account."""
    try:
        told = subprocess.run(
            ["git", "config", "user.name"],  # noqa: S607
            capture_output=True,
            text=True,
            cwd=checkout(),
            check=False,
        ).stdout
    except OSError:
        told = ""
    return told.strip() or getpass.getuser()
