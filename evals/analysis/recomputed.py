"""A record's metrics computed once more from its queries: values, intervals, tie rates.

What a record says twice must agree: metrics.jsonl holds what queries.parquet makes. A hash shows
that a byte was changed; this shows that a number was changed and all hashes written anew.

Shapes: q queries.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from evals.analysis.beside import unlike_beside
from evals.analysis.whole import lacks
from evals.ranking.metric_table import of_ranks, per_query_function
from evals.ranking.metrics import mean, tie_rate
from evals.records.parquet import RANK_COLUMNS
from evals.records.queries import Cell, cell_name, lines_by_cell, ranks_of, tables_by_cell
from evals.records.record import MetricLine, Run
from evals.schema import InvalidError
from evals.stats.bootstrap import Interval, cluster_bootstrap, stratified_bootstrap
from evals.stats.correlation import spearman, spearman_interval
from evals.stats.intervals import class_mean_interval, mean_intervals

# The last bits of a sum or a quantile differ between builds of numpy and scipy.
ROUNDING = 1e-9
# mteb writes its scores with five digits.
MTEB_ROUNDING = 5.1e-6
# How intervals of means are made; earlier versions had the bootstrap's for all.
METHODS = (mean_intervals, cluster_bootstrap)

Groups = Int64[np.ndarray, "q"]


class Recomputed(NamedTuple):
    """How many values and intervals came out as recorded, what did not, and what nobody can tell.

    `unknown` names metrics whose values per query the record does not hold, as those of mteb.
    """

    values: int
    intervals: int
    problems: list[str]
    unknown: list[str]


class _Value(NamedTuple):
    """A metric computed from queries, and its interval, if it has one."""

    value: float
    interval: Interval | None


def recompute(run: Run) -> Recomputed:
    """Compute all metrics of a record from its queries, and compare them with those recorded.

    Raises InvalidError as `evals.records.queries.per_query` does, and for queries without metrics.
    """
    tables, lines = tables_by_cell(run), lines_by_cell(run)
    stray = [cell for cell in tables if cell not in lines]
    if stray:
        raise InvalidError(f"{run.path}: {cell_name(stray[0])} has queries and no metrics.")
    numbering = _Numbering(tables)
    values = intervals = 0
    problems = [*lacks(run, tables), *unlike_beside(run, tables)]
    unknown: dict[str, None] = {}
    for cell, cell_lines in lines.items():
        table = tables.get(cell)
        computed = {} if table is None else numbering.computed(run, cell, table, cell_lines)
        for line in cell_lines:
            where = f"{line.name} of {cell_name(cell)}"
            again = computed.get(line.name)
            if again is None:
                unknown[line.name] = None
                # All tasks but those of mteb keep what their metrics are made of.
                if run.manifest.mteb is None and line.n_queries:
                    problems.append(f"{where} has no queries that it could follow from.")
                continue
            values += 1
            intervals += line.ci_low is not None
            # Records of mteb's tasks have the interval of the main metric alone, and five digits.
            is_beside = run.manifest.mteb is not None and line.name != run.main_metric
            if is_beside and line.ci_low is None and line.ci_high is None:
                again = again._replace(interval=None)
            rounding = MTEB_ROUNDING if run.manifest.mteb else ROUNDING
            problems += [f"{where} {problem}" for problem in _unlike(line, again, rounding)]
        if table is not None:
            problems += _ties(cell, cell_lines, table)
    return Recomputed(values, intervals, problems, list(unknown))


def _unlike(line: MetricLine, again: _Value, rounding: float) -> Iterator[str]:
    """In what a line is not what its queries make."""
    if abs(line.value - again.value) > rounding:
        yield f"is {line.value!r}, and its queries make {again.value!r}."
    recorded = (line.ci_low, line.ci_high)
    if recorded == (None, None):
        if again.interval is not None:
            yield "has no interval, and its queries make one."
        return
    ends: Sequence[float | None] = again.interval or (None, None)
    for name, old, new in zip(("ci_low", "ci_high"), recorded, ends, strict=True):
        if old is None or new is None or abs(old - new) > ROUNDING:
            yield f"has {name} {old!r}, and its queries make {new!r}."


def _ties(cell: Cell, lines: Sequence[MetricLine], table: Any) -> Iterator[str]:
    has_ranks = set(RANK_COLUMNS) <= set(table.column_names)
    # Pairs have no ranks, and mteb's ties are broken by id.
    rate = tie_rate(ranks_of(table)) if has_ranks and len(table) else 0.0
    for line in lines:
        if abs(line.tie_rate - rate) > ROUNDING:
            yield (
                f"{line.name} of {cell_name(cell)} has tie_rate {line.tie_rate!r}, and its queries "
                f"make {rate!r}."
            )


class _Way(NamedTuple):
    """How the intervals of a direction came about: the number of each query's group, the method."""

    groups: Groups
    method: Callable[..., Mapping[str, Interval | None]]


class _Numbering:
    """Numbers the groups of queries as the evaluation did, which the draws of intervals go by.

    An image's number is its place in the data. The record has ids: of a direction whose queries are
    the images their order tells the numbers, else the first appearance or the name. Which of them
    it was shows in the first interval that comes out.
    """

    def __init__(self, tables: Mapping[Cell, Any]) -> None:
        self._ids: dict[tuple[str, str], list[str]] = {}
        for cell, table in tables.items():
            key = cell.subset, cell.direction
            if key not in self._ids:
                self._ids[key] = table["query_id"].to_pylist()
        self._choice: dict[tuple[str, str], _Way] = {}

    def computed(
        self, run: Run, cell: Cell, table: Any, lines: Sequence[MetricLine]
    ) -> dict[str, _Value]:
        """The metrics of a cell, by name."""
        if {"score", "gold"} <= set(table.column_names):
            return _of_pairs(run, table)
        if not len(table):
            return {}
        values, plain = _columns(run, table, lines)
        intervals = self._intervals(cell, table, values, lines) if values else {}
        for name, column in values.items():
            plain[name] = _Value(mean(column), intervals.get(name))
        return plain

    def _intervals(
        self, cell: Cell, table: Any, values: Mapping[str, np.ndarray], lines: Sequence[MetricLine]
    ) -> Mapping[str, Interval | None]:
        """The intervals by the numbering that gives those recorded, else by the likeliest one."""
        key = cell.subset, cell.direction
        chosen = self._choice.get(key)
        if chosen and len(chosen.groups) == len(table):
            return chosen.method(values, chosen.groups)
        first = None
        for way in self._candidates(cell, table["group_id"].to_pylist()):
            intervals = way.method(values, way.groups)
            first = first or intervals
            if _all_as_recorded(lines, intervals):
                self._choice[key] = way
                return intervals
        assert first is not None  # the names of the groups always give one
        return first

    def _candidates(self, cell: Cell, groups: Sequence[str]) -> Iterator[_Way]:
        """The ways that may have been, the likeliest first."""
        orders = [self._ids[cell.subset, cell.direction]]
        orders += [ids for (subset, _), ids in self._ids.items() if subset == cell.subset]
        orders += [list(dict.fromkeys(groups)), sorted(set(groups))]
        numberings = []
        for order in orders:
            place = {name: number for number, name in enumerate(order)}
            if all(name in place for name in groups):
                numberings.append(np.array([place[name] for name in groups], dtype=np.int64))
        for method in METHODS:
            yield from (_Way(numbers, method) for numbers in numberings)


def _all_as_recorded(lines: Sequence[MetricLine], intervals: Mapping[str, Interval | None]) -> bool:
    for line in lines:
        interval = intervals.get(line.name)
        if interval is not None and line.ci_low is not None and not _is(line, interval):
            return False
    return True


def _is(line: MetricLine, interval: Interval) -> bool:
    """Whether a line has this interval."""
    if line.ci_low is None or line.ci_high is None:
        return False
    ends = (line.ci_low, line.ci_high)
    return all(abs(a - b) <= ROUNDING for a, b in zip(ends, interval, strict=True))


def _of_pairs(run: Run, table: Any) -> dict[str, _Value]:
    """Of pairs of texts: the correlation of cosines and gold scores, which is the main metric."""
    score, gold = table["score"].to_numpy(), table["gold"].to_numpy()
    if len(score) < 2:
        return {}
    value = _Value(spearman(score, gold), spearman_interval(score, gold))
    # mteb has correlations of other similarities beside it.
    return {run.main_metric: value} if run.main_metric else {}


def _columns(
    run: Run, table: Any, lines: Sequence[MetricLine]
) -> tuple[dict[str, np.ndarray], dict[str, _Value]]:
    """The metrics that have a value per query, and those that are computed of all at once."""
    if "value" in table.column_names:
        task = run.manifest.mteb
        name = task.query_metric if task else None
        return ({name: table["value"].to_numpy()} if name else {}), {}
    ranks = ranks_of(table)
    of_all = of_ranks(ranks)
    columns: dict[str, np.ndarray] = {}
    plain: dict[str, _Value] = {}
    for line in lines:
        function = per_query_function(line.name)
        if function is not None:
            columns[line.name] = function(ranks)
        elif line.name in table.column_names:
            columns[line.name] = table[line.name].to_numpy()
        elif line.name in of_all:
            plain[line.name] = _Value(of_all[line.name], None)
        elif line.name == "mean_per_class_recall" and "label" in table.column_names:
            plain[line.name] = _per_class(line, ranks, table["label"].to_numpy())
        elif line.name == "mAP" and "average_precision" in table.column_names:
            plain[line.name] = _Value(_mean_of_classes(run, line, table), None)
    return columns, plain


def _mean_of_classes(run: Run, line: MetricLine, table: Any) -> float:
    """The mean over classes of average precision; one without images is no query, and counts as 0."""
    precisions = table["average_precision"].to_numpy()
    counts = run.manifest.raw["data"].get(line.subset, {})
    n_classes: int = counts.get("classes", len(precisions))
    return math.fsum(precisions) / n_classes


def _per_class(line: MetricLine, ranks: Any, labels: np.ndarray) -> _Value:
    from evals.tasks.classification import mean_per_class

    right = per_query_function("acc@1")
    assert right is not None  # as the table of measures has it
    hits = right(ranks)
    interval = class_mean_interval(hits, labels)
    # Here, too, earlier versions had the bootstrap's.
    earlier = stratified_bootstrap(hits, labels)
    if earlier is not None and _is(line, earlier):
        interval = earlier
    return _Value(mean_per_class(hits, labels), interval)
