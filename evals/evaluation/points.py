"""What a sweep found: a point for each direction, dimension, precision and metric, shown by its table, files and figures.

`points` are those of a sweep that was just made, `points_of` the same from its record.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from statistics import fmean
from typing import NamedTuple

import numpy as np

from evals.embeddings.precision import bytes_per_vector
from evals.escape import spreadsheet_text
from evals.evaluation.outcome import Outcome, Result, TaskOutcome
from evals.ranking.definition import Ranks
from evals.ranking.measures import MEASURES, per_query_function, swept
from evals.records.manifest import PARTIAL
from evals.records.queries import Cell, PerQuery, metric_name, per_query
from evals.records.record import MetricLine, Run, width_of
from evals.schema import ConfigError
from evals.stats.bootstrap import Interval
from evals.stats.intervals import parts_mean_interval
from evals.tasks.scores import Scores


class Point(NamedTuple):
    """A metric of a benchmark by a model at a dimension and precision: the plain mean over `subsets`, a fraction in [0, 1].

    `kept` is the value over that of the full width in float32 (None where that is 0 or was not
    measured); `ci_*` is the 95% interval, None where there is none; `bytes` are those of a vector;
    `n` counts queries, or pairs of texts.
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


def points(outcome: Result) -> list[Point]:
    """The points of one outcome, widest first; a sweep has the full width among them."""
    plain_points = _of_task(outcome) if isinstance(outcome, TaskOutcome) else _of_row(outcome)
    return _with_shares(plain_points, max((point.dim for point in plain_points), default=0))


def points_of(run: Run) -> list[Point]:
    """The points of a record: those that `points` gave when it was written.

    Raises ConfigError for a record that has no metric of a sweep.
    """
    plain_points = _of_task_record(run) if run.manifest.mteb else _of_row_record(run)
    plain_points = _with_shares(plain_points, width_of(run))
    if not plain_points:
        curves = ", ".join(measure.name for measure in MEASURES if measure.swept)
        raise ConfigError(f"{run.path}: none of its metrics is one of a sweep: {curves}.")
    return plain_points


def _with_shares(plain_points: list[Point], width: int) -> list[Point]:
    """Points with what each keeps of the full width in float32."""
    full = {
        _place(point): point.value
        for point in plain_points
        if (point.dim, point.precision) == (width, "float32")
    }
    full_values = [full.get(_place(point)) for point in plain_points]
    return [
        point._replace(kept=point.value / full_value if full_value else None)
        for point, full_value in zip(plain_points, full_values, strict=True)
    ]


def _place(point: Point) -> tuple[str, ...]:
    return point.benchmark, point.subsets, point.direction, point.metric


def _of_row(outcome: Outcome) -> list[Point]:
    subsets, first = list(outcome.scores.values()), next(iter(outcome.scores.values()))
    partial = ".partial" if outcome.partial else ""
    out = []
    for at, first_scores in enumerate(first):
        subset_scores = [scores[at] for scores in subsets]
        for metric in swept(first_scores.values):
            value = fmean(
                scores_of_subset.values[metric].value for scores_of_subset in subset_scores
            )
            low, high = _interval(subset_scores, metric) or (None, None)
            size, n = (
                bytes_per_vector(first_scores.precision, first_scores.dim),
                sum(len(scores_of_subset.query_ids) for scores_of_subset in subset_scores),
            )
            names = (
                outcome.benchmark.name + partial,
                outcome.benchmark.title,
                outcome.model,
                " ".join(outcome.scores),
            )
            out.append(
                Point(
                    *names,
                    first_scores.direction,
                    first_scores.dim,
                    first_scores.precision,
                    metric,
                    value,
                    low,
                    high,
                    None,
                    size,
                    n,
                )
            )
    return out


def _interval(subset_scores: Sequence[Scores], metric: str) -> Interval | None:
    """That of the one subset, or of the mean over several."""
    if len(subset_scores) == 1:
        return subset_scores[0].values[metric].interval
    values = [_per_query(scores, metric) for scores in subset_scores]
    if any(column is None for column in values):
        return None
    return parts_mean_interval(
        [column for column in values if column is not None],
        [scores.group_ids for scores in subset_scores],
    )


def _per_query(scores: Scores, metric: str) -> np.ndarray | None:
    """The metric's values, from a column of its own or from the ranks; None where it has none."""
    if metric in scores.columns:
        return scores.columns[metric]
    function = per_query_function(metric)
    return None if function is None else function(_ranks(scores))


def _ranks(s: Scores) -> Ranks:
    return Ranks(**{field.name: s.columns[field.name] for field in fields(Ranks)})


def _of_task(outcome: TaskOutcome) -> list[Point]:
    by_split: dict[tuple[str, int], list[int]] = {}
    for i, score in enumerate(outcome.scores):
        by_split.setdefault((score.split, score.dim), []).append(i)
    out = []
    for (split, dim), places in sorted(
        by_split.items(), key=lambda item: (item[0][0], -item[0][1])
    ):
        scores = [outcome.scores[i] for i in places]
        low, high = (scores[0].interval if len(scores) == 1 else None) or (None, None)
        names = (
            f"mteb:{outcome.task}/{split}" + (".partial" if outcome.partial else ""),
            outcome.task,
            outcome.model,
        )
        value, n, size = (
            fmean(score.value for score in scores),
            sum(score.n for score in scores),
            bytes_per_vector("float32", dim),
        )
        subsets = " ".join(score.subset for score in scores)
        out.append(
            Point(
                *names, subsets, "", dim, "float32", outcome.metric, value, low, high, None, size, n
            )
        )
    return out


def _of_row_record(run: Run) -> list[Point]:
    curves = swept({metric_name(line) for line in run.metrics})
    manifest, by_place = (
        run.manifest,
        _lines([line for line in run.metrics if metric_name(line) in curves]),
    )
    several = any(len(lines) > 1 for lines in by_place.values())
    queries = per_query(run) if several else {}
    subsets = " ".join(dict.fromkeys(line.subset for line in run.metrics))
    names = (manifest.benchmark, manifest.title, manifest.model, subsets)
    out = []
    for (direction, dim, precision, metric), lines in by_place.items():
        low, high = _ends(lines, queries) or (None, None)
        value, n = fmean(line.value for line in lines), sum(line.n_queries for line in lines)
        size = bytes_per_vector(precision, dim)
        out.append(
            Point(*names, direction, dim, precision, metric, value, low, high, None, size, n)
        )
    return out


def _ends(lines: Sequence[MetricLine], queries: Mapping[Cell, PerQuery]) -> Interval | None:
    """The interval of the one line, or of the mean over several."""
    if len(lines) == 1:
        return _interval_of(lines[0])
    cells = [queries[Cell(line.subset, line.direction, line.dim, line.precision)] for line in lines]
    return parts_mean_interval(
        [cell.values[metric_name(lines[0])] for cell in cells], [cell.groups for cell in cells]
    )


def _of_task_record(run: Run) -> list[Point]:
    """The first line of a subset and split, at each dimension, is the task's main score."""
    assert run.manifest.mteb is not None
    task, part = run.manifest.mteb.task, PARTIAL if run.manifest.partial else ""
    first: dict[tuple[str, str, int], MetricLine] = {}
    for line in run.metrics:
        first.setdefault((line.subset, line.direction, line.dim), line)
    out = []
    for (split, dim, _, metric), lines in sorted(
        _lines(first.values()).items(), key=lambda item: (item[0][0], -item[0][1])
    ):
        low, high = (_interval_of(lines[0]) if len(lines) == 1 else None) or (None, None)
        names = (
            f"mteb:{task}/{split}{part}",
            task,
            run.manifest.model,
            " ".join(line.subset for line in lines),
        )
        value, n = fmean(line.value for line in lines), sum(line.n_queries for line in lines)
        out.append(
            Point(
                *names,
                "",
                dim,
                "float32",
                metric,
                value,
                low,
                high,
                None,
                bytes_per_vector("float32", dim),
                n,
            )
        )
    return out


def _lines(metric_lines: Iterable[MetricLine]) -> dict[tuple[str, int, str, str], list[MetricLine]]:
    """Lines of all subsets by direction, dimension, precision and metric."""
    places: dict[tuple[str, int, str, str], list[MetricLine]] = {}
    for line in metric_lines:
        places.setdefault((line.direction, line.dim, line.precision, metric_name(line)), []).append(
            line
        )
    return places


def _interval_of(line: MetricLine) -> Interval | None:
    return (
        None if line.ci_low is None or line.ci_high is None else Interval(line.ci_low, line.ci_high)
    )


def as_csv(sweep_points: Sequence[Point]) -> bytes:
    """A line for each point, fractions as they are; what there is not is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Point._fields)
    for point in sweep_points:
        # Names come from folders and data, and no spreadsheet is to calculate one.
        writer.writerow(spreadsheet_text(v) if isinstance(v, str) else v for v in point)
    return text.getvalue().encode()
