"""Recall against the size of the gallery: what is left of R@k when distractors join what is searched.

The first point is the benchmark's own number, the last that of all distractors, and those between
are means over every way to draw so many of them (evals.ranking.gallery_size). Intervals resample
images, as those of the benchmark do; which distractors are drawn is in no interval, for the mean
over all draws is exact.

Shapes: q queries, n documents, d dimensions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from evals.ranking.definition import Ranks
from evals.ranking.distractors import count_distractors
from evals.ranking.gallery_size import DistractorCounts, gallery_sizes, hit_at_sizes
from evals.ranking.measures import shown
from evals.ranking.metrics import mean
from evals.ranking.relevance import Relevant
from evals.ranking.shapes import QueryRows
from evals.ranking.streamed import Gallery
from evals.stats.intervals import mean_intervals
from evals.tasks.scores import Scores, Value

RECALLS = {name: int(name.partition("@")[2]) for name in shown("retrieval")}


class Search(NamedTuple):
    """One direction of a benchmark: queries, the gallery that they search, and what is relevant.

    `clusters` has the cluster of each query. Rows are full width.
    """

    direction: str
    queries: QueryRows
    gallery: Gallery
    relevant: Relevant
    clusters: Int[np.ndarray, "q"]


class CurvePoint(NamedTuple):
    """R@k in a gallery of `n_gallery` items, `n_distractors` of them drawn at random."""

    metric: str
    n_gallery: int
    n_distractors: int
    value: Value


class Curve(NamedTuple):
    """The points of one direction at one dimension, in float32, and the counts they are made of."""

    direction: str
    dim: int
    query_ids: Sequence[str]
    counts: DistractorCounts
    points: Sequence[CurvePoint]


def curves(
    search: Search, scores: Sequence[Scores], distractors: Gallery, *, device: str = "cpu"
) -> list[Curve]:
    """The curve at each dimension of `scores`, which are those of the direction without distractors.

    `distractors` are read once for all dimensions. Raises ValueError as `count_distractors` does.
    """
    scores_by_dim = {
        score.dim: score
        for score in scores
        if (score.direction, score.precision) == (search.direction, "float32")
    }
    counts_by_dim = count_distractors(
        search.queries,
        search.gallery,
        search.relevant,
        distractors(),
        list(scores_by_dim),
        device=device,
    )
    return [_curve(search, score, counts_by_dim[dim]) for dim, score in scores_by_dim.items()]


def _curve(search: Search, score: Scores, counts: DistractorCounts) -> Curve:
    ranks = Ranks(**{field.name: score.columns[field.name] for field in fields(Ranks)})
    sizes = gallery_sizes(score.n_gallery, counts.total)
    drawn = [size - score.n_gallery for size in sizes]
    columns: dict[tuple[str, int], np.ndarray] = {}
    for name, k in RECALLS.items():
        hits = hit_at_sizes(ranks, counts, drawn, k)
        columns |= {(name, size): column for size, column in zip(sizes, hits, strict=True)}
    # All in one call: every column is multiplied with the same resamples, in one product.
    intervals = mean_intervals(columns, search.clusters)
    points = [
        CurvePoint(name, size, size - score.n_gallery, Value(mean(column), intervals[name, size]))
        for (name, size), column in columns.items()
    ]
    return Curve(search.direction, score.dim, score.query_ids, counts, points)


def points_by_size(points: Sequence[CurvePoint]) -> Mapping[int, Mapping[str, CurvePoint]]:
    """The points of a curve by the size of the gallery, and then by metric."""
    by_size: dict[int, dict[str, CurvePoint]] = {}
    for point in points:
        by_size.setdefault(point.n_gallery, {})[point.metric] = point
    return by_size
