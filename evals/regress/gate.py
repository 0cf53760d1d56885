"""A run against its baseline: paired by query, clustered by image, each metric judged by the rules of its gate.

A metric regressed when the one-sided 95% upper bound of its change is below 0 and the drop exceeds the floor, and it is
primary; it is suspicious when only one of the two holds, or when it is not primary. Under Holm's correction the first condition
also wants the adjusted one-sided p of the permutation test below 0.05. What has no bound (a correlation over pairs, a single
image) is judged by the floor alone if it is primary, and is untested if not.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evals.records.queries import Cell, PerQuery, metric_name, per_query
from evals.records.record import MetricLine, Run
from evals.regress.gates import Gate, gate_of
from evals.regress.sanity import faults
from evals.regress.verdict import MEAN, Change, Compared, Judgement, Kind, Problem, Verdict, kind_of
from evals.schema import EvalError, NotComparableError
from evals.stats.bootstrap import Difference, Pair, holm, paired_means

ALPHA = 0.05
ROUNDING = 1e-9  # 0.606 - 0.603 is 3.0000000000000027e-3, and no more than a floor of 0.003
ENVIRONMENT = ("source", "packages", "host", "encoder.fingerprint", "mteb")
Lines = dict[tuple[Cell, str], MetricLine]


class Measured(NamedTuple):
    """A metric of one cell, or of the mean over subsets, before it is judged."""

    cell: Cell
    metric: str
    old: float
    new: float
    pairs: list[Pair]  # one a subset; none for what is no mean over queries
    same: bool


def judge(
    baseline: str, records: Sequence[Run], find: Callable[[str, str], Run], gates: list[Gate]
) -> Verdict:
    """Hold a run, as `find(benchmark, model)` gives it, against each record of the baseline.

    What is missing, unreadable, partial, unsound or not comparable becomes a problem of the verdict. ConfigError when
    no gate fits.
    """
    compared, problems = [], []
    measured: list[tuple[Run, Gate, Measured]] = []
    for record in records:
        benchmark, model = str(record.manifest["benchmark"]), str(record.manifest["model"])
        gate = gate_of(benchmark, gates)
        run, found, reasons = _held_against(record, find)
        if not reasons and not any(is_primary(gate, record, each) for each in found):
            reasons = [
                (
                    "invalid",
                    f"{record.path} holds no metric that the gate {gate.name} calls primary.",
                )
            ]
        environment = changed(record.manifest, run.manifest) if run else []
        compared.append(
            Compared(
                benchmark,
                model,
                gate.name,
                str(record.path),
                str(run.path) if run else None,
                environment,
            )
        )
        problems += [Problem(kind, benchmark, model, message) for kind, message in reasons]
        measured += [(record, gate, each) for each in found]
    return Verdict(baseline, compared, _judged(measured), problems)


def is_primary(gate: Gate, record: Run, measured: Measured) -> bool:
    """Whether the gate lets this metric block; `main` is the first metric of each cell in the record of a task of mteb."""
    if measured.metric in gate.primary:
        return True
    mains = (
        {(line.direction, metric_name(line)) for line in first_lines(record)}
        if "mteb" in record.manifest
        else set()
    )
    return "main" in gate.primary and (measured.cell.direction, measured.metric) in mains


def first_lines(record: Run) -> Iterable[MetricLine]:
    """The first line of each cell, which is mteb's main score."""
    first: dict[Cell, MetricLine] = {}
    for line in record.metrics:
        first.setdefault(Cell(line.subset, line.direction, line.dim, line.precision), line)
    return first.values()


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What is not the same around two runs: commit, packages, machine, and all that the encoder's fingerprint holds."""
    found = []
    for part in ENVIRONMENT:
        old, new = before, after
        for key in part.split("."):
            old, new = old.get(key) or {}, new.get(key) or {}
        moved = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
        found += [
            (f"{part}.{key}", str(old.get(key, "none")), str(new.get(key, "none"))) for key in moved
        ]
    return found


def _held_against(
    record: Run, find: Callable[[str, str], Run]
) -> tuple[Run | None, list[Measured], list[tuple[Kind, str]]]:
    run = None
    try:
        run = find(str(record.manifest["benchmark"]), str(record.manifest["model"]))
        if reasons := faults(run):
            return run, [], [("invalid", f"{run.path}: {reason}") for reason in reasons]
        before, after = _lines(record), _lines(run)
        if lost := _cells_of(before) - _cells_of(after):
            where = "; ".join(
                f"{cell.subset} {cell.direction} at {cell.dim} {cell.precision}"
                for cell in sorted(lost)[:5]
            )
            return (
                run,
                [],
                [
                    (
                        "missing",
                        f"{run.path}: {len(lost)} cells of the baseline are missing: {where}. Run them too.",
                    )
                ],
            )
        if absent := before.keys() - after.keys():
            return (
                run,
                [],
                [
                    (
                        "missing",
                        f"{run.path}: no {min(name for _, name in absent)}, which the baseline has.",
                    )
                ],
            )
        _check_same_data(record, run)
        if record.manifest["files"] == run.manifest["files"]:
            return run, _unmoved(before), []
        return run, _measure(before, after, per_query(record), per_query(run)), []
    except EvalError as error:
        return run, [], [(kind_of(error) if run else _kind_of_find(error), str(error))]


def _kind_of_find(error: EvalError) -> Kind:
    return "missing" if error.exit_code == 5 else kind_of(error)


def _lines(run: Run) -> Lines:
    return {
        (Cell(line.subset, line.direction, line.dim, line.precision), metric_name(line)): line
        for line in run.metrics
    }


def _cells_of(lines: Lines) -> set[Cell]:
    return {cell for cell, _ in lines}


def _check_same_data(record: Run, run: Run) -> None:
    old, new = record.manifest.get("data") or {}, run.manifest.get("data") or {}
    for subset, part in old.items():
        if subset not in new or part.get("content") != new[subset].get("content"):
            raise NotComparableError(
                f"{run.path}: the data of {subset} is not that of {record.path}. Measure the baseline again on this data."
            )


def _unmoved(lines: Lines) -> list[Measured]:
    """Bit-identical files: nothing to resample."""
    own = [
        Measured(cell, name, line.value, line.value, [], True)
        for (cell, name), line in lines.items()
    ]
    return own + _means(own)


def _measure(
    before: Lines, after: Lines, old: dict[Cell, PerQuery], new: dict[Cell, PerQuery]
) -> list[Measured]:
    number: dict[str, int] = {}  # of each image, the same in every language
    pairs = {cell: _paired(cell, part, new.get(cell), number) for cell, part in old.items()}
    own = []
    for (cell, name), line in before.items():
        pair = pairs.get(cell)
        found = (
            [Pair({name: pair.a[name]}, {name: pair.b[name]}, pair.groups)]
            if pair and name in pair.a
            else []
        )
        value = after[cell, name].value
        same = all((p.a[name] == p.b[name]).all() for p in found) if found else line.value == value
        own.append(Measured(cell, name, line.value, value, found, same))
    return own + _means(own)


def _paired(cell: Cell, old: PerQuery, new: PerQuery | None, number: dict[str, int]) -> Pair:
    place = {name: i for i, name in enumerate(new.ids)} if new else {}
    if new is None or place.keys() != set(old.ids):
        raise NotComparableError(
            f"{cell.subset} {cell.direction}: not the same queries ({len(old.ids)} in the baseline, {len(place)} in the run)."
        )
    order = np.array([place[name] for name in old.ids], dtype=np.int64)
    if [new.groups[i] for i in order] != old.groups:
        raise NotComparableError(
            f"{cell.subset} {cell.direction}: the queries do not belong to the same images as before."
        )
    groups = np.array(
        [number.setdefault(group, len(number)) for group in old.groups], dtype=np.int64
    )
    return Pair(old.values, {name: values[order] for name, values in new.values.items()}, groups)


def _means(own: Sequence[Measured]) -> list[Measured]:
    """The plain mean over subsets of each metric that several have: half a point in every language shows here first."""
    found: dict[tuple[Cell, str], list[Measured]] = {}
    for each in own:
        if each.metric not in ("median_rank", "mean_rank"):
            found.setdefault((each.cell._replace(subset=MEAN), each.metric), []).append(each)
    return [
        Measured(
            cell,
            name,
            float(np.mean([each.old for each in every])),
            float(np.mean([each.new for each in every])),
            [pair for each in every for pair in each.pairs]
            if all(each.pairs for each in every)
            else [],
            all(each.same for each in every),
        )
        for (cell, name), every in found.items()
        if len(every) > 1
    ]


def _judged(measured: Sequence[tuple[Run, Gate, Measured]]) -> list[Change]:
    primary = [is_primary(gate, record, each) for record, gate, each in measured]
    resamples = max(2000, 40 * sum(primary))  # the least p there is must survive Holm
    tested = [_difference(each, resamples) for _, _, each in measured]
    p = [
        1.0 if each.same else _one_sided(found)
        for (_, _, each), found in zip(measured, tested, strict=True)
    ]
    family = {
        i: chance
        for i, chance in enumerate(p)
        if primary[i] and measured[i][1].correction == "holm" and chance is not None
    }
    adjusted = holm(family)
    changes = []
    for i, (record, gate, each) in enumerate(measured):
        manifest = record.manifest
        judgement = _judgement(each, tested[i], gate, adjusted.get(i), primary=primary[i])
        names = str(manifest["benchmark"]), str(manifest["model"]), *each.cell, each.metric
        changes.append(
            Change(
                *names, primary[i], each.old, each.new, tested[i], p[i], adjusted.get(i), judgement
            )
        )
    return changes


def _difference(each: Measured, resamples: int) -> Difference:
    if each.same or not each.pairs:
        return Difference(each.new - each.old, None, None, None, None, 0, 0, 0, None)
    return paired_means(each.pairs, resamples=resamples)[each.metric]


def _one_sided(difference: Difference) -> float | None:
    if difference.p is None:
        return None
    return difference.p / 2 if difference.value < 0 else 1 - difference.p / 2


def _judgement(
    each: Measured, found: Difference, gate: Gate, p_holm: float | None, *, primary: bool
) -> Judgement:
    if each.same:
        return "unchanged"
    far = -found.value > gate.floor + ROUNDING
    if found.upper is None or found.lower is None:
        return ("regressed" if far else "passed") if primary else "untested"
    sure = found.upper < 0 and (p_holm is None or p_holm < ALPHA)
    if sure and far and primary:
        return "regressed"
    if found.upper < 0 or far:
        return "suspicious"
    return "improved" if found.lower > 0 and found.value > gate.floor + ROUNDING else "passed"
