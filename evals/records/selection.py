"""Which record is meant: the newest complete one of a benchmark and model, or what an operand of a comparison names."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from evals.natural import natural
from evals.records.manifest import MANIFEST, PARTIAL
from evals.records.places import read_placed
from evals.records.record import Run, list_runs, read_run
from evals.records.written import (
    is_of_model,
    none_recorded,
    recorded_names,
    scoring,
    what_there_is,
)
from evals.schema import ConfigError, MissingError, NotComparableError

FULL = "float32"
_OPERAND = re.compile(r"(?P<name>.+?)(?:@(?P<dim>[1-9]\d*))?(?::(?P<precision>[a-z][\w+]*))?")


class NotScoredError(ConfigError):
    """Records of a benchmark and model are there, and none at this dimension and precision."""


class Operand(NamedTuple):
    """One side of a comparison as it was written: a record or a model's name, `dim` None for the widest that was scored."""

    text: str
    name: str
    dim: int | None
    precision: str

    @property
    def path(self) -> Path | None:
        """The record, unless a model is named."""
        path = Path(self.name)
        return path if (path / MANIFEST).exists() else None


class Measured(NamedTuple):
    """A record at one dimension and precision."""

    run: Run
    dim: int
    precision: str

    @property
    def label(self) -> str:
        """As an operand names it: `jina-clip-v2@256:int8`; a TREC run by its name alone."""
        if self.run.manifest.encoder.fingerprint.get("run") == "trec":  # a file has no dimension
            return self.run.model
        return f"{self.run.model}@{self.dim}" + (
            f":{self.precision}" if self.precision != FULL else ""
        )


def newest_of_each(root: Path) -> list[Run]:
    """The newest complete record of each benchmark and model below a folder.

    Of records that two processes wrote in one second the one listed last. InvalidError for one
    among them that is broken, lies in the place of another or is from the future.
    """
    # oldest first: the last of a folder is its newest
    last = {path.parent: path for path in list_runs(root)}
    return [read_placed(path) for path in last.values()]


def newest_of(root: Path, benchmarks: Sequence[str] = (), model: str | None = None) -> list[Run]:
    """Those of `newest_of_each` that are of these benchmarks and this model, where they are named."""
    return [
        run
        for run in newest_of_each(root)
        if (not benchmarks or run.manifest.benchmark in benchmarks)
        and model in (None, run.manifest.model)
    ]


def newest_first(root: Path, benchmark: str, model: str) -> Iterator[Run]:
    """The records of a benchmark by a model, read one by one; both by name, or as `evals.run` takes them.

    InvalidError as above. A name that stood for another model before ends with the first record of
    that: what is older is of other weights.
    """
    if any(mark in text for text in (benchmark, model) for mark in "/:"):
        benchmark, model = recorded_names(newest_of_each(root), benchmark, model)
    newest_model = None
    for path in reversed(list_runs(root, benchmark, model)):
        run = read_placed(path)
        identity = run.manifest.model_identity
        newest_model = newest_model or identity
        if not identity.same_model(newest_model):
            return
        yield run


def newest(root: Path) -> dict[tuple[str, str], Path]:
    """The paths of `newest_of_each`, by the names in the manifests."""
    return {(run.manifest.benchmark, run.manifest.model): run.path for run in newest_of_each(root)}


def newest_run(root: Path, benchmark: str, model: str) -> Run:
    """The newest complete record of a benchmark and model. MissingError names what there is."""
    run = next(newest_first(root, benchmark, model), None)
    if run is not None:
        return run
    raise MissingError(none_recorded(root, newest_of_each(root), benchmark, model))


def operand(text: str) -> Operand:
    """A record's folder or a model's name, each with an optional `@DIM` and `:PRECISION`."""
    match = _OPERAND.fullmatch(text)
    if (Path(text) / MANIFEST).exists() or match is None:  # a folder may have @ or : in its name
        return Operand(text, text, None, FULL)
    dim = match["dim"]
    return Operand(text, match["name"], int(dim) if dim else None, match["precision"] or FULL)


def check_target(which: Operand, benchmarks: Sequence[str]) -> None:
    """Refuse a record with a benchmark beside it, and a model without: ConfigError says which it was."""
    if which.path and benchmarks:
        raise ConfigError(f"{which.text}: a record is of one benchmark. Leave {benchmarks[0]} out.")
    if which.path or benchmarks:
        return
    what = (
        "has no manifest.json and so is no record" if Path(which.name).is_dir() else "is no record"
    )
    raise ConfigError(
        f"{which.text}: {what}. Name the folder of a record, or a model and its benchmark, such as "
        "tiny scenes."
    )


def measured(which: Operand, root: Path, benchmark: str) -> Measured:
    """The named record, or the newest one of a model, which has the dimension and precision.

    A name means the model that its newest record is of, and no other that was called so before.
    MissingError when there is no record, ConfigError when none was scored at that; both name what
    there is.
    """
    runs = [read_run(which.path)] if which.path else newest_first(root, benchmark, which.name)
    there: set[tuple[int, str]] = set()
    run = None
    for run in runs:
        scored = {(line.dim, line.precision) for line in run.metrics}
        dim = which.dim or max((dim for dim, _ in scored), default=0)
        if (dim, which.precision) in scored:
            return Measured(run, dim, which.precision)
        there |= scored
    if run is None:
        raise MissingError(none_recorded(root, newest_of_each(root), benchmark, which.name))
    has = ", ".join(
        f"@{dim}" + (f":{precision}" if precision != FULL else "")
        for dim, precision in sorted(there)
    )
    dim = which.dim or max((dim for dim, _ in there), default=0)  # 0: there are no metrics
    command = scoring(run.manifest, dim, None if which.precision == FULL else which.precision)
    remedy = f"Run: {command}" if command else f"It is scored in {FULL} alone."
    raise NotScoredError(
        f"{which.text}: no record of {run.manifest.benchmark} was scored at that; there is {has or 'nothing'}. "
        f"{remedy}"
    )


def matched(
    a: Operand, b: Operand, root: Path, benchmarks: Sequence[str] | None = None
) -> list[tuple[Measured, Measured]]:
    """The two measurements of each benchmark of the records given, else of all `benchmarks`.

    Without either, of all whole benchmarks that both have so; `left_out` tells those that one side
    was not scored so on. MissingError when there are none, ConfigError for benchmarks named beside
    a record, NotComparableError for records of two benchmarks, and for a name that is two models.
    """
    names = _benchmarks(a, b, root, benchmarks)
    pairs = [(measured(a, root, name), measured(b, root, name)) for name in names]
    _check_one_model(a, [pair[0] for pair in pairs])
    _check_one_model(b, [pair[1] for pair in pairs])
    return pairs


def _check_one_model(which: Operand, sides: Sequence[Measured]) -> None:
    """Refuse a side that is of one model on one benchmark and of another on the next."""
    for side in sides[1:]:
        first, identity = (each.run.manifest.model_identity for each in (sides[0], side))
        if not identity.same_model(first):
            raise NotComparableError(
                f"{which.text} is two models: {first} in {sides[0].run.path}, and {identity} in "
                f"{side.run.path}. Name the benchmarks of one with --benchmarks, or run both again."
            )


def _benchmarks(a: Operand, b: Operand, root: Path, named: Sequence[str] | None) -> list[str]:
    recorded = [read_run(path).manifest.benchmark for path in (a.path, b.path) if path]
    if recorded and named:
        raise ConfigError(
            "--benchmarks means nothing beside a record, which is of one benchmark. Leave it out."
        )
    if len({name.removesuffix(PARTIAL) for name in recorded}) > 1:
        raise NotComparableError(
            f"{a.text} is of {recorded[0]}, {b.text} of {recorded[1]}: name two records of one benchmark."
        )
    if recorded or named:
        return recorded[:1] or list(dict.fromkeys(named or ()))
    return shared_benchmarks((a, b), root).names


class Shared(NamedTuple):
    """The whole benchmarks of several operands, and those left out, each with the reason."""

    names: list[str]
    left_out: dict[str, str]


def shared_benchmarks(operands: Sequence[Operand], root: Path) -> Shared:
    """The whole benchmarks that all models have at the dimension and precision that is meant.

    Those that all have, and that one was not scored so on, are left out. MissingError when all have
    none, NotScoredError when none is left.
    """
    runs = newest_of_each(root)
    common = {run.manifest.benchmark for run in runs}
    for which in operands:
        common &= {run.manifest.benchmark for run in runs if is_of_model(run, which.name)}
    whole_benchmarks = sorted((name for name in common if not name.endswith(PARTIAL)), key=natural)
    if not whole_benchmarks:
        raise MissingError(_none_shared(operands, root, runs, common))
    names: list[str] = []
    left_out: dict[str, NotScoredError] = {}
    for benchmark in whole_benchmarks:
        try:
            for which in operands:
                # The widest at full precision is in every record: no need to read it.
                if (which.dim, which.precision) != (None, FULL):
                    measured(which, root, benchmark)
            names.append(benchmark)
        except NotScoredError as error:
            left_out[benchmark] = error
    if not names:
        raise next(iter(left_out.values()))
    return Shared(names, {benchmark: str(error) for benchmark, error in left_out.items()})


def left_out(operands: Sequence[Operand], root: Path, named: Sequence[str] | None) -> list[str]:
    """A sentence per benchmark that a comparison passes over because a side was not scored so.

    None where benchmarks are named, or are those of records.
    """
    if named or any(which.path for which in operands):
        return []
    reasons = shared_benchmarks(operands, root).left_out
    return [f"{benchmark} is left out: {reason}" for benchmark, reason in reasons.items()]


def _none_shared(
    operands: Sequence[Operand], root: Path, runs: Sequence[Run], common: set[str]
) -> str:
    who = [which.text for which in operands]
    unknown = [
        which.name for which in operands if not any(is_of_model(run, which.name) for run in runs)
    ]
    # Where there is no record at all, all are unknown, and what there is says so.
    if unknown and runs:
        return (
            f"{unknown[0]}: no record is there (it would hold a {MANIFEST}), and none below {root} is "
            f"of a model of this name or place. {what_there_is(runs)} Name one of these, a record's "
            f"folder, or measure more with python -m evals.run BENCHMARK --model {quote(unknown[0])}."
        )
    parts = ""
    if common:
        parts = f" Of {', '.join(sorted(common, key=natural))} there are parts: name them with --benchmarks."
    both = f"both {who[0]} and {who[1]}" if len(who) == 2 else f"all of {', '.join(who)}"
    return (
        f"{root}: no whole benchmark by {both}.{parts} {what_there_is(runs)} "
        "Measure more with python -m evals.run."
    )
