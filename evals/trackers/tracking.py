"""Which trackers there are, and how records reach them: after the numbers are out, and without a risk to them."""

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from evals.counts import counted
from evals.progress import Reporter
from evals.records.record import read_run
from evals.schema import ConfigError, MissingError
from evals.trackers.entries import Entry, entries_of

PROJECT = "jina-clip-evals"


class Tracker(NamedTuple):
    """A tracker: the module that knows it, and its variable that names a project, if it has one."""

    module: str
    variable: str | None


TRACKERS = {
    "trackio": Tracker("trackio_runs", None),
    "wandb": Tracker("wandb_runs", "WANDB_PROJECT"),
    "mlflow": Tracker("mlflow_runs", "MLFLOW_EXPERIMENT_NAME"),
}


class Target(NamedTuple):
    """Where to log: a tracker, by its name on the command line, and a project in it."""

    tracker: str
    project: str
    log: Callable[[Entry, str], str]


def targets_of(texts: Sequence[str]) -> list[Target]:
    """The targets that `--log trackio,mlflow:PROJECT` names, each of them ready.

    To be called before anything is encoded. ConfigError for a tracker that there is not,
    MissingError for one that is not installed or that nobody is logged in to.
    """
    names = [name.strip() for text in texts for name in text.split(",")]
    targets = []
    for name in dict.fromkeys(names):
        tracker_name, _, project = name.partition(":")
        tracker = TRACKERS.get(tracker_name)
        if tracker is None:
            raise ConfigError(f"--log {name!r}: no such tracker. There is {', '.join(TRACKERS)}.")
        # imported by name: a tracker that nobody asks for is not loaded
        module = import_module(f"evals.trackers.{tracker.module}")
        module.check()
        chosen = os.environ.get(tracker.variable) if tracker.variable else None
        targets.append(Target(tracker_name, project or chosen or PROJECT, module.log_entry))
    return targets


def log_records(
    targets: Sequence[Target],
    records: Mapping[Path, Sequence[Path]],
    reporter: Reporter,
) -> None:
    """Log each record, with figures from elsewhere, to each target.

    Nothing of a record changes. A tracker that fails is told, and the next is tried; MissingError
    at the end says what to run, so that it can be logged once the tracker works again.
    """
    if not targets:
        return
    runs = {path: entries_of(read_run(path), figures) for path, figures in records.items()}
    failed: dict[str, list[Path]] = {}
    for target in targets:
        for path, entries in runs.items():
            try:
                places = [target.log(entry, target.project) for entry in entries]
            # A server, a login, a disk, a fault of the library: whatever it is, the numbers are
            # there and the message names it.
            except Exception as error:
                text = without_passwords(str(error))
                reporter.error(f"{target.tracker}: {type(error).__name__}: {text}")
                failed.setdefault(f"{target.tracker}:{target.project}", []).append(path)
            else:
                runs_of_tracker = counted(len(places), "run")
                place = without_passwords(places[0])
                reporter.info(f"logged {path} to {target.tracker}: {runs_of_tracker}, {place}")
    if failed:
        raise MissingError(_remedy(failed))


def without_passwords(text: str) -> str:
    """A text whose addresses have no user and no password: `postgresql://db/runs`."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def _remedy(failed: Mapping[str, Sequence[Path]]) -> str:
    commands = [
        shlex.join(["python", "-m", "evals.track", *map(str, paths), "--log", target])
        for target, paths in failed.items()
    ]
    return (
        "Not logged; the numbers and the records are whole. "
        f"Once the tracker works, run: {'; '.join(commands)}"
    )
