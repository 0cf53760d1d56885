"""Judges a run against its baseline: paired by query, clustered by image, by the rules of its gate.

All primary metrics of a verdict are one family, the means over languages among them. A metric
regressed when its adjusted p in the family is below 0.05, the one-sided 95% upper bound of its
change is below 0, the drop exceeds the floor, and it is primary. So where nothing changed, the chance
of any regression at all is 5% at most. A metric is suspicious when its own bound is below 0 or the
drop exceeds the floor, and the rest does not hold. What has no bound (a correlation over pairs, a
single image) is judged by the floor alone if it is primary, and is untested if not.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from evals.records.record import Run
from evals.regress.environment import changed
from evals.regress.family import Member, adjusted_p
from evals.regress.gates import Gate, gate_of
from evals.regress.pairing import Measured, pair
from evals.regress.sanity import faults
from evals.regress.verdict import Change, Compared, Judgement, Kind, Problem, Verdict, kind_of
from evals.schema import EvalError, MissingError
from evals.stats.paired import Difference, paired_means

ALPHA = 0.05
# 0.606 - 0.603 is 3.0000000000000027e-3, and no more than a floor of 0.003
ROUNDING = 1e-9


class Pairing(NamedTuple):
    """What came of holding a run against a record: its metrics, or reasons why there are none."""

    run: Run | None
    measured: list[Measured]
    reasons: list[tuple[Kind, str]]


class Row(NamedTuple):
    """A metric of a benchmark by a model, the gate that judges it, and whether it can block."""

    benchmark: str
    model: str
    gate: Gate
    measured: Measured
    primary: bool


def judge(
    baseline: str, records: Sequence[Run], find: Callable[[Run], Run], gates: list[Gate]
) -> Verdict:
    """Hold a run, as `find(record)` gives it, against each record of the baseline.

    What is missing, unreadable, partial, unsound or not comparable becomes a problem of the
    verdict. ConfigError when no gate fits.
    """
    compared: list[Compared] = []
    problems: list[Problem] = []
    rows: list[Row] = []
    for record in records:
        benchmark, model = record.manifest.benchmark, record.manifest.model
        gate = gate_of(benchmark, gates)
        run, measured, reasons = _held_against(record, find)
        new_rows = [
            Row(benchmark, model, gate, each, is_primary(gate, record, each)) for each in measured
        ]
        # a gate that nothing can fail would pass for ever
        if not reasons and not any(row.primary for row in new_rows):
            message = f"{record.path} holds no metric that the gate {gate.name} calls primary."
            reasons = [("invalid", message)]
        environment = changed(record.manifest.raw, run.manifest.raw) if run else []
        compared.append(
            Compared(
                benchmark,
                model,
                gate.name,
                str(record.path),
                str(run.path) if run else None,
                environment,
                record.manifest.model_identity,
                run.manifest.model_identity if run else None,
            )
        )
        problems += [Problem(kind, benchmark, model, message) for kind, message in reasons]
        rows += new_rows
    return Verdict(baseline, compared, judge_rows(rows), problems)


def is_primary(gate: Gate, record: Run, measured: Measured) -> bool:
    """Whether the gate lets this metric block.

    `main` is the metric that the record is judged by.
    """
    if measured.metric in gate.primary:
        return True
    return "main" in gate.primary and measured.metric == record.main_metric


def _held_against(record: Run, find: Callable[[Run], Run]) -> Pairing:
    """Find the run of a record and pair them; errors become reasons."""
    run = None
    try:
        # the baseline too: an unsound one could be passed by anything
        reasons = _unsound(record)
        if reasons:
            return Pairing(None, [], reasons)
        run = find(record)
        reasons = _unsound(run)
        if reasons:
            return Pairing(run, [], reasons)
        return Pairing(run, pair(record, run), [])
    except EvalError as error:
        return Pairing(run, [], [(_kind(error), str(error))])


def _unsound(run: Run) -> list[tuple[Kind, str]]:
    """The faults of a record, as reasons for there being no verdict."""
    return [("invalid", f"{run.path}: {reason}") for reason in faults(run)]


def _kind(error: EvalError) -> Kind:
    return "missing" if isinstance(error, MissingError) else kind_of(error)


def judge_rows(rows: Sequence[Row]) -> list[Change]:
    """All metrics of all records, tested and judged together: they are one family."""
    tested = [i for i, row in enumerate(rows) if row.primary and not row.measured.same]
    members = [Member((rows[i].benchmark, rows[i].model), rows[i].measured) for i in tested]
    family = dict(zip(tested, adjusted_p(members), strict=True))
    changes = []
    for i, row in enumerate(rows):
        difference = _difference(row.measured)
        changes.append(
            Change(
                row.benchmark,
                row.model,
                *row.measured.cell,
                row.measured.metric,
                row.primary,
                row.measured.old,
                row.measured.new,
                difference,
                _one_sided(row.measured, difference),
                family.get(i),
                _judgement(row, difference, family.get(i)),
            )
        )
    return changes


def _difference(measured: Measured) -> Difference:
    """The change of a metric with what the bootstrap says of it."""
    if measured.same or not measured.pairs:
        change = measured.new - measured.old
        return Difference(change, None, None, None, None, 0, 0, 0, None)
    return paired_means(measured.pairs)[measured.metric]


def _one_sided(measured: Measured, difference: Difference) -> float | None:
    """The chance of a drop as large as this one, from the two-sided p of a symmetric test."""
    # H0 is "no drop": what did not change at all has no evidence against it
    if measured.same:
        return 1.0
    if difference.p is None:
        return None
    # p_one = p_two / 2 on the side of the drop, 1 - p_two / 2 on the other
    return difference.p / 2 if difference.value < 0 else 1 - difference.p / 2


def _judgement(row: Row, difference: Difference, p_family: float | None) -> Judgement:
    """The verdict on one metric; the rules stand at the head of this file."""
    if row.measured.same:
        return "unchanged"
    floor = row.gate.floor + ROUNDING
    # both conditions: `far` alone is chance, `sure` alone is nobody's regression
    far = -difference.value > floor
    # a correlation over pairs, or one image: there is nothing to resample
    if difference.upper is None or difference.lower is None:
        if not row.primary:
            return "untested"
        return "regressed" if far else "passed"
    sure = difference.upper < 0 and p_family is not None and p_family < ALPHA
    if sure and far and row.primary:
        return "regressed"
    if difference.upper < 0 or far:
        return "suspicious"
    return "improved" if difference.lower > 0 and difference.value > floor else "passed"
