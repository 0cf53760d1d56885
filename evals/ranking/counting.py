"""Counts the documents above and beside the scores of each query's relevant ones, block by block of all the scores.

A score nearer to such a level than the error of a float32 dot product is decided in float64: no matmul kernel, block or thread
changes a count.

Shapes: q queries, n documents, d dimensions, e dimensions of a step, pairs of a query and a document relevant to it.
"""

import math
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

from evals.embeddings.threads import THREADS, in_threads, one_thread_each
from evals.ranking.levels import Add, Step
from evals.ranking.products import as_tensor, full_float32, padded, products
from evals.ranking.relevance import Relevant

if TYPE_CHECKING:
    import torch

DOC_BLOCK = (
    2048  # documents scored at once: the block of scores stays in the cache while it is counted
)
DEVICE_BLOCK = (
    2**15
)  # the same on an accelerator, where starting an operation costs more than doing it
FEW = 128  # queries that are not worth a thread


def count_all(steps: Sequence[Step], relevant: Relevant, *, chunk: int, device: str) -> None:
    """Score every query and document once, block by block, and count at each step for what it asks.

    Each thread takes at most `chunk` queries at a time and does all their work alone: kernels that are split among threads
    wait for the slowest of them after every block, and on a busy machine that takes longer than the work.
    """
    n_queries, n_docs = len(steps[0].queries), len(steps[0].docs)
    on_host = device == "cpu"
    add = _way_to_count(device)
    width = DOC_BLOCK if on_host else DEVICE_BLOCK
    blocks = [slice(first, min(first + width, n_docs)) for first in range(0, n_docs, width)]
    lefts, rights = (
        [as_tensor(device, step.left) for step in steps],
        [as_tensor(device, step.right) for step in steps],
    )
    filled = [[padded(right[cols]) for cols in blocks] for right in rights]
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
                        as_tensor(device, own_query[inside]),
                        as_tensor(device, own_doc[inside] - cols.start),
                    ] = -math.inf
                sums = add(step, sums, more, rows, cols, lock)

    with full_float32(), one_thread_each() as threads:
        workers = min(THREADS, threads) if on_host else 1
        if n_queries > min(
            chunk, FEW * workers
        ):  # as many strips for each thread, all about as long
            chunk = -(-n_queries // (-(-n_queries // (chunk * workers)) * workers))
        in_threads(strip, range(0, n_queries, chunk), workers)


def _way_to_count(device: str) -> Add:
    """Where the scores lie decides how they are counted, and changes no count."""
    if device == "cpu":
        from evals.ranking.cpu import count  # numba takes its time to import
    else:
        from evals.ranking.accelerator import count
    return count
