"""What the engine counts, and the float64 comparison that settles what float32 cannot.

A level is one of the distinct scores of a query's relevant documents; the package docstring draws
them. Nearly every document is so far from every level that its float32 score says on which side it
is. The others are close calls, and their scores are computed again in float64 from the same rows.
So no matmul kernel, block or thread changes a count.

Shapes: q queries, n documents, d dimensions, e dimensions of a step, c queries and b documents of a
block, m comparisons.
"""

from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int64

from evals.ranking.definition import DEPTH
from evals.ranking.products import as_tensor, pair_scores
from evals.ranking.shapes import (
    BlockDocs,
    BlockMask,
    BlockQueries,
    Comparison,
    ComparisonCounts,
    ComparisonFloats,
    DocRows,
    LevelCounts,
    LevelFloats,
    LevelMask,
    Pairs,
    QueryFloats,
    QueryRows,
)

if TYPE_CHECKING:
    import torch

DENSE_SHARE = 1 / 32  # a pair that is gathered costs about as much as 32 pairs of a float64 matmul


class Levels(NamedTuple):
    """The levels of each query, best first, and how many documents were counted around them so far.

    A column is a place among the query's relevant documents. `is_level` marks the first of each
    group of equal scores, and only there do the other fields mean anything. For `Ranks` the places
    after the tenth are left out: they cannot enter nDCG@10.
    """

    is_level: LevelMask
    score: LevelFloats
    relevant: LevelCounts  # relevant documents on the level
    better: LevelCounts  # irrelevant documents above it
    tied: LevelCounts  # irrelevant documents on it


class Tally(NamedTuple):
    """The levels of one direction, and how near to one a score is a close call, or a tie.

    Levels after the first are counted until `depth` documents are above them.
    """

    levels: Levels
    close_margin: QueryFloats  # of float32 scores: the bound of their error
    tie_margin: QueryFloats  # of float64 scores
    depth: int = DEPTH


class Scales(NamedTuple):
    """Factors that turn the products of cut rows into the scores of unit rows."""

    queries: Float32[np.ndarray, "q"]
    docs: Float32[np.ndarray, "n"]


class Step(NamedTuple):
    """One dimension to count at: rows, the products that lead to their scores, and what is counted.

    The products of `query_part` and `doc_part` are added to those of the steps before. Multiplied
    by `scales`, if there are any, the sums are the scores of `queries` and `docs`, to within the
    close margins of both tallies. A run of one dimension is one step, whose parts are the rows.
    Without `doc_tally` only one direction is counted.
    """

    queries: QueryRows
    docs: DocRows
    query_tally: Tally
    doc_tally: Tally | None
    query_part: Float32[np.ndarray, "q e"]
    doc_part: Float32[np.ndarray, "n e"]
    scales: Scales | None = None


@runtime_checkable
class Count(Protocol):
    """The signature of all ways to count a block (cpu.py, cuda.py and accelerator.py)."""

    def __call__(
        self,
        step: Step,
        sums: "torch.Tensor | None",
        products: "torch.Tensor",
        queries: slice,
        docs: slice,
        lock: Lock,
    ) -> "torch.Tensor":
        """Add the products of a block to its sums, count for both tallies, and return the sums.

        `sums` is None at the first step. Both tensors may have columns beyond the documents. The
        lock guards the tallies: other threads count other documents for the same queries.
        """


class Block(NamedTuple):
    """Float32 scores of queries and equal groups of documents; relevant documents score -inf."""

    queries: BlockQueries
    docs: BlockDocs
    scores: "torch.Tensor"  # c groups size, on the device


class Comparisons(NamedTuple):
    """Levels of the queries of a block, each to be compared with one group of documents."""

    query: Comparison
    group: Comparison
    level: ComparisonFloats
    close_margin: ComparisonFloats
    tie_margin: ComparisonFloats


class Counts(NamedTuple):
    """How many documents of each comparison stand above the level, and on it."""

    better: ComparisonCounts
    tied: ComparisonCounts


def docs_above(better: LevelCounts) -> LevelCounts:
    """The documents above each place at least: irrelevant ones, and the relevant ones before it."""
    above: np.ndarray = np.maximum.accumulate(better, axis=1) + np.arange(better.shape[1])
    return above


def needed_levels(tally: Tally, queries: slice) -> BlockMask:
    """The levels of these queries whose counts can still change a metric."""
    needed = tally.levels.is_level[queries].copy()
    # the first level is the rank itself; ten documents above any other leave it nothing to add to
    # nDCG@10, and counts only grow
    needed[:, 1:] &= docs_above(tally.levels.better[queries])[:, 1:] < tally.depth
    return needed


def count_exactly(block: Block, comparisons: Comparisons) -> Counts:
    """Count by the float32 scores of a block where they are sure, by float64 scores elsewhere."""
    device = block.scores.device
    query = as_tensor(comparisons.query, device)
    group = as_tensor(comparisons.group, device)
    scores = block.scores[query, group]
    # Scores are float32: compared with a float64 limit each would be widened first.
    low = (comparisons.level - comparisons.close_margin).astype(np.float32)
    high = (comparisons.level + comparisons.close_margin).astype(np.float32)
    at_least = scores >= as_tensor(low[:, None], device)
    above = scores > as_tensor(high[:, None], device)
    n_at_least, n_above = _row_sums(at_least), _row_sums(above)
    n_close = int((n_at_least - n_above).sum())
    if n_close == 0:
        return Counts(n_above, np.zeros_like(n_above))
    # Many close calls: constant rows, or binary ones, whose scores are few whole numbers.
    if n_close > DENSE_SHARE * scores.numel():
        return _count_all_pairs(block, comparisons, scores.isneginf().cpu().numpy())
    # only the comparisons that have a close call are searched for its documents
    rows = np.flatnonzero(n_at_least != n_above)
    rows_on_device = as_tensor(rows, device)
    is_close = at_least[rows_on_device] & ~above[rows_on_device]
    row, doc = is_close.nonzero().cpu().numpy().T
    docs = comparisons.group[rows[row]] * block.scores.shape[2] + doc
    return count_close_pairs(block.queries, block.docs, comparisons, n_above, rows[row], docs)


def _count_all_pairs(
    block: Block, comparisons: Comparisons, is_relevant: Bool[np.ndarray, "m size"]
) -> Counts:
    """By a float64 matmul per group: with many close calls that costs less than to gather them."""
    size = block.scores.shape[2]
    scores = np.empty(is_relevant.shape)
    for group in np.unique(comparisons.group):
        members = comparisons.group == group
        queries = block.queries[comparisons.query[members]].astype(np.float64)
        docs = block.docs[group * size :][:size].astype(np.float64)
        scores[members] = queries @ docs.T
    scores[is_relevant] = -np.inf
    level = comparisons.level[:, None]
    margin = comparisons.tie_margin[:, None]
    at_least = (scores >= level - margin).sum(axis=1)
    above = (scores > level + margin).sum(axis=1)
    return Counts(above, at_least - above)


def count_close_pairs(
    queries: BlockQueries,
    docs: BlockDocs,
    comparisons: Comparisons,
    n_above: ComparisonCounts,
    row: Pairs,
    doc: Pairs,
) -> Counts:
    """By the close pairs, documents `doc` of comparisons `row`, beside what is surely above."""
    n = len(n_above)
    scores = pair_scores(queries, docs, comparisons.query[row], doc)
    difference = scores - comparisons.level[row]
    margin = comparisons.tie_margin[row]
    at_least = n_above + np.bincount(row[difference >= -margin], minlength=n)
    above = n_above + np.bincount(row[difference > margin], minlength=n)
    return Counts(above, at_least - above)


def _row_sums(mask: "torch.Tensor") -> Int64[np.ndarray, "c"]:
    """How many of each row are true."""
    import torch

    # bytes are summed faster than bool
    sums: np.ndarray = mask.view(torch.uint8).sum(dim=1, dtype=torch.int32).cpu().numpy()
    return sums.astype(np.int64)
