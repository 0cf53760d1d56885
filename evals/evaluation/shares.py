"""What each point of a sweep keeps of the full width in float32, with its interval."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from evals.records.queries import Cell, PerQuery
from evals.stats.bootstrap import Interval
from evals.stats.intervals import TAIL
from evals.stats.kept import Cut, kept_intervals

FULL = "float32"
# A NamedTuple with the fields of evals.evaluation.points.Point.
P = TypeVar("P", bound=Any)


class Vector(NamedTuple):
    """What a point cuts embeddings to."""

    dim: int
    precision: str


def with_shares(
    points: Sequence[P],
    width: int,
    queries_of: Callable[[], Mapping[Cell, PerQuery]],
    tail: float = TAIL,
) -> list[P]:
    """Points with `kept` and its interval, each end of which is missed with chance `tail`.

    `queries_of` gives the queries of the points' cells. A metric without a value for each query has
    a share and no interval.
    """
    curves: dict[tuple[str, ...], list[P]] = {}
    for point in points:
        place = (point.benchmark, point.subsets, point.direction, point.metric)
        curves.setdefault(place, []).append(point)
    shares: dict[P, P] = {}
    for members in curves.values():
        shares |= zip(members, _shares(members, width, queries_of, tail), strict=True)
    return [shares[point] for point in points]


def _shares(
    members: Sequence[P],
    width: int,
    queries_of: Callable[[], Mapping[Cell, PerQuery]],
    tail: float,
) -> list[P]:
    """The points of one curve; they differ in their vector alone."""
    full = next((p for p in members if (p.dim, p.precision) == (width, FULL)), None)
    # A score of 0 keeps nothing of itself: no share is shown rather than 0 / 0.
    if full is None or not full.value:
        return list(members)
    cut = [point for point in members if point is not full]
    intervals = _intervals(full, cut, queries_of(), tail) if cut else {}
    shares = []
    for point in members:
        interval = intervals.get(Vector(point.dim, point.precision))
        share = point._replace(kept=point.value / full.value)
        if interval:
            share = share._replace(kept_low=interval.low, kept_high=interval.high)
        shares.append(share)
    return shares


def _intervals(
    full: Any, cut: Sequence[Any], queries: Mapping[Cell, PerQuery], tail: float
) -> Mapping[Any, Interval | None]:
    """By vector; empty where the metric has no value for each query."""
    vectors = [Vector(point.dim, point.precision) for point in cut]
    parts = []
    numbers: dict[str, int] = {}
    for subset in full.subsets.split():
        columns = {}
        for vector in (Vector(full.dim, FULL), *vectors):
            cell = queries.get(Cell(subset, full.direction, *vector))
            if cell is None or full.metric not in cell.values:
                return {}
            columns[vector] = cell
        full_cell = columns.pop(Vector(full.dim, FULL))
        # One number per image, whatever languages its queries are of.
        groups = [numbers.setdefault(group, len(numbers)) for group in full_cell.groups]
        values = {vector: cell.values[full.metric] for vector, cell in columns.items()}
        parts.append(Cut(full_cell.values[full.metric], values, np.array(groups)))
    return kept_intervals(parts, tail=tail)
