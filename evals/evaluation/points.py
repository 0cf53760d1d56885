"""What a sweep found: a point for each direction, dimension, precision and metric, shown by its table, files and figures.

Points are made from metric lines and the values of queries. `points` takes those of a sweep that
was just made, `points_of` those of its record, and both give the same points.
"""

import csv
import functools
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np

from evals.embeddings.precision import bytes_per_vector
from evals.escape import spreadsheet_text
from evals.evaluation.outcome import Outcome, Result, TaskOutcome
from evals.evaluation.recording import metric_lines
from evals.evaluation.shares import with_shares
from evals.ranking.definition import Ranks
from evals.ranking.metric_table import MEASURES, per_query_function, swept
from evals.records.manifest import PARTIAL
from evals.records.means import plain_mean
from evals.records.queries import Cell, PerQuery, cell_of, per_query
from evals.records.record import MetricLine, Run, width_of
from evals.schema import ConfigError
from evals.stats.bootstrap import Interval
from evals.stats.intervals import TAIL, parts_mean_interval
from evals.tasks.scores import Scores


class Point(NamedTuple):
    """A metric of a benchmark by a model at a dimension and precision: the plain mean over `subsets`, a fraction in [0, 1].

    `kept` is the value over that of the full width in float32 (None where that is 0 or was not
    measured), and `kept_*` its 95% interval, paired by query; `ci_*` is that of the value. An
    interval is None where there is none, as of the full width's share. `bytes` are those of a
    vector; `n` counts queries, or pairs of texts.
    """

    benchmark: str
    title: str
    model: str
    subsets: str
    direction: str
    dim: int
    precision: str
    metric: str
    value: float
    ci_low: float | None
    ci_high: float | None
    kept: float | None
    bytes: int
    n: int
    kept_low: float | None = None
    kept_high: float | None = None


class _Measured(NamedTuple):
    """What points are made from. `queries` is called only where a mean needs an interval."""

    benchmark: str
    title: str
    model: str
    lines: Sequence[MetricLine]
    queries: Callable[[], Mapping[Cell, PerQuery]]


class _Curve(NamedTuple):
    """What the lines of one point have in common."""

    direction: str
    dim: int
    precision: str
    metric: str


def points(outcome: Result, *, tail: float = TAIL) -> list[Point]:
    """The points of one outcome, widest first; a sweep has the full width among them.

    Each end of the intervals of `kept` is missed with chance `tail`: they are 95% intervals.
    """
    queries: Callable[[], Mapping[Cell, PerQuery]] = dict
    if isinstance(outcome, TaskOutcome):
        lines = _task_lines(outcome)
        plain_points = _of_task(outcome.task, outcome.model, outcome.partial, lines)
    else:
        # once for all points: it works out every query of every cell
        queries = functools.cache(lambda: _queries(outcome))
        measured = _Measured(
            outcome.name,
            outcome.benchmark.title,
            outcome.model,
            metric_lines(outcome.scores),
            queries,
        )
        plain_points = _of_row(measured)
    width = max((point.dim for point in plain_points), default=0)
    return with_shares(plain_points, width, queries, tail)


def points_of(run: Run) -> list[Point]:
    """The points of a record: those that `points` gave when it was written.

    Raises ConfigError for a record that has no metric of a sweep.
    """
    manifest = run.manifest
    queries: Callable[[], Mapping[Cell, PerQuery]] = dict
    if manifest.mteb:
        # the other metrics of a task have no interval, and mteb judges it by the main one
        lines = [line for line in run.metrics if line.name == run.main_metric]
        plain_points = _of_task(manifest.mteb.task, manifest.model, manifest.partial, lines)
    else:
        names = manifest.benchmark, manifest.title, manifest.model
        queries = functools.cache(lambda: per_query(run))
        plain_points = _of_row(_Measured(*names, run.metrics, queries))
    if not plain_points:
        curves = ", ".join(measure.name for measure in MEASURES if measure.swept)
        raise ConfigError(f"{run.path}: none of its metrics is one of a sweep: {curves}.")
    return with_shares(plain_points, width_of(run), queries)


def as_csv(sweep_points: Sequence[Point]) -> bytes:
    """A line for each point, fractions as they are; what there is not is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Point._fields)
    for point in sweep_points:
        # Names come from folders and data, and no spreadsheet is to calculate one.
        writer.writerow(spreadsheet_text(v) if isinstance(v, str) else v for v in point)
    return text.getvalue().encode()


def _of_row(measured: _Measured) -> list[Point]:
    """The curves of a benchmark's row, in the order of its lines."""
    curves = swept({line.name for line in measured.lines})
    lines = [line for line in measured.lines if line.name in curves]
    return [_point(measured, curve, members) for curve, members in _by_curve(lines).items()]


def _of_task(task: str, model: str, partial: object, lines: Sequence[MetricLine]) -> list[Point]:
    """The main score of a task of mteb: each split, the direction of its lines, is a benchmark."""
    part = PARTIAL if partial else ""
    plain_points = []
    for curve, members in _by_curve(lines).items():
        # intervals are those of mteb's lines: its queries of several subsets are not resampled
        measured = _Measured(f"mteb:{task}/{curve.direction}{part}", task, model, lines, dict)
        plain_points.append(_point(measured, curve._replace(direction=""), members))
    # mteb gives splits in the order of its data; a table is read by name.
    return sorted(plain_points, key=lambda point: (point.benchmark, -point.dim))


def _point(measured: _Measured, curve: _Curve, lines: Sequence[MetricLine]) -> Point:
    interval = _interval(lines, measured.queries)
    return Point(
        benchmark=measured.benchmark,
        title=measured.title,
        model=measured.model,
        subsets=" ".join(line.subset for line in lines),
        direction=curve.direction,
        dim=curve.dim,
        precision=curve.precision,
        metric=curve.metric,
        value=plain_mean(line.value for line in lines),
        ci_low=interval.low if interval else None,
        ci_high=interval.high if interval else None,
        kept=None,
        bytes=bytes_per_vector(curve.precision, curve.dim),
        n=sum(line.n_queries for line in lines),
    )


def _interval(
    lines: Sequence[MetricLine], queries: Callable[[], Mapping[Cell, PerQuery]]
) -> Interval | None:
    """The interval of the one line, or of the mean over several."""
    if len(lines) == 1:
        low, high = lines[0].ci_low, lines[0].ci_high
        return None if low is None or high is None else Interval(low, high)
    # Only now: of one subset the interval stands in its line, and no query is read for it.
    queries_by_cell = queries()
    metric = lines[0].name
    values, groups = [], []
    for line in lines:
        cell = queries_by_cell.get(cell_of(line))
        # what is no mean over queries has nothing to resample
        if cell is None or metric not in cell.values:
            return None
        values.append(cell.values[metric])
        groups.append(cell.groups)
    return parts_mean_interval(values, groups)


def _by_curve(lines: Iterable[MetricLine]) -> dict[_Curve, list[MetricLine]]:
    """Lines of all subsets by what else names them."""
    curves: dict[_Curve, list[MetricLine]] = {}
    for line in lines:
        curve = _Curve(line.direction, line.dim, line.precision, line.name)
        curves.setdefault(curve, []).append(line)
    return curves


def _task_lines(outcome: TaskOutcome) -> list[MetricLine]:
    """The main scores of a task as the lines that its record has of them."""
    lines = []
    for score in outcome.scores:
        interval = score.interval
        lines.append(
            MetricLine(
                subset=score.subset,
                direction=score.split,
                dim=score.dim,
                precision="float32",
                metric=outcome.metric,
                k=None,
                value=score.value,
                ci_low=interval.low if interval else None,
                ci_high=interval.high if interval else None,
                n_queries=score.n,
                n_gallery=0,
                tie_rate=0.0,
            )
        )
    return lines


def _queries(outcome: Outcome) -> dict[Cell, PerQuery]:
    """What each query scored, by the metrics that are means over queries."""
    cells = {}
    for subset, subset_scores in outcome.scores.items():
        for scores in subset_scores:
            cell = Cell(subset, scores.direction, scores.dim, scores.precision)
            cells[cell] = PerQuery(list(scores.query_ids), list(scores.group_ids), _values(scores))
    return cells


def _values(scores: Scores) -> dict[str, np.ndarray]:
    """By metric the value of each query: from a column of its own, or from the ranks."""
    values = {}
    for metric in scores.values:
        function = per_query_function(metric)
        if metric in scores.columns:
            values[metric] = scores.columns[metric]
        elif function is not None:
            values[metric] = function(_ranks(scores))
    return values


def _ranks(scores: Scores) -> Ranks:
    return Ranks(**{field.name: scores.columns[field.name] for field in fields(Ranks)})
