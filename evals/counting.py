"""Counts the documents above and beside the scores of each query's relevant ones, block by block of all the scores.

A score nearer to such a level than the error of a float32 dot product is decided in float64: no matmul kernel, block or thread
changes a count.

Shapes: q queries, d dimensions, pairs of a query and a document relevant to it, c queries and b documents of a block.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int64

from evals.threads import ROW_BLOCK, THREADS, in_threads, one_thread_each

if TYPE_CHECKING:
    import torch

DEPTH = 10  # of nDCG: places after the tenth add nothing to it
DOC_BLOCK = 2048  # documents scored at once: the block of scores stays in the cache while it is counted
DEVICE_BLOCK = 2**15  # the same on an accelerator, where starting an operation costs more than doing it
FILLED = 256  # documents of a block: a multiple of it on a CPU
FEW = 128  # queries that are not worth a thread
GROUP = 64  # documents that are counted, or not, together
DENSE_SHARE = 1 / 32  # a pair that is gathered costs about as much as 32 pairs of a float64 matmul
WHOLE_SHARE = 1 / 8  # of a block's groups: to gather them costs more than to compare the whole block


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
    def of_pairs(pairs: Int[np.ndarray, "pairs 2"], n_queries: int) -> "Relevant":
        """From pairs of a query and a document, in any order. Raises ValueError for a query without any."""
        counts = np.bincount(pairs[:, 0], minlength=n_queries)
        return Relevant(np.concatenate([[0], np.cumsum(counts)]), pairs[np.argsort(pairs[:, 0], kind="stable"), 1])

    def inverse(self, n_docs: int) -> "Relevant":
        """From texts that look for images to images that look for texts. Raises ValueError for an image without any."""
        counts = np.bincount(self.docs, minlength=n_docs)
        if len(counts) > n_docs:
            raise ValueError(f"a text describes image {len(counts) - 1}, but there are {n_docs} images")
        if (empty := np.flatnonzero(counts == 0)).size:
            raise ValueError(f"image {empty[0]} has no text")
        return Relevant(np.concatenate([[0], np.cumsum(counts)]), self.queries[np.argsort(self.docs, kind="stable")])


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


def places_above(better: Int64[np.ndarray, "q places"]) -> Int64[np.ndarray, "q places"]:
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


def count_all(steps: Sequence[Step], relevant: Relevant, *, chunk: int, device: str) -> None:
    """Score every query and document once, block by block, and count at each step for what it asks.

    Each thread takes at most `chunk` queries at a time and does all their work alone: kernels that are split among threads
    wait for the slowest of them after every block, and on a busy machine that takes longer than the work.
    """
    n_queries, n_docs = len(steps[0].queries), len(steps[0].docs)
    parts = [(_on(device, _own(step.left)), _on(device, _own(step.right))) for step in steps]
    scales = [step.scales and tuple(_on(device, scale) for scale in step.scales) for step in steps]
    on_host = parts[0][0].device.type == "cpu"
    width = DOC_BLOCK if on_host else DEVICE_BLOCK
    own_queries, lock = relevant.queries, Lock()

    def strip(start: int) -> None:
        rows = slice(start, min(start + chunk, n_queries))
        pairs = slice(relevant.indptr[rows.start], relevant.indptr[rows.stop])
        own_query, own_doc = own_queries[pairs] - start, relevant.docs[pairs]
        for first in range(0, n_docs, width):
            cols = slice(first, min(first + width, n_docs))
            inside = (own_doc >= cols.start) & (own_doc < cols.stop)
            own = _on(device, own_query[inside]), _on(device, own_doc[inside] - first)
            sums = None
            for step, (left, right), scale in zip(steps, parts, scales, strict=True):
                part = products(left[rows], right[cols])
                sums = part if sums is None else sums.add_(part)
                scores = sums if scale is None else (sums * scale[1][cols]).mul_(scale[0][rows, None])
                scores[own] = -math.inf
                _count_step(step, scores, rows, cols, lock)

    with full_float32(), one_thread_each() as threads:
        workers = min(THREADS, threads) if on_host else 1
        if n_queries > min(chunk, FEW * workers):  # as many strips for each thread, all about as long
            chunk = -(-n_queries // (-(-n_queries // (chunk * workers)) * workers))
        in_threads(strip, range(0, n_queries, chunk), workers)


def _count_step(step: Step, scores: "torch.Tensor", rows: slice, cols: slice, lock: Lock) -> None:
    queries, docs = step.queries[rows], step.docs[cols]
    for block in _blocks(rows, queries, docs, scores):
        _add_counts(block, step.by_row, lock)
    if step.by_col is not None:
        for block in _blocks(cols, docs, queries, scores.T):
            _add_counts(block, step.by_col, lock)


def products(queries: "torch.Tensor", docs: "torch.Tensor") -> "torch.Tensor":
    """Float32 dot products `c b`: on a CPU by oneDNN, where torch.mm would take MKL, which is slower.

    oneDNN compiles and keeps a kernel for every shape that it meets, so documents are filled up to a multiple of FILLED.
    """
    import torch

    if queries.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return torch.mm(queries, docs.T)
    rows = torch.nn.functional.pad(docs, (0, 0, 0, -len(docs) % FILLED))
    scores: torch.Tensor = torch.ops.mkldnn._linear_pointwise(queries, rows, None, "none", [], "none")
    return scores[:, : len(docs)]


def _add_counts(block: _Block, search: Search, lock: Lock) -> None:
    """Count the block's documents above and beside the levels of its queries."""
    levels = search.levels
    head, score, better, tied = (x[block.rows] for x in (levels.head, levels.score, levels.better, levels.tied))
    close, tie = search.close[block.rows, None], search.tie[block.rows]
    near = np.where(head, (score - close).astype(np.float32), np.inf)
    # a level with ten documents above it adds nothing to nDCG@10; counts so far are lower bounds
    near[:, 1:][places_above(better)[:, 1:] >= DEPTH] = np.inf
    reached = _peaks(block.scores)[:, None, :] >= near[:, :, None]
    if reached.sum() <= WHOLE_SHARE * reached[:, 0].size:
        parts = [np.nonzero(reached)]
    else:  # as one group, a place at a time
        block = block._replace(scores=block.scores.flatten(1)[:, None])
        asked = [np.flatnonzero(column < np.inf) for column in near.T]
        parts = [(at, np.full_like(at, place), np.zeros_like(at)) for place, at in enumerate(asked)]
    for at, place, group in parts:
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
    whole = len(at) == len(block.scores) and block.scores.shape[1] == 1  # `at` is every query, in order
    scores = block.scores[:, 0] if whole else block.scores[_on(device, at), _on(device, group)]
    low = _compare(np.greater_equal, scores, (score - close).astype(np.float32))
    high = _compare(np.greater, scores, (score + close).astype(np.float32))
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
        difference = dots(block.queries, block.docs, at[row], group[row] * size + doc) - score[row]
        at_least = above + np.bincount(row[difference >= -tie[row]], minlength=len(at))
        above = above + np.bincount(row[difference > tie[row]], minlength=len(at))
    return _Counts(above, at_least - above)


def _peaks(scores: "torch.Tensor") -> Float32[np.ndarray, "c groups"]:
    """The best score of each group. Torch is 30 times slower where the innermost dimension of memory is the first."""
    inner_first = scores.stride(0) == 1
    peaks = scores.permute(1, 2, 0).amax(dim=1).T if inner_first else scores.amax(dim=2)
    best: np.ndarray = peaks.cpu().numpy()
    return best


def _compare(ask: np.ufunc, scores: "torch.Tensor", level: Float32[np.ndarray, "c"]) -> "torch.Tensor":
    """A mask of the scores' shape: each row beside its level. Torch's comparisons on a CPU take three times as long."""
    import torch

    if scores.device.type == "cpu":
        return torch.from_numpy(ask(scores.numpy(), level[:, None]))
    levels = _on(scores.device, level)[:, None]
    return scores >= levels if ask is np.greater_equal else scores > levels


def _row_sums(mask: "torch.Tensor") -> Int64[np.ndarray, "c"]:
    """How many of each row are true; bytes are summed faster than bool, and 255 of them fit into a byte."""
    import torch

    if mask.device.type == "cpu" and mask.stride(0) == 1:
        columns = mask.numpy().view(np.uint8).T
        parts = [np.add.reduce(columns[i : i + 255], axis=0, dtype=np.uint8) for i in range(0, len(columns), 255)]
        total: np.ndarray = np.add.reduce(parts, axis=0, dtype=np.int64)
        return total
    sums: np.ndarray = mask.view(torch.uint8).sum(dim=1, dtype=torch.int32).cpu().numpy()
    return sums.astype(np.int64)


def _own(rows: np.ndarray) -> np.ndarray:
    """Memory that torch takes as it is."""
    return np.require(rows, requirements=["C", "W"])


def _on(device: "str | torch.device", values: np.ndarray) -> "torch.Tensor":
    import torch

    return torch.from_numpy(values).to(device)


def dots(queries: np.ndarray, docs: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> Float64[np.ndarray, "pairs"]:
    """Float64 dot products of pairs of float32 rows."""
    out = np.empty(len(rows))
    for start in range(0, len(rows), ROW_BLOCK):
        part = slice(start, start + ROW_BLOCK)
        out[part] = (queries[rows[part]].astype(np.float64) * docs[cols[part]]).sum(axis=1)
    return out


@contextmanager
def full_float32() -> Iterator[None]:
    """Matmuls without TF32 or bfloat16, whatever the process has set: scores are float32 wherever they are compared."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
