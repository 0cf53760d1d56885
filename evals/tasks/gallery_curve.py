"""Recall against the size of the gallery: what is left of R@k when distractors join what is searched.

The first point is the benchmark's own number, the last that of all distractors, and those between
are means over every way to draw so many of them (evals.ranking.gallery_size). Intervals resample
images, as those of the benchmark do; which distractors are drawn is in no interval, for the mean
over all draws is exact.

Shapes: q queries, n documents, d dimensions.
"""

from collections.abc import Hashable, Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from evals.embeddings.rows import RowSource
from evals.ranking.definition import Ranks
from evals.ranking.distractors import LeveledQueries, count_around, level_queries
from evals.ranking.gallery_size import DistractorCounts, gallery_sizes, hit_at_sizes
from evals.ranking.metric_table import shown
from evals.ranking.metrics import mean
from evals.ranking.relevance import Relevant
from evals.ranking.stored import LARGEST_BLOCK, bytes_per_query, strips
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


class _Search(NamedTuple):
    """What is left of a search while its queries wait: `parts` are the counts of strips of them."""

    direction: str
    clusters: Int[np.ndarray, "q"]
    scores_by_dim: dict[int, Scores]
    parts: dict[int, list[DistractorCounts]]


class _Strip(NamedTuple):
    """Queries that wait for a reading of the distractors, and the search that they belong to."""

    search: _Search
    queries: LeveledQueries


class CurveCounter:
    """The curves of any number of searches, from as few readings of the distractors as memory allows.

    Searches are added one by one, and wait as their queries and levels alone. Distractors are read
    for all that wait when these would take more than `memory` bytes, and at the end.
    """

    def __init__(self, *, memory: int, device: str = "cpu") -> None:
        self.memory, self.device = memory, device
        self._searches: list[_Search] = []
        self._waiting: dict[Hashable, list[_Strip]] = {}
        self._galleries: dict[Hashable, Gallery] = {}
        self._waiting_bytes = 0

    def add(
        self, name: Hashable, distractors: Gallery, search: Search, scores: Sequence[Scores]
    ) -> None:
        """Take a search, whose gallery distractors join; those of one `name` are the same rows.

        The curve is at each dimension of `scores`, which are those without distractors. Raises
        ValueError as `level_queries` and `count_around` do.
        """
        scores_by_dim = {
            score.dim: score
            for score in scores
            if (score.direction, score.precision) == (search.direction, "float32")
        }
        dims = list(scores_by_dim)
        waiting = _Search(
            search.direction, search.clusters, scores_by_dim, {dim: [] for dim in dims}
        )
        self._searches.append(waiting)
        self._galleries.setdefault(name, distractors)
        _, width = search.queries.shape
        query_bytes = bytes_per_query(width, dims, ["float32"])
        most = max(1, self.memory // query_bytes)
        for strip in strips(search.queries, search.relevant, most):
            strip_bytes = len(strip.queries) * query_bytes
            if self._waiting_bytes + strip_bytes > self.memory:
                self._count()
            leveled = level_queries(
                strip.queries,
                lambda: (block.rows for block in search.gallery.blocks(LARGEST_BLOCK)),
                strip.relevant,
                dims,
            )
            self._waiting.setdefault(name, []).append(_Strip(waiting, leveled))
            self._waiting_bytes += strip_bytes

    def finish(self) -> list[list[Curve]]:
        """The curves of each search, in the order in which they were added."""
        self._count()
        return [_curves(search) for search in self._searches]

    def _count(self) -> None:
        """Read the distractors for all that wait."""
        for name, waiting in self._waiting.items():
            parts = [strip.queries for strip in waiting]
            counted = count_around(parts, self._galleries[name](), device=self.device)
            for strip, counts in zip(waiting, counted, strict=True):
                for dim, part in strip.search.parts.items():
                    part.append(counts[dim])
        self._waiting.clear()
        self._waiting_bytes = 0


def _curves(search: _Search) -> list[Curve]:
    return [
        _curve(search, score, _joined(search.parts[dim]))
        for dim, score in search.scores_by_dim.items()
    ]


def _joined(parts: Sequence[DistractorCounts]) -> DistractorCounts:
    """The counts of neighbouring strips of queries as one."""
    better = np.concatenate([part.better for part in parts])
    tied = np.concatenate([part.tied for part in parts])
    return DistractorCounts(better, tied, parts[0].total)


def _curve(search: _Search, score: Scores, counts: DistractorCounts) -> Curve:
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
