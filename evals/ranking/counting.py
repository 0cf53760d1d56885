"""Counts the documents above and beside the scores of each query's relevant ones, block by block of all the scores.

A score nearer to such a level than the error of a float32 dot product is decided in float64: no matmul kernel, block or thread
changes a count.

Shapes: q queries, n documents, d dimensions, e dimensions of a step, pairs of a query and a document relevant to it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int, Int64

from evals.embeddings.threads import THREADS, in_threads, one_thread_each
from evals.ranking.levels import Add, Step, add_groups, on

if TYPE_CHECKING:
    import torch

DOC_BLOCK = (
    2048  # documents scored at once: the block of scores stays in the cache while it is counted
)
DEVICE_BLOCK = (
    2**15
)  # the same on an accelerator, where starting an operation costs more than doing it
FILLED = 256  # documents of a block: a multiple of it on a CPU
FEW = 128  # queries that are not worth a thread


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
        return Relevant(
            np.concatenate([[0], np.cumsum(counts)]),
            pairs[np.argsort(pairs[:, 0], kind="stable"), 1],
        )

    def inverse(self, n_docs: int) -> "Relevant":
        """From texts that look for images to images that look for texts. Raises ValueError for an image without any."""
        counts = np.bincount(self.docs, minlength=n_docs)
        if len(counts) > n_docs:
            raise ValueError(
                f"a text describes image {len(counts) - 1}, but there are {n_docs} images"
            )
        if (empty := np.flatnonzero(counts == 0)).size:
            raise ValueError(f"image {empty[0]} has no text")
        return Relevant(
            np.concatenate([[0], np.cumsum(counts)]),
            self.queries[np.argsort(self.docs, kind="stable")],
        )


def count_all(steps: Sequence[Step], relevant: Relevant, *, chunk: int, device: str) -> None:
    """Score every query and document once, block by block, and count at each step for what it asks.

    Each thread takes at most `chunk` queries at a time and does all their work alone: kernels that are split among threads
    wait for the slowest of them after every block, and on a busy machine that takes longer than the work.
    """
    n_queries, n_docs = len(steps[0].queries), len(steps[0].docs)
    on_host = device == "cpu"
    add = _kernel() if on_host else add_groups
    width = DOC_BLOCK if on_host else DEVICE_BLOCK
    blocks = [slice(first, min(first + width, n_docs)) for first in range(0, n_docs, width)]
    lefts, rights = (
        [on(device, step.left) for step in steps],
        [on(device, step.right) for step in steps],
    )
    filled = [[_filled(right[cols]) for cols in blocks] for right in rights]
    own_queries, lock = relevant.queries, Lock()

    def strip(start: int) -> None:
        rows = slice(start, min(start + chunk, n_queries))
        pairs = slice(relevant.indptr[rows.start], relevant.indptr[rows.stop])
        own_query, own_doc = own_queries[pairs] - start, relevant.docs[pairs]
        for i, cols in enumerate(blocks):
            inside = (own_doc >= cols.start) & (own_doc < cols.stop)
            sums: torch.Tensor | None = None
            for step, left, right in zip(steps, lefts, filled, strict=True):
                more = products(left[rows], right[i])
                if sums is None:
                    more[
                        on(device, own_query[inside]), on(device, own_doc[inside] - cols.start)
                    ] = -math.inf
                sums = add(step, sums, more, rows, cols, lock)

    with full_float32(), one_thread_each() as threads:
        workers = min(THREADS, threads) if on_host else 1
        if n_queries > min(
            chunk, FEW * workers
        ):  # as many strips for each thread, all about as long
            chunk = -(-n_queries // (-(-n_queries // (chunk * workers)) * workers))
        in_threads(strip, range(0, n_queries, chunk), workers)


def _kernel() -> Add:
    from evals.ranking.kernel import add_levels  # numba takes its time to import

    return add_levels


def products(queries: "torch.Tensor", docs: "torch.Tensor") -> "torch.Tensor":
    """Float32 dot products `c b`: on a CPU by oneDNN, where torch.mm would take MKL, which is slower."""
    import torch

    if queries.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return torch.mm(queries, docs.T)
    scores: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        queries, _filled(docs), None, "none", [], "none"
    )
    return scores[:, : len(docs)]


def _filled(docs: "torch.Tensor") -> "torch.Tensor":
    """On a CPU zero rows up to a multiple of FILLED: oneDNN compiles and keeps a kernel for every shape that it meets."""
    import torch

    missing = -len(docs) % FILLED if docs.device.type == "cpu" else 0
    return torch.nn.functional.pad(docs, (0, 0, 0, missing)) if missing else docs


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
