"""Counting on a CPU: a loop compiled by numba looks at every score once, while it is in the cache.

Numpy would pass over the scores once for every level and every comparison; this pass does all
levels of queries and documents together, and adds the step's products on the way. `python -m
benchmarks.recall`: products, ranks in both directions, metrics and intervals take 1.26 times as
long as the bare product of 5,000 x 25,000 rows (benchmarks/results/recall-cpu.json).

Shapes: c queries and b documents of a block, n of either, p and r places.
"""

import inspect
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32
from numba import njit

from evals.ranking.levels import Block, Comparisons, Step, Tally, count_exactly, needed_levels
from evals.ranking.products import as_tensor
from evals.ranking.shapes import BlockDocs, BlockQueries

if TYPE_CHECKING:
    import torch

TILE = 512  # documents whose levels and counts stay in the fastest cache


def count(
    step: Step,
    sums: "torch.Tensor | None",
    products: "torch.Tensor",
    queries: slice,
    docs: slice,
    lock: Lock,
) -> "torch.Tensor":
    """Count at a step, see levels.Count: all levels in one pass, those with a close call again."""
    query_rows = step.queries[queries]
    doc_rows = step.docs[docs]
    # a step without scales is multiplied by 1, which changes no bit
    query_scales = np.ones(len(query_rows), dtype=np.float32)
    doc_scales = np.ones(len(doc_rows), dtype=np.float32)
    if step.scales is not None:
        query_scales = step.scales.queries[queries]
        doc_scales = step.scales.docs[docs]
    query_levels = _pass_levels(step.query_tally, queries, len(query_rows))
    doc_levels = _pass_levels(step.doc_tally, docs, len(doc_rows))
    # at the first step the products are the sums, and nothing is added
    total, added = (products, products[:0]) if sums is None else (sums, products)
    count_levels(
        total.numpy(),
        added.numpy(),
        query_scales,
        doc_scales,
        query_levels.low,
        query_levels.high,
        doc_levels.low,
        doc_levels.high,
        query_levels.counts,
        doc_levels.counts,
    )
    scores = total[:, : len(doc_rows)]
    forth = _Scored(scores, query_scales, doc_scales, query_rows, doc_rows)
    _add_counts(step.query_tally, queries, query_levels, forth, lock)
    if step.doc_tally is not None:
        back = _Scored(scores.T, doc_scales, query_scales, doc_rows, query_rows)
        _add_counts(step.doc_tally, docs, doc_levels, back, lock)
    return total


class _PassLevels(NamedTuple):
    """The levels of one side of a block as the compiled pass takes them, and what it counts.

    A score from `low` on may be on the level or above it; where that is infinity, the level is not
    needed. A score above `high` is surely above the level. `counts` are the scores that are at
    least `low`, and the scores above `high`.
    """

    needed: Bool[np.ndarray, "n places"]
    low: Float32[np.ndarray, "places n"]
    high: Float32[np.ndarray, "places n"]
    counts: Int32[np.ndarray, "2 places n"]


class _Scored(NamedTuple):
    """Sums of queries and documents, and the rows and scales that belong to them."""

    sums: "torch.Tensor"
    query_scales: Float32[np.ndarray, "c"]
    doc_scales: Float32[np.ndarray, "b"]
    queries: BlockQueries
    docs: BlockDocs


def _pass_levels(tally: Tally | None, part: slice, n: int) -> _PassLevels:
    """The levels of a part of the queries; without a tally there are none."""
    if tally is None:
        none_needed = np.zeros((n, 0), dtype=bool)
        empty = np.zeros((0, n), dtype=np.float32)
        counts = np.zeros((2, 0, n), dtype=np.int32)
        return _PassLevels(none_needed, empty, empty, counts)
    needed = needed_levels(tally, part)
    level = tally.levels.score[part]
    margin = tally.close_margin[part, None]
    low = np.where(needed, (level - margin).astype(np.float32), np.float32(np.inf))
    high = np.where(needed, (level + margin).astype(np.float32), np.float32(np.inf))
    # the pass reads the levels of one place for many documents in a row
    low, high = np.ascontiguousarray(low.T), np.ascontiguousarray(high.T)
    counts = np.zeros((2, *low.shape), dtype=np.int32)
    return _PassLevels(needed, low, high, counts)


def _add_counts(
    tally: Tally, part: slice, pass_levels: _PassLevels, scored: _Scored, lock: Lock
) -> None:
    """Add the counts that are sure, and the exact counts of the levels that have a close call."""
    at_least, above = pass_levels.counts[0].T, pass_levels.counts[1].T
    # no score lies between `low` and `high`: none is a close call
    is_sure = at_least == above
    levels = tally.levels
    with lock:
        levels.better[part] += np.where(is_sure, above, 0)
    query, place = np.nonzero(pass_levels.needed & ~is_sure)
    if query.size == 0:
        return
    rows, row_of_query = np.unique(query, return_inverse=True)
    scores = scored.sums[as_tensor(rows)] * as_tensor(scored.doc_scales)
    scores.mul_(as_tensor(scored.query_scales[rows])[:, None])
    # one group: all documents of the block
    block = Block(scored.queries[rows], scored.docs, scores[:, None])
    comparisons = Comparisons(
        query=row_of_query,
        group=np.zeros_like(query),
        level=levels.score[part][query, place],
        close_margin=tally.close_margin[part][query],
        tie_margin=tally.tie_margin[part][query],
    )
    counts = count_exactly(block, comparisons)
    with lock:
        np.add.at(levels.better[part], (query, place), counts.better)
        np.add.at(levels.tied[part], (query, place), counts.tied)


def _count_levels(
    sums: Float32[np.ndarray, "c filled"],
    products: Float32[np.ndarray, "_ filled"],
    query_scales: Float32[np.ndarray, "c"],
    doc_scales: Float32[np.ndarray, "b"],
    query_low: Float32[np.ndarray, "p c"],
    query_high: Float32[np.ndarray, "p c"],
    doc_low: Float32[np.ndarray, "r b"],
    doc_high: Float32[np.ndarray, "r b"],
    query_counts: Int32[np.ndarray, "2 p c"],
    doc_counts: Int32[np.ndarray, "2 r b"],
) -> None:
    """Add the products to the sums, then count the scores, which are the sums times both scales.

    `counts[0]` goes up by the scores of a query, or of a document, that are at least `low`, and
    `counts[1]` by those above `high`. Where `low` is infinity the level is not needed, and its
    counts stay.
    """
    n_queries, n_docs = len(query_scales), len(doc_scales)
    scores = np.empty(TILE, np.float32)
    for first in range(0, n_docs, TILE):
        last = min(first + TILE, n_docs)
        n = last - first
        tile_scales = doc_scales[first:last]
        for i in range(n_queries):
            tile_sums = sums[i, first:last]
            query_scale = query_scales[i]
            if len(products):
                tile_products = products[i, first:last]
                for j in range(n):
                    tile_sums[j] += tile_products[j]
            for j in range(n):
                scores[j] = tile_sums[j] * tile_scales[j] * query_scale
            lowest = np.float32(np.inf)
            for place in range(len(query_low)):
                lowest = min(lowest, query_low[place, i])
            # comparisons are summed without a branch, in 32 bits as the scores are:
            # LLVM makes vector instructions of such loops
            reached = np.int32(0)
            for j in range(n):
                reached += np.int32(scores[j] >= lowest)
            for place in range(len(query_low) if reached else 0):  # most queries reach none
                low = query_low[place, i]
                high = query_high[place, i]
                if low == np.inf:
                    continue
                at_least = np.int32(0)
                above = np.int32(0)
                for j in range(n):
                    at_least += np.int32(scores[j] >= low)
                    above += np.int32(scores[j] > high)
                query_counts[0, place, i] += at_least
                query_counts[1, place, i] += above
            # the same for the documents of the tile, each with its own level at a place
            for place in range(len(doc_low)):
                lows = doc_low[place, first:last]
                highs = doc_high[place, first:last]
                reached = np.int32(0)
                for j in range(n):
                    reached += np.int32(scores[j] >= lows[j])
                if reached == 0:
                    continue
                tile_at_least = doc_counts[0, place, first:last]
                tile_above = doc_counts[1, place, first:last]
                for j in range(n):
                    tile_at_least[j] += np.int32(scores[j] >= lows[j])
                    tile_above[j] += np.int32(scores[j] > highs[j])


def _compiled() -> Callable[..., None]:
    plain = inspect.unwrap(_count_levels)  # what checks shapes in tests cannot be compiled
    try:
        compiled: Callable[..., None] = njit(nogil=True, cache=True)(plain)
    except RuntimeError:  # no folder can be written to: every process compiles for itself
        compiled = njit(nogil=True)(plain)
    return compiled


count_levels = _compiled()
