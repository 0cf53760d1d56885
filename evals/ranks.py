"""Ranks of the relevant documents, exact and in bounded memory: what every retrieval metric is made from.

Shapes: q queries, n documents or rows, d dimensions, pairs of a query and a document relevant to it; c queries and
b documents of a block.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int64

DEPTH = 10  # of nDCG
# On a grid of 2^-40 every sum of discounts is exact, so a perfect ranking scores 1.0 and not 0.9999999999999999.
DISCOUNT = np.round(2.0**40 / np.log2(np.arange(2, DEPTH + 2))) / 2.0**40
GAIN = np.concatenate([[0.0], np.cumsum(DISCOUNT)])

TIE = 1e-12  # float64 scores this close, as a share of the rows' norms, are one score: rounding is 1e-14 at most
DOC_BLOCK = 2048  # documents scored at once: the block of scores stays in the cache while it is counted
ROW_BLOCK = 512  # rows widened to float64 at once
DENSE_SHARE = 1 / 32  # a pair that is gathered costs about as much as 32 pairs of a float64 matmul


@dataclass(frozen=True)
class Relevant:
    """The documents relevant to each query, one or more: those of query i are `docs[indptr[i]:indptr[i + 1]]`."""

    indptr: Int[np.ndarray, "bounds"]
    docs: Int[np.ndarray, "pairs"]

    def __post_init__(self) -> None:
        if len(self.indptr) == 0 or self.indptr[0] != 0 or self.indptr[-1] != len(self.docs):
            raise ValueError(f"indptr must run from 0 to the {len(self.docs)} relevant documents")
        if (empty := np.flatnonzero(self.counts < 1)).size:
            raise ValueError(f"query {empty[0]} has no relevant document")
        order = np.lexsort((self.docs, self.queries))
        queries, docs = self.queries[order], self.docs[order]
        if (twice := np.flatnonzero((np.diff(queries) == 0) & (np.diff(docs) == 0))).size:
            raise ValueError(f"query {queries[twice[0]]} has document {docs[twice[0]]} twice")

    @property
    def counts(self) -> Int64[np.ndarray, "q"]:
        """How many documents are relevant to each query."""
        return np.diff(self.indptr).astype(np.int64)

    @property
    def queries(self) -> Int64[np.ndarray, "pairs"]:
        """The query of each pair; the pairs are in the order of the queries."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @staticmethod
    def one_of(image_of_text: Int[np.ndarray, "texts"]) -> "Relevant":
        """Texts are the queries: each has the one image that it describes."""
        return Relevant(np.arange(len(image_of_text) + 1), image_of_text)

    @staticmethod
    def inverse(image_of_text: Int[np.ndarray, "texts"], n_images: int) -> "Relevant":
        """Images are the queries: each has all of its texts. Raises ValueError for an image without text."""
        counts = np.bincount(image_of_text, minlength=n_images)
        if len(counts) > n_images:
            raise ValueError(f"a text describes image {len(counts) - 1}, but there are {n_images} images")
        if (empty := np.flatnonzero(counts == 0)).size:
            raise ValueError(f"image {empty[0]} has no text")
        return Relevant(np.concatenate([[0], np.cumsum(counts)]), np.argsort(image_of_text, kind="stable"))


@dataclass(frozen=True)
class Ranks:
    """Where the best relevant document of each query stands among the irrelevant ones.

    `better` irrelevant documents score strictly higher; `tied` irrelevant and `tied_relevant` relevant ones (itself
    included, so at least 1) have its score. `score` is that score. `ndcg10` is the expected nDCG@10, all relevant
    documents counted, with binary gains and equal scores in random order.
    """

    better: Int64[np.ndarray, "q"]
    tied: Int64[np.ndarray, "q"]
    tied_relevant: Int64[np.ndarray, "q"]
    score: Float32[np.ndarray, "q"]
    ndcg10: Float64[np.ndarray, "q"]

    def __len__(self) -> int:
        return len(self.better)


def ranks(
    queries: Float32[np.ndarray, "q d"],
    docs: Float32[np.ndarray, "n d"],
    relevant: Relevant,
    *,
    chunk: int = 1024,
    device: str = "cpu",
) -> Ranks:
    """Rank the relevant documents of every query by dot product, `chunk` queries at a time; never all scores at once.

    A function of the rows alone: chunk, threads and the order of the items change no bit. A matmul kernel gives equal
    rows scores that differ in the last bits with their place in the block, so float32 scores compared with each
    other would break ties by position. Here they decide only what no rounding can change: a score nearer to the
    threshold than the worst-case error of a float32 dot product is a close call, and is decided in float64.
    Raises ValueError for NaN, infinity, a chunk below 1, or relevant documents that do not fit.
    """
    if chunk < 1:
        raise ValueError(f"cannot take {chunk} queries at a time")
    if len(relevant.counts) != len(queries) or not np.all((relevant.docs >= 0) & (relevant.docs < len(docs))):
        raise ValueError(f"the relevant documents do not fit {len(queries)} queries and {len(docs)} documents")
    reach = _norms(queries, "query") * _norms(docs, "document").max(initial=0.0)
    levels = _levels(_dots(queries, docs, relevant.queries, relevant.docs), relevant, TIE * reach)
    close = (queries.shape[1] + 8) * 2.0**-24 * reach  # d u |q||d| bounds the error, in any order of summation
    for block in _blocks(queries, docs, relevant, chunk, device):
        _add_counts(block, levels, close[block.rows], TIE * reach[block.rows])
    return Ranks(
        better=levels.better[:, 0],
        tied=levels.tied[:, 0],
        tied_relevant=levels.relevant[:, 0],
        score=levels.score[:, 0].astype(np.float32),
        ndcg10=_ndcg(levels, relevant.counts),
    )


class _Levels(NamedTuple):
    """The distinct scores of each query's relevant documents, best first, and what stands above and beside each.

    A column is a place among the query's relevant documents; `head` marks the first of each group of equal scores,
    and only there do the counts mean anything. Places after the tenth cannot enter nDCG@10.
    """

    head: Bool[np.ndarray, "q places"]
    score: Float64[np.ndarray, "q places"]
    relevant: Int64[np.ndarray, "q places"]
    better: Int64[np.ndarray, "q places"]
    tied: Int64[np.ndarray, "q places"]


def _levels(scores: Float64[np.ndarray, "pairs"], relevant: Relevant, tie: Float64[np.ndarray, "q"]) -> _Levels:
    counts, queries = relevant.counts, relevant.queries
    own = np.full((len(counts), counts.max(initial=1)), -np.inf)
    own[queries, np.arange(len(queries)) - relevant.indptr[queries]] = scores
    own = -np.sort(-own, axis=1)
    places = min(own.shape[1], DEPTH)
    head = np.isfinite(own[:, :places])
    size = np.zeros(head.shape, dtype=np.int64)
    last = np.full(len(counts), np.inf)  # the level that the place before belongs to
    for place in range(places):
        head[:, place] &= own[:, place] < last - tie
        last = np.where(head[:, place], own[:, place], last)
        size[:, place] = ((own >= (last - tie)[:, None]) & (own <= last[:, None])).sum(axis=1)
    return _Levels(head, own[:, :places], size, np.zeros_like(size), np.zeros_like(size))


def _ndcg(levels: _Levels, n_relevant: Int64[np.ndarray, "q"]) -> Float64[np.ndarray, "q"]:
    """A relevant document gains the mean discount of the positions that its group of equal scores takes up."""
    # a level that was given up has stale counts, but then one before it has ten documents above
    above = np.maximum.accumulate(levels.better, axis=1) + np.arange(levels.better.shape[1])
    group = np.maximum(levels.tied + levels.relevant, 1)
    discounts = GAIN[np.minimum(above + group, DEPTH)] - GAIN[np.minimum(above, DEPTH)]
    dcg = np.where(levels.head, levels.relevant * discounts / group, 0.0).sum(axis=1)
    ndcg: np.ndarray = dcg / GAIN[np.minimum(n_relevant, DEPTH)]
    return ndcg


class _Block(NamedTuple):
    """The float32 scores of some queries against some documents; own relevant documents score minus infinity."""

    rows: slice  # of the queries
    queries: Float32[np.ndarray, "c d"]
    docs: Float32[np.ndarray, "b d"]
    scores: Float32[np.ndarray, "c b"]


def _blocks(queries: np.ndarray, docs: np.ndarray, relevant: Relevant, chunk: int, device: str) -> Iterator[_Block]:
    """Score block by block, in memory that every block uses again. The device multiplies; the host compares.

    Each of torch's small operations waits for all threads, and on a busy machine that takes longer than the work.
    """
    import torch

    q, d = (torch.from_numpy(np.require(x, requirements=["C", "W"])).to(device) for x in (queries, docs))
    memory = torch.empty(min(chunk, len(queries)) * min(DOC_BLOCK, len(docs)), device=device)
    for start in range(0, len(queries), chunk):
        rows = slice(start, min(start + chunk, len(queries)))
        pairs = slice(relevant.indptr[rows.start], relevant.indptr[rows.stop])
        own_query, own_doc = relevant.queries[pairs] - start, relevant.docs[pairs]
        for first in range(0, len(docs), DOC_BLOCK):
            cols = slice(first, min(first + DOC_BLOCK, len(docs)))
            shape = rows.stop - rows.start, cols.stop - cols.start
            with _full_float32():
                scores = torch.mm(q[rows], d[cols].T, out=memory[: math.prod(shape)].view(shape)).cpu().numpy()
            inside = (own_doc >= cols.start) & (own_doc < cols.stop)
            scores[own_query[inside], own_doc[inside] - first] = -np.inf
            yield _Block(rows, queries[rows], docs[cols], scores)


def _add_counts(block: _Block, levels: _Levels, close: Float64[np.ndarray, "c"], tie: Float64[np.ndarray, "c"]) -> None:
    """Count the block's documents above and beside the levels of its queries."""
    head, score, better, tied = (x[block.rows] for x in (levels.head, levels.score, levels.better, levels.tied))
    peaks = block.scores.max(axis=1)  # most queries have nothing near their levels in most blocks
    for place in range(head.shape[1]):
        wanted = head[:, place] & (peaks >= (score[:, place] - close).astype(np.float32))
        if place > 0:  # a level with ten documents above it adds nothing to nDCG@10; counts so far are lower bounds
            wanted &= better[:, : place + 1].max(axis=1) + place < DEPTH
        at = np.flatnonzero(wanted)
        if at.size:
            counts = _count(block, at, score[at, place], close[at], tie[at])
            better[at, place] += counts.above
            tied[at, place] += counts.beside


class _Counts(NamedTuple):
    above: Int64[np.ndarray, "c"]
    beside: Int64[np.ndarray, "c"]


def _count(block: _Block, at: np.ndarray, score: np.ndarray, close: np.ndarray, tie: np.ndarray) -> _Counts:
    """How many documents of the block score above `score`, and how many tie with it, for each of its queries `at`."""
    scores = block.scores[at] if len(at) < len(block.scores) else block.scores
    low = scores >= (score - close).astype(np.float32)[:, None]
    high = scores > (score + close).astype(np.float32)[:, None]
    at_least, above = _row_sums(low), _row_sums(high)
    n_close = int((at_least - above).sum())
    if n_close > DENSE_SHARE * scores.size:
        exact = block.queries[at].astype(np.float64) @ block.docs.astype(np.float64).T
        exact[np.isneginf(scores)] = -np.inf
        at_least, above = _row_sums(exact >= (score - tie)[:, None]), _row_sums(exact > (score + tie)[:, None])
    elif n_close > 0:
        some = np.flatnonzero(at_least != above)
        row, doc = np.nonzero(low[some] & ~high[some])
        row = some[row]
        difference = _dots(block.queries, block.docs, at[row], doc) - score[row]
        at_least = above + np.bincount(row[difference >= -tie[row]], minlength=len(at))
        above = above + np.bincount(row[difference > tie[row]], minlength=len(at))
    return _Counts(above, at_least - above)


def _row_sums(mask: Bool[np.ndarray, "c b"]) -> Int64[np.ndarray, "c"]:
    """How many of each row are true; bytes are summed faster than bool."""
    sums: np.ndarray = mask.view(np.uint8).sum(axis=1, dtype=np.int32)
    return sums.astype(np.int64)


def _dots(queries: np.ndarray, docs: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> Float64[np.ndarray, "pairs"]:
    """Float64 dot products of pairs of float32 rows."""
    out = np.empty(len(rows))
    for start in range(0, len(rows), ROW_BLOCK):
        part = slice(start, start + ROW_BLOCK)
        out[part] = (queries[rows[part]].astype(np.float64) * docs[cols[part]]).sum(axis=1)
    return out


def _norms(rows: Float32[np.ndarray, "n d"], name: str) -> Float64[np.ndarray, "n"]:
    every = np.arange(len(rows))
    norms: np.ndarray = np.sqrt(_dots(rows, rows, every, every))
    if (bad := np.flatnonzero(~np.isfinite(norms))).size:
        raise ValueError(f"{name} {bad[0]} holds NaN or infinity")
    return norms


@contextmanager
def _full_float32() -> Iterator[None]:
    """Matmuls without TF32 or bfloat16, whatever the process has set: the bound on close calls assumes float32."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
