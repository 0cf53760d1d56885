"""Which runs are meant: the newest of a benchmark and model, or those given; and the verdict on them."""

from collections.abc import Sequence
from pathlib import Path

from evals.config.suites import find_suite
from evals.records.record import MANIFEST, Run, list_incomplete, list_runs, read_run
from evals.regress.baselines import locate, read_baseline
from evals.regress.gate import judge
from evals.regress.gates import Gate
from evals.regress.verdict import Problem, Verdict
from evals.schema import ConfigError, InvalidError, MissingError


def against(
    baseline: str, given: Sequence[Path] | None, results: Path, gates: list[Gate]
) -> Verdict:
    """The verdict on the runs given, or on the newest below `results`. ConfigError for what cannot be meant.

    A baseline or a given run that cannot be read, and a given run that the baseline does not have, are problems of the verdict.
    """
    locate(baseline)
    try:
        records = read_baseline(baseline)
        runs = read_given(given) if given else {}
    except InvalidError as error:
        return Verdict(baseline, problems=[Problem("invalid", "", "", str(error))])

    def find(benchmark: str, model: str) -> Run:
        if not given:
            return newest(results, benchmark, model)
        if (benchmark, model) not in runs:
            raise MissingError(
                f"No record of {benchmark} by {model} among those given. Run it, and give its folder too."
            )
        return runs[benchmark, model]

    verdict = judge(baseline, records, find, gates)
    verdict.problems.extend(
        Problem(
            "not comparable",
            *key,
            f"{run.path}: the baseline {baseline} has no {key[0]} by {key[1]}. Set it first.",
        )
        for key, run in runs.items()
        if key not in {key_of(record) for record in records}
    )
    return verdict


def key_of(run: Run) -> tuple[str, str]:
    """Benchmark and model; a part of a benchmark goes by the benchmark's name, so that it is refused and not overlooked."""
    return str(run.manifest["benchmark"]).removesuffix(".partial"), str(run.manifest["model"])


def newest(root: Path, benchmark: str, model: str) -> Run:
    """The newest record, complete or not: InvalidError when it was interrupted, MissingError when there is none."""
    every = sorted([*list_runs(root, benchmark, model), *list_incomplete(root, benchmark, model)])
    if not every:
        partial = (
            " There are partial runs only, which never count."
            if list_runs(root, f"{benchmark}.partial", model)
            else ""
        )
        command = f"python -m evals.run {benchmark} --model {model}"
        raise MissingError(f"{root}: no record of {benchmark} by {model}.{partial} Run: {command}")
    return read_run(every[-1])


def read_given(paths: Sequence[Path]) -> dict[tuple[str, str], Run]:
    """The records at these paths, or the newest ones in folders of records; ConfigError for two of one benchmark and model."""
    runs: dict[tuple[str, str], Run] = {}
    for path in paths:
        inside = (
            {}
            if (path / MANIFEST).exists()
            else {record.parent: record for record in list_runs(path)}
        )
        for run in map(read_run, inside.values() if inside else [path]):
            if (key := key_of(run)) in runs:
                raise ConfigError(
                    f"--runs: {runs[key].path} and {run.path} are both {key[0]} by {key[1]}. Give one of them."
                )
            runs[key] = run
    return runs


def chosen(given: Sequence[Path] | None, suite: str | None, results: Path) -> list[Run]:
    """The records that become a baseline: those given, or the newest whole ones below `results`, of one suite when named."""
    if given and suite:
        raise ConfigError("--runs and --suite: give one of them.")
    if given:
        return list(read_given(given).values())
    wanted = find_suite(suite).benchmarks if suite else None
    last = {path.parent: path for path in list_runs(results)}
    runs = [run for run in map(read_run, last.values()) if run.manifest.get("partial") is None]
    runs = [run for run in runs if wanted is None or run.manifest["benchmark"] in wanted]
    if absent := set(wanted or ()) - {str(run.manifest["benchmark"]) for run in runs}:
        raise InvalidError(
            f"{results}: no whole record of {', '.join(sorted(absent))}. Run: python -m evals.run --suite {suite}"
        )
    if not runs:
        raise InvalidError(
            f"{results}: no whole record. Run an evaluation first: python -m evals.run."
        )
    return runs
