"""Ranks of the relevant documents, exact and in bounded memory: what every retrieval metric is made from.

Shapes: q queries, n documents or rows, d dimensions, pairs of a query and a document relevant to it; c queries and
b documents of a block.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int64

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
DEPTH = 10  # of nDCG
# On a grid of 2^-40 every sum of discounts is exact, so a perfect ranking scores 1.0 and not 0.9999999999999999.
DISCOUNT = np.round(2.0**40 / np.log2(np.arange(2, DEPTH + 2))) / 2.0**40
GAIN = np.concatenate([[0.0], np.cumsum(DISCOUNT)])

TIE = 1e-12  # float64 scores this close, as a share of the rows' norms, are one score: rounding is 1e-14 at most
CHUNK = 512  # queries scored at once, by one thread
DOC_BLOCK = 2048  # documents scored at once: the block of scores stays in the cache while it is counted
DEVICE_BLOCK = 2**15  # the same on an accelerator, where starting an operation costs more than doing it
GROUP = 64  # documents that are counted, or not, together
ROW_BLOCK = 128  # rows widened to float64 at once, by one thread
FEW_PARTS = 8  # of rows: one thread does them before others have started
THREADS = 16  # at most: each holds a block of its own
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


class Both(NamedTuple):
    """Texts that look for their image, and images that look for their texts."""

    t2i: Ranks
    i2t: Ranks


def ranks(
    queries: Float32[np.ndarray, "q d"],
    docs: Float32[np.ndarray, "n d"],
    relevant: Relevant,
    *,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> Ranks:
    """Rank the relevant documents of every query by dot product, `chunk` queries at a time; never all scores at once.

    A function of the rows alone: chunk, threads and the order of the items change no bit. A matmul kernel gives equal
    rows scores that differ in the last bits with their place in the block, so float32 scores compared with each
    other would break ties by position. Here they decide only what no rounding can change: a score nearer to the
    threshold than the worst-case error of a float32 dot product is a close call, and is decided in float64.
    Raises ValueError for NaN, infinity, a chunk below 1, or relevant documents that do not fit.
    """
    _check(len(queries), len(docs), relevant, chunk)
    reach = _norms(queries, "query") * _norms(docs, "document").max(initial=0.0)
    scores = _own_scores(queries, docs, relevant)
    search = _search(scores, relevant, reach, queries.shape[1])
    _count_all(queries, docs, relevant, chunk=chunk, device=device, by_row=search)
    return _found(search, relevant)


def cross_ranks(
    images: Float32[np.ndarray, "n d"],
    texts: Float32[np.ndarray, "texts d"],
    image_of_text: Int[np.ndarray, "texts"],
    *,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> Both:
    """Both directions between images and texts, bit for bit as two calls of `ranks`, from one pass over the scores.

    `chunk` images are scored at a time. Raises ValueError as `ranks` does, and for an image without text.
    """
    t2i = Relevant.one_of(image_of_text)
    _check(len(texts), len(images), t2i, chunk)
    i2t = Relevant.inverse(image_of_text, len(images))
    reach, text_reach = _norms(images, "image"), _norms(texts, "text")
    scores = _own_scores(texts, images, t2i)
    width = images.shape[1]
    forth = _search(scores, t2i, text_reach * reach.max(initial=0.0), width)
    back = _search(scores[i2t.docs], i2t, reach * text_reach.max(initial=0.0), width)
    _count_all(images, texts, i2t, chunk=chunk, device=device, by_row=back, by_col=forth)
    return Both(_found(forth, t2i), _found(back, i2t))


def _check(n_queries: int, n_docs: int, relevant: Relevant, chunk: int) -> None:
    if chunk < 1:
        raise ValueError(f"cannot take {chunk} queries at a time")
    if len(relevant.counts) != n_queries or not np.all((relevant.docs >= 0) & (relevant.docs < n_docs)):
        raise ValueError(f"the relevant documents do not fit {n_queries} queries and {n_docs} documents")


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


class _Search(NamedTuple):
    """What a direction asks of the scores of its queries, and has counted so far."""

    levels: _Levels
    close: Float64[np.ndarray, "q"]  # float32 scores this near to a level are decided in float64
    tie: Float64[np.ndarray, "q"]  # float64 scores this near to a level are on it


def _search(scores: np.ndarray, relevant: Relevant, reach: Float64[np.ndarray, "q"], width: int) -> _Search:
    """`scores` are those of the relevant pairs; `reach` bounds a query's scores; `width` is that of the rows."""
    # d u |q||d| bounds the error, in any order of summation
    return _Search(_levels(scores, relevant, TIE * reach), close=(width + 8) * 2.0**-24 * reach, tie=TIE * reach)


def _found(search: _Search, relevant: Relevant) -> Ranks:
    levels = search.levels
    return Ranks(
        better=levels.better[:, 0],
        tied=levels.tied[:, 0],
        tied_relevant=levels.relevant[:, 0],
        score=levels.score[:, 0].astype(np.float32),
        ndcg10=_ndcg(levels, relevant.counts),
    )


def _ndcg(levels: _Levels, n_relevant: Int64[np.ndarray, "q"]) -> Float64[np.ndarray, "q"]:
    """A relevant document gains the mean discount of the positions that its group of equal scores takes up."""
    # a level that was given up has stale counts, but then one before it has ten documents above
    above = _above(levels.better)
    group = np.maximum(levels.tied + levels.relevant, 1)
    discounts = GAIN[np.minimum(above + group, DEPTH)] - GAIN[np.minimum(above, DEPTH)]
    dcg = np.where(levels.head, levels.relevant * discounts / group, 0.0).sum(axis=1)
    ndcg: np.ndarray = dcg / GAIN[np.minimum(n_relevant, DEPTH)]
    return ndcg


def _above(better: Int64[np.ndarray, "q places"]) -> Int64[np.ndarray, "q places"]:
    """The documents above each place at least: the irrelevant ones, and the relevant ones of the places before."""
    above: np.ndarray = np.maximum.accumulate(better, axis=1) + np.arange(better.shape[1])
    return above


class _Block(NamedTuple):
    """The float32 scores of some queries against some documents; own relevant documents score minus infinity.

    The documents stand in groups of equal size: few groups hold anything near a level, and only those are counted.
    """

    rows: slice  # of the queries
    queries: Float32[np.ndarray, "c d"]
    docs: Float32[np.ndarray, "b d"]
    scores: "torch.Tensor"  # c groups size, on the device


def _blocks(rows: slice, queries: np.ndarray, docs: np.ndarray, scores: "torch.Tensor") -> Iterator[_Block]:
    """The scores `c b` in groups of documents; those that fill no group are a block of their own."""
    whole = len(docs) - len(docs) % GROUP
    for part, size in ((slice(0, whole), GROUP), (slice(whole, len(docs)), len(docs) - whole)):
        if part.start < part.stop:
            yield _Block(rows, queries, docs[part], scores[:, part].unflatten(1, (-1, size)))


def _count_all(
    queries: np.ndarray,
    docs: np.ndarray,
    relevant: Relevant,
    *,
    chunk: int,
    device: str,
    by_row: _Search,
    by_col: _Search | None = None,
) -> None:
    """Score every query and document once, block by block, and count for the queries and, if asked, for the documents.

    Each thread takes `chunk` queries at a time and does all their work alone: kernels that are split among threads
    wait for the slowest of them after every block, and on a busy machine that takes longer than the work.
    """
    import torch

    q, d = (torch.from_numpy(np.require(x, requirements=["C", "W"])).to(device) for x in (queries, docs))
    on_host = q.device.type == "cpu"
    width = DOC_BLOCK if on_host else DEVICE_BLOCK
    own_queries, lock = relevant.queries, Lock()

    def strip(start: int) -> None:
        rows = slice(start, min(start + chunk, len(queries)))
        pairs = slice(relevant.indptr[rows.start], relevant.indptr[rows.stop])
        own_query, own_doc = own_queries[pairs] - start, relevant.docs[pairs]
        memory = torch.empty((rows.stop - rows.start) * min(width, len(docs)), device=device)
        for first in range(0, len(docs), width):
            cols = slice(first, min(first + width, len(docs)))
            shape = rows.stop - rows.start, cols.stop - cols.start
            scores = torch.mm(q[rows], d[cols].T, out=memory[: math.prod(shape)].view(shape))
            inside = (own_doc >= cols.start) & (own_doc < cols.stop)
            scores[_on(device, own_query[inside]), _on(device, own_doc[inside] - first)] = -math.inf
            for block in _blocks(rows, queries[rows], docs[cols], scores):
                _add_counts(block, by_row, lock)
            if by_col is not None:
                for block in _blocks(cols, docs[cols], queries[rows], scores.T):
                    _add_counts(block, by_col, lock)

    with _full_float32(), _one_thread_each() as threads:
        _in_threads(strip, range(0, len(queries), chunk), min(THREADS, threads) if on_host else 1)


def _add_counts(block: _Block, search: _Search, lock: Lock) -> None:
    """Count the block's documents above and beside the levels of its queries."""
    levels = search.levels
    head, score, better, tied = (x[block.rows] for x in (levels.head, levels.score, levels.better, levels.tied))
    close, tie = search.close[block.rows, None], search.tie[block.rows]
    near = np.where(head, (score - close).astype(np.float32), np.inf)
    # a level with ten documents above it adds nothing to nDCG@10; counts so far are lower bounds
    near[:, 1:][_above(better)[:, 1:] >= DEPTH] = np.inf
    at, place, group = np.nonzero(_peaks(block.scores)[:, None, :] >= near[:, :, None])
    if at.size:
        counts = _count(block, at, group, score[at, place], close[at, 0], tie[at])
        with lock:  # other threads count other documents for the same queries
            np.add.at(better, (at, place), counts.above)
            np.add.at(tied, (at, place), counts.beside)


class _Counts(NamedTuple):
    above: Int64[np.ndarray, "c"]
    beside: Int64[np.ndarray, "c"]


def _count(block: _Block, at: np.ndarray, group: np.ndarray, score: np.ndarray, close: np.ndarray, tie: np.ndarray) -> _Counts:
    """How many documents of a `group` score above `score`, and how many tie with it, for each of the queries `at`."""
    device, size = block.scores.device, block.scores.shape[2]
    scores = block.scores[_on(device, at), _on(device, group)]
    low = scores >= _on(device, (score - close).astype(np.float32)[:, None])
    high = scores > _on(device, (score + close).astype(np.float32)[:, None])
    at_least, above = _row_sums(low), _row_sums(high)
    n_close = int((at_least - above).sum())
    if n_close > DENSE_SHARE * scores.numel():
        exact = np.empty(scores.shape)
        for g in np.unique(group):
            own = group == g
            exact[own] = block.queries[at[own]].astype(np.float64) @ block.docs[g * size :][:size].astype(np.float64).T
        exact[scores.isneginf().cpu().numpy()] = -np.inf
        at_least, above = ((exact >= (score - tie)[:, None]).sum(axis=1), (exact > (score + tie)[:, None]).sum(axis=1))
    elif n_close > 0:
        some = np.flatnonzero(at_least != above)
        row, doc = (low & ~high)[_on(device, some)].nonzero().cpu().numpy().T
        row = some[row]
        difference = _dots(block.queries, block.docs, at[row], group[row] * size + doc) - score[row]
        at_least = above + np.bincount(row[difference >= -tie[row]], minlength=len(at))
        above = above + np.bincount(row[difference > tie[row]], minlength=len(at))
    return _Counts(above, at_least - above)


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


def _on(device: "str | torch.device", values: np.ndarray) -> "torch.Tensor":
    import torch

    return torch.from_numpy(values).to(device)


def _dots(queries: np.ndarray, docs: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> Float64[np.ndarray, "pairs"]:
    """Float64 dot products of pairs of float32 rows."""
    out = np.empty(len(rows))
    for start in range(0, len(rows), ROW_BLOCK):
        part = slice(start, start + ROW_BLOCK)
        out[part] = (queries[rows[part]].astype(np.float64) * docs[cols[part]]).sum(axis=1)
    return out


def _own_scores(queries: np.ndarray, docs: np.ndarray, relevant: Relevant) -> Float64[np.ndarray, "pairs"]:
    rows, scores = relevant.queries, np.empty(len(relevant.docs))

    def fill(part: slice) -> None:
        scores[part] = _dots(queries, docs, rows[part], relevant.docs[part])

    over_rows(fill, len(rows))
    return scores


def _norms(rows: Float32[np.ndarray, "n d"], name: str) -> Float64[np.ndarray, "n"]:
    every, norms = np.arange(len(rows)), np.empty(len(rows))

    def fill(part: slice) -> None:
        norms[part] = np.sqrt(_dots(rows, rows, every[part], every[part]))

    over_rows(fill, len(rows))
    if (bad := np.flatnonzero(~np.isfinite(norms))).size:
        raise ValueError(f"{name} {bad[0]} holds NaN or infinity")
    return norms


def over_rows(work: Callable[[slice], None], n: int) -> None:
    """Do `work` for all of n rows, some at a time, in threads: numpy lets others run while it computes."""
    parts = [slice(start, min(start + ROW_BLOCK, n)) for start in range(0, n, ROW_BLOCK)]
    # starting threads would take longer than a few parts
    _in_threads(work, parts, min(THREADS, os.cpu_count() or 1) if len(parts) > FEW_PARTS else 1)


def _in_threads(work: Callable[[T], None], parts: Sequence[T], threads: int) -> None:
    """Do `work` for every part and raise what it raised; a single thread is the caller's own."""
    if min(threads, len(parts)) <= 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, parts):
            pass


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


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Torch's operations take one thread each; gives the number of threads that they may take otherwise."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
