"""All scores, block by block and in threads: each block is counted while it is in the cache.

Memory is that of a block per thread, not of queries times documents. `python -m benchmarks.recall`:
with 5,000 images and 25,000 texts it takes 188 MB beyond the rows, where CLIP_benchmark takes 8,322
MB and 5.3 times as long (benchmarks/results/recall-cpu.json).

Shapes: q queries, n documents, e dimensions of a step, c queries and b documents of a block.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from evals.embeddings.threads import THREADS, in_threads, one_thread_each
from evals.ranking.kernel_trial import COUNTING, kernel_fault
from evals.ranking.levels import Count, Step
from evals.ranking.products import as_tensor, block_products, full_float32, padded
from evals.ranking.relevance import Relevant

if TYPE_CHECKING:
    import torch

DOC_BLOCK = 2048  # documents scored at once: their scores stay in the cache while they are counted
DEVICE_BLOCK = 2**15  # on an accelerator, where starting an operation costs more than doing it
MIN_STRIP = 128  # queries: fewer are not worth a thread


class _Parts(NamedTuple):
    """What a step multiplies, on the device: the queries, and the documents of each block."""

    queries: "torch.Tensor"  # q e
    doc_blocks: "list[torch.Tensor]"  # b e each


def count_all(steps: Sequence[Step], relevant: Relevant, *, chunk: int, device: str) -> None:
    """Score all queries and documents once and count at every step, into the tallies of the steps.

    `relevant` are the documents relevant to the queries (the rows of the scores), which count
    neither as better nor as tied. Each thread takes at most `chunk` queries at a time, a strip, and
    does all their work alone.
    """
    n_queries, n_docs = len(steps[0].queries), len(steps[0].docs)
    width = DOC_BLOCK if device == "cpu" else DEVICE_BLOCK
    blocks = [slice(first, min(first + width, n_docs)) for first in range(0, n_docs, width)]
    parts = [_parts(step, blocks, device) for step in steps]
    pair_queries, lock = relevant.queries, Lock()

    def count_strip(count: Count, start: int) -> None:
        queries = slice(start, min(start + chunk, n_queries))
        pairs = slice(relevant.indptr[queries.start], relevant.indptr[queries.stop])
        relevant_queries, relevant_docs = pair_queries[pairs] - start, relevant.docs[pairs]
        for i, docs in enumerate(blocks):
            inside = (relevant_docs >= docs.start) & (relevant_docs < docs.stop)
            sums: torch.Tensor | None = None
            for step, part in zip(steps, parts, strict=True):
                products = block_products(part.queries[queries], part.doc_blocks[i])
                if sums is None:
                    # relevant documents are not counted: minus infinity stays so at later steps
                    row = as_tensor(relevant_queries[inside], device)
                    products[row, as_tensor(relevant_docs[inside] - docs.start, device)] = -math.inf
                sums = count(step, sums, products, queries, docs, lock)

    # kernels split among threads wait for the slowest after every block;
    # on a busy machine that takes longer than the work
    with full_float32(), one_thread_each() as threads, _counting(steps, device) as count:
        workers = min(THREADS, threads) if device == "cpu" else 1
        if n_queries > min(chunk, MIN_STRIP * workers):
            chunk = _even_strips(n_queries, chunk, workers)
        in_threads(partial(count_strip, count), range(0, n_queries, chunk), workers)


def _parts(step: Step, blocks: Sequence[slice], device: str) -> _Parts:
    docs = as_tensor(step.doc_part, device)
    return _Parts(as_tensor(step.query_part, device), [padded(docs[block]) for block in blocks])


def _even_strips(n_queries: int, chunk: int, workers: int) -> int:
    """The length of strips, `chunk` at most, that are as many for each worker and about as long."""
    # Both divisions round up. A short last strip would keep one worker busy and the others waiting.
    turns = -(-n_queries // (chunk * workers))
    return -(-n_queries // (turns * workers))


def _counting(steps: Sequence[Step], device: str) -> AbstractContextManager[Count]:
    """What counts the blocks: where the scores lie decides how, and changes no count."""
    if device.startswith("cuda") and kernel_fault(COUNTING, device) is None:
        from evals.ranking.cuda import counting

        return counting(steps, device)
    return nullcontext(_way_to_count(device))


def _way_to_count(device: str) -> Count:
    """How each block is counted by itself."""
    if device == "cpu":
        from evals.ranking.cpu import count  # numba takes its time to import
    else:
        from evals.ranking.accelerator import count
    return count
