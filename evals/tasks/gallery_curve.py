"""Recall against the size of the gallery: what is left of R@k when distractors join what is searched.

The first point is the benchmark's own number, the last that of all distractors, and those between
are means over every way to draw so many of them (evals.ranking.gallery_size). Intervals resample
images, as those of the benchmark do; which distractors are drawn is in no interval, for the mean
over all draws is exact.

Shapes: q queries, n documents, d dimensions.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from evals.embeddings.rows import RowSource
from evals.ranking.definition import Ranks
from evals.ranking.distractors import count_distractors
from evals.ranking.gallery_size import DistractorCounts, gallery_sizes, hit_at_sizes
from evals.ranking.metric_table import shown
from evals.ranking.metrics import mean
from evals.ranking.relevance import Relevant
from evals.ranking.stored import LARGEST_BLOCK, plan_of, strips
from evals.ranking.streamed import Gallery
from evals.stats.intervals import mean_intervals
from evals.tasks.scores import Scores, Value

# Recall alone: what is behind the best answer is not counted, and nDCG@10 would need it.
RECALLS = {name: int(name.partition("@")[2]) for name in shown("retrieval")}


class Search(NamedTuple):
    """One direction of a benchmark: queries, the gallery that they search, and what is relevant.

    `clusters` has the cluster of each query. Rows are full width, in memory or on disk.
    """

    direction: str
    queries: RowSource
    gallery: RowSource
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
    search: Search,
    scores: Sequence[Scores],
    distractors: Gallery,
    *,
    memory: int | None = None,
    device: str = "cpu",
) -> list[Curve]:
    """The curve at each dimension of `scores`, which are those of the direction without distractors.

    Distractors are read once for all dimensions; with a `memory` in bytes, once for as many queries
    as fit. Raises ValueError as `count_distractors` does.
    """
    scores_by_dim = {
        score.dim: score
        for score in scores
        if (score.direction, score.precision) == (search.direction, "float32")
    }
    dims = list(scores_by_dim)
    # Rows in memory are one strip: distractors are read once.
    n_queries, _ = search.queries.shape
    if memory is not None:
        n_queries = plan_of(search.queries, dims, ["float32"], memory).queries
    parts: dict[int, list[DistractorCounts]] = {dim: [] for dim in dims}
    for strip in strips(search.queries, search.relevant, n_queries):
        counts = count_distractors(
            strip.queries,
            lambda: (block.rows for block in search.gallery.blocks(LARGEST_BLOCK)),
            strip.relevant,
            distractors(),
            dims,
            device=device,
        )
        for dim in dims:
            parts[dim].append(counts[dim])
    return [_curve(search, scores_by_dim[dim], _joined(parts[dim])) for dim in dims]


def _joined(parts: Sequence[DistractorCounts]) -> DistractorCounts:
    """The counts of neighbouring strips of queries as one."""
    better = np.concatenate([part.better for part in parts])
    tied = np.concatenate([part.tied for part in parts])
    return DistractorCounts(better, tied, parts[0].total)


def _curve(search: Search, score: Scores, counts: DistractorCounts) -> Curve:
    # The ranks that are recorded, so that the first point is the recorded number.
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
