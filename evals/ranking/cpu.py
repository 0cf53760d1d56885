"""Counting on a CPU: a compiled loop looks at every score once, while it is in the cache (compiled.py).

`python -m benchmarks.recall`: products, ranks in both directions, metrics and intervals take 1.26
times as long as the bare product of 5,000 x 25,000 rows (benchmarks/results/recall-cpu.json).

Shapes: c queries and b documents of a block, n of either, p and r places.
"""

from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32

from evals.ranking.compiled import count_levels, find_close
from evals.ranking.levels import (
    DENSE_SHARE,
    Block,
    Comparisons,
    Counts,
    Step,
    Tally,
    count_close_pairs,
    count_exactly,
    needed_levels,
)
from evals.ranking.products import as_tensor
from evals.ranking.shapes import BlockDocs, BlockQueries

if TYPE_CHECKING:
    import torch


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
    scored = _Scored(total, query_scales, doc_scales, query_rows, doc_rows)
    _add_counts(step.query_tally, queries, query_levels, scored, lock, by_query=True)
    if step.doc_tally is not None:
        _add_counts(step.doc_tally, docs, doc_levels, scored, lock, by_query=False)
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
    """The sums of a block, and the rows and scales that belong to them."""

    sums: "torch.Tensor"  # c b, and columns beyond
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
    tally: Tally,
    part: slice,
    pass_levels: _PassLevels,
    scored: _Scored,
    lock: Lock,
    *,
    by_query: bool,
) -> None:
    """Add the counts that are sure, and the exact counts of the levels that have a close call.

    The levels are those of the queries, or of the documents of the block.
    """
    at_least, above = pass_levels.counts[0].T, pass_levels.counts[1].T
    # no score lies between `low` and `high`: none is a close call
    is_sure = at_least == above
    levels = tally.levels
    with lock:
        levels.better[part] += np.where(is_sure, above, 0)
    row, place = np.nonzero(pass_levels.needed & ~is_sure)
    if row.size == 0:
        return
    comparisons = Comparisons(
        query=row,
        group=np.zeros_like(row),  # all documents of the block are one group
        level=levels.score[part][row, place],
        close_margin=tally.close_margin[part][row],
        tie_margin=tally.tie_margin[part][row],
    )
    n_close = at_least[row, place] - above[row, place]
    n_others = len(scored.docs) if by_query else len(scored.queries)
    if n_close.sum() > DENSE_SHARE * row.size * n_others:
        counts = _count_all(scored, comparisons, by_query=by_query)
    else:
        counts = _count_close(
            scored,
            comparisons,
            pass_levels.low.T[row, place],
            pass_levels.high.T[row, place],
            above[row, place],
            n_close,
            by_query=by_query,
        )
    with lock:
        np.add.at(levels.better[part], (row, place), counts.better)
        np.add.at(levels.tied[part], (row, place), counts.tied)


def _count_close(
    scored: _Scored,
    comparisons: Comparisons,
    low: Float32[np.ndarray, "m"],
    high: Float32[np.ndarray, "m"],
    above: Int32[np.ndarray, "m"],
    n_close: Int32[np.ndarray, "m"],
    *,
    by_query: bool,
) -> Counts:
    """What is surely above, and the close calls by their float64 scores."""
    ends = np.cumsum(n_close)
    others = np.empty(ends[-1], dtype=np.int64)
    find_close(
        scored.sums.numpy(),
        scored.query_scales,
        scored.doc_scales,
        comparisons.query,
        low,
        high,
        ends - n_close,
        others,
        by_query,
    )
    comparison = np.repeat(np.arange(len(ends)), n_close)
    sides = _sides(scored, by_query=by_query)
    # as int64, which they are added to
    surely_above = above.astype(np.int64)
    return count_close_pairs(
        sides.counted, sides.compared, comparisons, surely_above, comparison, others
    )


def _count_all(scored: _Scored, comparisons: Comparisons, *, by_query: bool) -> Counts:
    """With many close calls: of all pairs of the rows that have one."""
    rows, row_of_query = np.unique(comparisons.query, return_inverse=True)
    sums = scored.sums[:, : len(scored.docs)]
    sums = sums if by_query else sums.T
    sides = _sides(scored, by_query=by_query)
    scores = sums[as_tensor(rows)] * as_tensor(sides.compared_scales)
    scores.mul_(as_tensor(sides.counted_scales[rows])[:, None])
    block = Block(sides.counted[rows], sides.compared, scores[:, None])
    return count_exactly(block, comparisons._replace(query=row_of_query))


class _Sides(NamedTuple):
    """The rows and scales whose levels are counted, and those that are compared with them."""

    counted: np.ndarray
    counted_scales: np.ndarray
    compared: np.ndarray
    compared_scales: np.ndarray


def _sides(scored: _Scored, *, by_query: bool) -> _Sides:
    queries, docs = scored.queries, scored.docs
    if by_query:
        return _Sides(queries, scored.query_scales, docs, scored.doc_scales)
    return _Sides(docs, scored.doc_scales, queries, scored.query_scales)
