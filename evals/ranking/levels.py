"""Counts around the scores of each query's relevant documents, exactly: a close call is decided in float64.

Shapes: q queries, d dimensions, c queries and b documents of a block, pairs of a query and a document.
"""

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from evals.ranking.definition import DEPTH
from evals.ranking.products import as_tensor, pair_scores

if TYPE_CHECKING:
    import torch

GROUP = 64  # documents that are counted, or not, together
DENSE_SHARE = 1 / 32  # a pair that is gathered costs about as much as 32 pairs of a float64 matmul


class Levels(NamedTuple):
    """The distinct scores of each query's relevant documents, best first, and what stands above and beside each.

    A column is a place among the query's relevant documents; `head` marks the first of each group of equal scores,
    and only there do the counts mean anything. Places after the tenth cannot enter nDCG@10.
    """

    head: Bool[np.ndarray, "q places"]
    score: Float64[np.ndarray, "q places"]
    relevant: Int64[np.ndarray, "q places"]
    better: Int64[np.ndarray, "q places"]
    tied: Int64[np.ndarray, "q places"]


class Search(NamedTuple):
    """What a direction asks of the scores of its queries, and has counted so far."""

    levels: Levels
    close: Float64[np.ndarray, "q"]  # float32 scores this near to a level are decided in float64
    tie: Float64[np.ndarray, "q"]  # float64 scores this near to a level are on it


class Step(NamedTuple):
    """Rows whose scores are counted, and what is asked of them: `by_row` for the queries, `by_col` for the documents.

    `left` and `right` are multiplied, and added to the products of the steps before. With `scales` (of the queries, of the
    documents) the sums become the scores of `queries` and `docs`, to within what each search counts as close.
    """

    queries: Float32[np.ndarray, "q d"]
    docs: Float32[np.ndarray, "n d"]
    by_row: Search
    by_col: Search | None
    left: Float32[np.ndarray, "q e"]
    right: Float32[np.ndarray, "n e"]
    scales: tuple[Float32[np.ndarray, "q"], Float32[np.ndarray, "n"]] | None = None


# Adds more products to the sums of a block (slices of queries and of documents), and its counts to those of a step, which the
# lock guards; the sums are None at first, and may have columns beyond the documents.
Add: TypeAlias = (
    'Callable[[Step, "torch.Tensor | None", "torch.Tensor", slice, slice, Lock], torch.Tensor]'
)


def places_above(better: Int64[np.ndarray, "q places"]) -> Int64[np.ndarray, "q places"]:
    """The documents above each place at least: the irrelevant ones, and the relevant ones of the places before."""
    above: np.ndarray = np.maximum.accumulate(better, axis=1) + np.arange(better.shape[1])
    return above


class Block(NamedTuple):
    """The float32 scores of some queries against some documents; own relevant documents score minus infinity."""

    rows: slice  # of the queries
    queries: Float32[np.ndarray, "c d"]
    docs: Float32[np.ndarray, "b d"]
    scores: "torch.Tensor"  # c b, on the device; or c groups size

    def grouped(self) -> "list[Block]":
        """The same scores as `c groups size`; documents that fill no group are a block of their own."""
        whole = len(self.docs) - len(self.docs) % GROUP
        parts = ((slice(0, whole), GROUP), (slice(whole, len(self.docs)), len(self.docs) - whole))
        return [
            self._replace(
                docs=self.docs[part], scores=self.scores[:, part].unflatten(1, (-1, size))
            )
            for part, size in parts
            if size
        ]


def asked(search: Search, rows: slice) -> Bool[np.ndarray, "c places"]:
    """The levels of these queries whose counts matter: one with ten documents above it adds nothing to nDCG@10."""
    head = search.levels.head[rows].copy()
    head[:, 1:] &= (
        places_above(search.levels.better[rows])[:, 1:] < DEPTH
    )  # counts so far are lower bounds
    return head


class Counts(NamedTuple):
    above: Int64[np.ndarray, "c"]
    beside: Int64[np.ndarray, "c"]


def count_exactly(
    block: Block,
    at: np.ndarray,
    group: np.ndarray,
    score: np.ndarray,
    close: np.ndarray,
    tie: np.ndarray,
) -> Counts:
    """How many documents of a `group` score above `score`, and how many tie with it, for each of the queries `at`."""
    device, size = block.scores.device, block.scores.shape[2]
    scores = block.scores[as_tensor(device, at), as_tensor(device, group)]
    low = scores >= as_tensor(device, (score - close).astype(np.float32)[:, None])
    high = scores > as_tensor(device, (score + close).astype(np.float32)[:, None])
    at_least, above = _row_sums(low), _row_sums(high)
    n_close = int((at_least - above).sum())
    if n_close > DENSE_SHARE * scores.numel():
        exact = np.empty(scores.shape)
        for g in np.unique(group):
            own = group == g
            exact[own] = (
                block.queries[at[own]].astype(np.float64)
                @ block.docs[g * size :][:size].astype(np.float64).T
            )
        exact[scores.isneginf().cpu().numpy()] = -np.inf
        at_least, above = (
            (exact >= (score - tie)[:, None]).sum(axis=1),
            (exact > (score + tie)[:, None]).sum(axis=1),
        )
    elif n_close > 0:
        some = np.flatnonzero(at_least != above)
        rows = as_tensor(device, some)
        row, doc = (low[rows] & ~high[rows]).nonzero().cpu().numpy().T
        row = some[row]
        difference = (
            pair_scores(block.queries, block.docs, at[row], group[row] * size + doc) - score[row]
        )
        at_least = above + np.bincount(row[difference >= -tie[row]], minlength=len(at))
        above = above + np.bincount(row[difference > tie[row]], minlength=len(at))
    return Counts(above, at_least - above)


def _row_sums(mask: "torch.Tensor") -> Int64[np.ndarray, "c"]:
    """How many of each row are true; bytes are summed faster than bool."""
    import torch

    sums: np.ndarray = mask.view(torch.uint8).sum(dim=1, dtype=torch.int32).cpu().numpy()
    return sums.astype(np.int64)
