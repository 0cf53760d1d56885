"""What a sweep found: a point for each direction, dimension, precision and metric, shown by its table, files and figures."""

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from statistics import fmean
from typing import NamedTuple

import numpy as np

from evals.evaluate import Outcome
from evals.metrics import hit_at
from evals.precision import bytes_per_vector
from evals.ranks import Ranks
from evals.stats import Interval, cluster_bootstrap
from evals.task_outcome import Result, TaskOutcome
from evals.tasks.scores import Scores

METRICS = ("R@1", "R@5", "acc@1", "acc@5")  # those of them that a task has


class Point(NamedTuple):
    """A metric of a benchmark by a model at a dimension and precision: the plain mean over `subsets`, a fraction in [0, 1].

    `kept` is the value over that of the full width in float32 (None where that is 0 or was not measured); `ci_*` is the 95%
    interval, None where there is none; `bytes` are those of a vector; `n` counts queries, or pairs of texts.
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
    """The points of one outcome, widest first."""
    found = _of_task(outcome) if isinstance(outcome, TaskOutcome) else _of_row(outcome)
    width = max(point.dim for point in found)
    full = {
        (point.subsets, point.direction, point.metric): point.value
        for point in found
        if (point.dim, point.precision) == (width, "float32")
    }
    wholes = [full.get((point.subsets, point.direction, point.metric)) for point in found]
    return [point._replace(kept=point.value / whole if whole else None) for point, whole in zip(found, wholes, strict=True)]


def _of_row(outcome: Outcome) -> list[Point]:
    subsets, first = list(outcome.scores.values()), next(iter(outcome.scores.values()))
    partial = ".partial" if outcome.partial else ""
    out = []
    for at, s in enumerate(first):
        every = [scores[at] for scores in subsets]
        for metric in (name for name in METRICS if name in s.values):
            value = fmean(one.values[metric].value for one in every)
            low, high = _interval(every, metric) or (None, None)
            size, n = bytes_per_vector(s.precision, s.dim), sum(len(one.query_ids) for one in every)
            names = (outcome.benchmark.name + partial, outcome.benchmark.title, outcome.model, " ".join(outcome.scores))
            out.append(Point(*names, s.direction, s.dim, s.precision, metric, value, low, high, None, size, n))
    return out


def _interval(every: Sequence[Scores], metric: str) -> Interval | None:
    """Of a mean over subsets: images are drawn once for all, and a query weighs so much that its subset counts as one."""
    if len(every) == 1:
        return every[0].values[metric].interval
    total = sum(len(s.query_ids) for s in every)
    k = int(metric.partition("@")[2])
    values = [hit_at(_ranks(s), k) * (total / len(every) / len(s.query_ids)) for s in every]
    groups = np.unique([group for s in every for group in s.group_ids], return_inverse=True)[1]
    return cluster_bootstrap({metric: np.concatenate(values)}, groups)[metric]


def _ranks(s: Scores) -> Ranks:
    return Ranks(**{field.name: s.columns[field.name] for field in fields(Ranks)})


def _of_task(outcome: TaskOutcome) -> list[Point]:
    by_split: dict[tuple[str, int], list[int]] = {}
    for i, s in enumerate(outcome.scores):
        by_split.setdefault((s.split, s.dim), []).append(i)
    out = []
    for (split, dim), places in sorted(by_split.items(), key=lambda item: (item[0][0], -item[0][1])):
        every = [outcome.scores[i] for i in places]
        low, high = (every[0].interval if len(every) == 1 else None) or (None, None)
        names = (f"mteb:{outcome.task}/{split}" + (".partial" if outcome.partial else ""), outcome.task, outcome.model)
        value, n, size = fmean(s.value for s in every), sum(s.n for s in every), bytes_per_vector("float32", dim)
        subsets = " ".join(s.subset for s in every)
        out.append(Point(*names, subsets, "", dim, "float32", outcome.metric, value, low, high, None, size, n))
    return out


def as_csv(found: Sequence[Point]) -> bytes:
    """A line for each point, fractions as they are; what there is not is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([Point._fields, *found])
    return text.getvalue().encode()
