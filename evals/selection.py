"""Which record is meant: the newest complete one of a benchmark and model."""

from pathlib import Path

from evals.records import Run, list_runs, read_run
from evals.schema import MissingError


def newest(root: Path) -> dict[tuple[str, str], Path]:
    """The newest complete record of each (benchmark, model) below `root`, by the names in the manifests.

    Of records written in the same second the one listed last. Raises InvalidError for a broken one among the newest.
    """
    last = {path.parent: path for path in list_runs(root)}  # oldest first
    manifests = {path: read_run(path).manifest for path in last.values()}
    return {(str(m["benchmark"]), str(m["model"])): path for path, m in manifests.items()}


def newest_run(root: Path, benchmark: str, model: str) -> Run:
    """The newest complete record of a benchmark and model. MissingError names what there is."""
    if paths := list_runs(root, benchmark, model):
        return read_run(paths[-1])
    there = sorted(newest(root))
    names = ", ".join(f"{b} by {m}" for b, m in there[:20]) + (" …" if len(there) > 20 else "")
    raise MissingError(f"{root}: no complete record of {benchmark} by {model}. There is {names or 'none at all'}.")
