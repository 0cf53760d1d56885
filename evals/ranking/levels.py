"""Counts around the scores of each query's relevant documents, exactly: a close call is decided in float64.

Shapes: q queries, d dimensions, c queries and b documents of a block, pairs of a query and a document.
"""

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from evals.embeddings.threads import row_blocks

if TYPE_CHECKING:
    import torch

DEPTH = 10  # of nDCG: places after the tenth add nothing to it
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


def add_groups(
    step: Step,
    sums: "torch.Tensor | None",
    more: "torch.Tensor",
    rows: slice,
    cols: slice,
    lock: Lock,
) -> "torch.Tensor":
    """Count at a step, of the few groups of documents that hold anything near a level: what suits an accelerator."""
    sums = more if sums is None else sums.add_(more)
    scores, queries, docs = (
        _scaled(step, sums[:, : cols.stop - cols.start], rows, cols),
        step.queries[rows],
        step.docs[cols],
    )
    _add_groups(Block(rows, queries, docs, scores), step.by_row, lock)
    if step.by_col is not None:
        _add_groups(Block(cols, docs, queries, scores.T), step.by_col, lock)
    return sums


def _scaled(step: Step, sums: "torch.Tensor", rows: slice, cols: slice) -> "torch.Tensor":
    """The sums of a block as scores."""
    if step.scales is None:
        return sums
    of_queries, of_docs = step.scales
    return (sums * on(sums.device, of_docs[cols])).mul_(on(sums.device, of_queries[rows])[:, None])


def _add_groups(block: Block, search: Search, lock: Lock) -> None:
    levels = search.levels
    score, close, tie = levels.score[block.rows], search.close[block.rows], search.tie[block.rows]
    low = np.where(
        asked(search, block.rows), (score - close[:, None]).astype(np.float32), np.float32(np.inf)
    )
    for part in block.grouped():
        at, place, group = np.nonzero(_peaks(part.scores)[:, None, :] >= low[:, :, None])
        if at.size:
            counts = count_exactly(part, at, group, score[at, place], close[at], tie[at])
            with lock:  # other threads count other documents for the same queries
                np.add.at(levels.better[block.rows], (at, place), counts.above)
                np.add.at(levels.tied[block.rows], (at, place), counts.beside)


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
    scores = block.scores[on(device, at), on(device, group)]
    low = scores >= on(device, (score - close).astype(np.float32)[:, None])
    high = scores > on(device, (score + close).astype(np.float32)[:, None])
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
        rows = on(device, some)
        row, doc = (low[rows] & ~high[rows]).nonzero().cpu().numpy().T
        row = some[row]
        difference = dots(block.queries, block.docs, at[row], group[row] * size + doc) - score[row]
        at_least = above + np.bincount(row[difference >= -tie[row]], minlength=len(at))
        above = above + np.bincount(row[difference > tie[row]], minlength=len(at))
    return Counts(above, at_least - above)


def _peaks(scores: "torch.Tensor") -> Float32[np.ndarray, "c groups"]:
    """The best score of each group. Torch is 30 times slower where the innermost dimension of memory is the first."""
    inner_first = scores.stride(0) == 1
    peaks = scores.permute(1, 2, 0).amax(dim=1).T if inner_first else scores.amax(dim=2)
    best: np.ndarray = peaks.cpu().numpy()
    return best


def _row_sums(mask: "torch.Tensor") -> Int64[np.ndarray, "c"]:
    """How many of each row are true; bytes are summed faster than bool."""
    import torch

    sums: np.ndarray = mask.view(torch.uint8).sum(dim=1, dtype=torch.int32).cpu().numpy()
    return sums.astype(np.int64)


def on(device: "str | torch.device", values: np.ndarray) -> "torch.Tensor":
    """The same values as a tensor on the device; torch takes no read-only memory."""
    import torch

    return torch.from_numpy(np.require(values, requirements=["C", "W"])).to(device)


def dots(
    queries: np.ndarray, docs: np.ndarray, rows: np.ndarray, cols: np.ndarray
) -> Float64[np.ndarray, "pairs"]:
    """Float64 dot products of pairs of float32 rows."""
    out = np.empty(len(rows))
    for part in row_blocks(len(rows), queries.shape[1]):
        products = queries[rows[part]].astype(np.float64)
        products *= docs[cols[part]]
        out[part] = products.sum(axis=1)
    return out
