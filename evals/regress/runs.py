"""Finds the runs that a command means: the newest of a benchmark and model, or those named.

Benchmark, model and time are read from manifests. Where a record lies must follow from them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from evals.config.suites import find_suite
from evals.records.identity import Named
from evals.records.manifest import MANIFEST, PARTIAL, Manifest
from evals.records.record import Run, read_run
from evals.records.selection import newest_of_each
from evals.records.shelf import Shelf
from evals.records.written import command_like, known_model
from evals.regress.baselines import locate, read_baseline, while_unmoved
from evals.regress.gates import Gate
from evals.regress.judging import judge
from evals.regress.verdict import Problem, Verdict
from evals.schema import ConfigError, InvalidError, MissingError

# the model of a baseline, and whose records stand in for it
StandIns = Mapping[str, Named]


def against(
    baseline: str,
    paths: Sequence[Path] | None,
    results: Path,
    gates: list[Gate],
    stand_ins: StandIns | None = None,
) -> Verdict:
    """The verdict on the runs at `paths`, or on the newest below `results`.

    `stand_ins` names models whose runs are held against another model's baseline. A baseline or a
    run of `paths` that cannot be read, and one that the baseline does not have, are problems of the
    verdict. ConfigError for what cannot be meant.
    """
    folder = locate(baseline)
    names = stand_ins or {}
    return while_unmoved(folder, lambda: _against(baseline, paths, results, gates, names))


def _against(
    baseline: str,
    paths: Sequence[Path] | None,
    results: Path,
    gates: list[Gate],
    stand_ins: StandIns,
) -> Verdict:
    try:
        records = read_baseline(baseline)
        runs = read_paths(paths) if paths else []
    except InvalidError as error:
        return Verdict(baseline, problems=[Problem("invalid", "", "", str(error))])
    shelf = None if paths else Shelf(results)
    matched: list[Path] = []

    def find(record: Run) -> Run:
        model = record.manifest.model
        chosen = stand_ins.get(model, Named(name=model))
        if shelf is not None:
            return newest(shelf, record.manifest, chosen)
        run = _among(runs, record.manifest, chosen)
        matched.append(run.path)
        return run

    verdict = judge(baseline, records, find, gates)
    # a run that nothing is held against was forgotten, not passed
    for run in runs:
        if run.path not in matched:
            verdict.problems.append(_unmatched(run, baseline))
    return verdict


def benchmark_of(run: Run) -> str:
    """The benchmark of a record; a partial one has its benchmark's name, to be refused by name."""
    return run.manifest.whole_benchmark


def newest(shelf: Shelf, like: Manifest, model: Named) -> Run:
    """The newest record of a model on the benchmark of a baseline's record, complete or not.

    InvalidError when it was interrupted, is broken, lies in the place of another or is from the
    future; MissingError when there is none, with the command that measures what the baseline needs.
    """
    benchmark = like.whole_benchmark
    entries = shelf.newest_first(benchmark, model)
    # an interrupted run must not hide behind an older complete one
    paths = [entry.path for entry in entries] + shelf.interrupted(benchmark, model)
    if paths:
        return read_run(max(paths, key=lambda path: path.name))
    partial = ""
    if shelf.newest_first(f"{benchmark}{PARTIAL}", model):
        partial = " There are partial runs only, which never count."
    argument = known_model((entry.manifest for entry in shelf), str(model))
    command = command_like(like, argument)
    raise MissingError(
        f"{shelf.root}: no record of {benchmark} by {model}.{partial} Run: {command}"
    )


def read_paths(paths: Sequence[Path]) -> list[Run]:
    """The records at these paths, or the newest ones in folders of records.

    ConfigError for a path that is neither, and for two records of one benchmark and model.
    """
    runs: dict[tuple[str, str], Run] = {}
    for path in paths:
        for run in _read_path(path):
            key = benchmark_of(run), run.manifest.model
            if key in runs:
                benchmark, model = key
                raise ConfigError(
                    f"--runs: {runs[key].path} and {run.path} are both {benchmark} by {model}. "
                    "Give one of them."
                )
            runs[key] = run
    return list(runs.values())


def chosen(paths: Sequence[Path] | None, suite: str | None, results: Path) -> list[Run]:
    """The records that become a baseline: those named, or the newest whole ones below `results`.

    A suite narrows them to its benchmarks. ConfigError for both at once, InvalidError when one is
    missing.
    """
    if paths and suite:
        raise ConfigError("--runs and --suite: give one of them.")
    if paths:
        return read_paths(paths)
    runs = [run for run in newest_of_each(results) if run.manifest.partial is None]
    if suite:
        runs = _of_suite(runs, suite, results)
    if not runs:
        raise InvalidError(
            f"{results}: no whole record. Run an evaluation first: python -m evals.run."
        )
    return runs


def _among(runs: Sequence[Run], like: Manifest, model: Named) -> Run:
    benchmark = like.whole_benchmark
    for run in runs:
        identity = run.manifest.model_identity
        if benchmark_of(run) == benchmark and model.accepts(identity):
            return run
    raise MissingError(
        f"No record of {benchmark} by {model} among those given. Give its folder too; if there is "
        f"none yet, run: {command_like(like, str(model))}"
    )


def _unmatched(run: Run, baseline: str) -> Problem:
    benchmark, model = benchmark_of(run), run.manifest.model
    message = (
        f"{run.path}: the baseline {baseline} has no {benchmark} by {model}. Set it first, or say "
        f"for whose it stands: --as MODEL={model}."
    )
    return Problem("not comparable", benchmark, model, message)


def _of_suite(runs: Sequence[Run], suite: str, results: Path) -> list[Run]:
    members = find_suite(suite).benchmarks
    absent = set(members) - {run.manifest.benchmark for run in runs}
    if absent:
        raise InvalidError(
            f"{results}: no whole record of {', '.join(sorted(absent))}. "
            f"Run: python -m evals.run --suite {suite}"
        )
    return [run for run in runs if run.manifest.benchmark in members]


def _read_path(path: Path) -> list[Run]:
    """A record, which may lie anywhere, or the newest of each kind in a folder of records."""
    if (path / MANIFEST).exists():
        return [read_run(path)]
    runs = newest_of_each(path)
    if runs:
        return runs
    # one or two folders too deep: the records are there, and which one is meant is not said
    for pattern, kind in (("*", "benchmark and model"), ("*/*", "benchmark")):
        inside = sorted(record.parent for record in path.glob(f"{pattern}/{MANIFEST}"))
        if inside:
            raise ConfigError(
                f"--runs {path}: the folder of a {kind}, not a record. "
                f"Name a record in it, such as {inside[-1]}, or the folder of all records."
            )
    if not path.is_dir():
        raise ConfigError(f"--runs {path}: no such folder. Name a record, or a folder of records.")
    return [read_run(path)]
