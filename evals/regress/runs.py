"""Finds the runs that a command means: the newest of a benchmark and model, or those named."""

from collections.abc import Sequence
from pathlib import Path

from evals.config.suites import find_suite
from evals.records.record import MANIFEST, Run, list_incomplete, list_runs, read_run
from evals.regress.baselines import locate, read_baseline, while_unmoved
from evals.regress.gate import judge
from evals.regress.gates import Gate
from evals.regress.verdict import Problem, Verdict
from evals.schema import ConfigError, InvalidError, MissingError

# benchmark and model
Key = tuple[str, str]


def against(
    baseline: str, paths: Sequence[Path] | None, results: Path, gates: list[Gate]
) -> Verdict:
    """The verdict on the runs at `paths`, or on the newest below `results`.

    A baseline or a run of `paths` that cannot be read, and one that the baseline does not have,
    are problems of the verdict. ConfigError for what cannot be meant.
    """
    folder = locate(baseline)
    return while_unmoved(folder, lambda: _against(baseline, paths, results, gates))


def _against(
    baseline: str, paths: Sequence[Path] | None, results: Path, gates: list[Gate]
) -> Verdict:
    try:
        records = read_baseline(baseline)
        runs = read_paths(paths) if paths else {}
    except InvalidError as error:
        return Verdict(baseline, problems=[Problem("invalid", "", "", str(error))])

    def find(benchmark: str, model: str) -> Run:
        if not paths:
            return newest(results, benchmark, model)
        if (benchmark, model) not in runs:
            raise MissingError(
                f"No record of {benchmark} by {model} among those given. "
                "Run it, and give its folder too."
            )
        return runs[benchmark, model]

    verdict = judge(baseline, records, find, gates)
    # a run that nothing is held against was forgotten, not passed
    in_baseline = {key_of(record) for record in records}
    for key, run in runs.items():
        if key not in in_baseline:
            benchmark, model = key
            message = f"{run.path}: the baseline {baseline} has no {benchmark} by {model}."
            problem = Problem("not comparable", benchmark, model, f"{message} Set it first.")
            verdict.problems.append(problem)
    return verdict


def key_of(run: Run) -> Key:
    """Benchmark and model; a partial run has its benchmark's key, to be refused by name."""
    return str(run.manifest["benchmark"]).removesuffix(".partial"), str(run.manifest["model"])


def newest(root: Path, benchmark: str, model: str) -> Run:
    """The newest record below `root`, complete or not.

    InvalidError when it was interrupted, MissingError when there is none.
    """
    # an interrupted run must not hide behind an older complete one
    paths = sorted([*list_runs(root, benchmark, model), *list_incomplete(root, benchmark, model)])
    if paths:
        return read_run(paths[-1])
    partial = ""
    if list_runs(root, f"{benchmark}.partial", model):
        partial = " There are partial runs only, which never count."
    command = f"python -m evals.run {benchmark} --model {model}"
    raise MissingError(f"{root}: no record of {benchmark} by {model}.{partial} Run: {command}")


def read_paths(paths: Sequence[Path]) -> dict[Key, Run]:
    """The records at these paths, or the newest ones in folders of records.

    ConfigError for two of one benchmark and model.
    """
    runs: dict[Key, Run] = {}
    for path in paths:
        for run in map(read_run, _records_at(path)):
            key = key_of(run)
            if key in runs:
                benchmark, model = key
                raise ConfigError(
                    f"--runs: {runs[key].path} and {run.path} are both {benchmark} by {model}. "
                    "Give one of them."
                )
            runs[key] = run
    return runs


def chosen(paths: Sequence[Path] | None, suite: str | None, results: Path) -> list[Run]:
    """The records that become a baseline: those named, or the newest whole ones below `results`.

    A suite narrows them to its benchmarks. ConfigError for both at once, InvalidError when one is
    missing.
    """
    if paths and suite:
        raise ConfigError("--runs and --suite: give one of them.")
    if paths:
        return list(read_paths(paths).values())
    # list_runs gives the oldest first: the last of a folder is its newest
    last = {path.parent: path for path in list_runs(results)}
    runs = [run for run in map(read_run, last.values()) if run.manifest.get("partial") is None]
    if suite:
        runs = _of_suite(runs, suite, results)
    if not runs:
        raise InvalidError(
            f"{results}: no whole record. Run an evaluation first: python -m evals.run."
        )
    return runs


def _of_suite(runs: Sequence[Run], suite: str, results: Path) -> list[Run]:
    members = find_suite(suite).benchmarks
    absent = set(members) - {str(run.manifest["benchmark"]) for run in runs}
    if absent:
        raise InvalidError(
            f"{results}: no whole record of {', '.join(sorted(absent))}. "
            f"Run: python -m evals.run --suite {suite}"
        )
    return [run for run in runs if run.manifest["benchmark"] in members]


def _records_at(path: Path) -> list[Path]:
    """A record itself, or the newest record per benchmark and model in a folder of records."""
    if (path / MANIFEST).exists():
        return [path]
    # oldest first, so the newest of each folder stays
    inside = {record.parent: record for record in list_runs(path)}
    return list(inside.values()) or [path]
