"""The k best documents of every query, exactly, in memory that grows with neither side.

`python -m benchmarks.search`: with scoring, 100,000 documents take mteb 2.6 to 3.4 times as long
(benchmarks/results/search-cpu.json).

Shapes: q queries, n documents, d dimensions, c queries and b documents of a block, k hits of a
query.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from evals.embeddings.threads import THREADS, in_threads, one_thread_each, over_rows
from evals.ranking.best_docs import BestDocs, Hits
from evals.ranking.kernel_trial import SEARCHING, kernel_fault
from evals.ranking.products import as_tensor, block_products, full_float32
from evals.ranking.shapes import DocRows, QueryRows


class Sizes(NamedTuple):
    """How many queries a thread takes at a time, and how many documents are scored at once."""

    chunk: int
    block: int


CPU = Sizes(chunk=256, block=2048)  # scores stay in the cache while they are compared
DEVICE = Sizes(chunk=2048, block=8192)  # to start an operation costs more than to do it


def top_k(
    queries: QueryRows,
    docs: DocRows,
    k: int,
    *,
    chunk: int | None = None,
    block: int | None = None,
    device: str = "cpu",
) -> Iterator[Hits]:
    """The `k` best documents of each query (all, if there are fewer) by float32 dot product.

    The `Hits` come in the order of the queries, `chunk` queries at most at a time, and `block`
    documents are scored at once. Nothing runs while the caller has its turn, and memory maps are
    read in blocks. Scores are those of the matmul kernel: another one may differ in the last bit.
    Raises ValueError, before anything is searched, for no documents, for sizes below 1, and for
    rows with NaN or infinity.
    """
    usual = CPU if is_cpu(device) else DEVICE
    # not `chunk or usual.chunk`: 0 is refused, not taken for none
    chunk = usual.chunk if chunk is None else chunk
    block = usual.block if block is None else block
    if min(k, chunk, block, len(docs)) < 1:
        raise ValueError(
            f"cannot find {k} of {len(docs)} documents by {chunk} queries and {block} documents "
            "at a time"
        )
    _refuse_infinite(queries, "query")
    _refuse_infinite(docs, "document")
    sizes = Sizes(chunk, min(block, len(docs)))
    return _search(queries, docs, min(k, len(docs)), sizes, device)


def is_cpu(device: str) -> bool:
    return device.partition(":")[0] == "cpu"


def _refuse_infinite(rows: np.ndarray, name: str) -> None:
    """Raises ValueError for the first row without a finite length: all scores are finite then."""

    def check(part: slice) -> None:
        with np.errstate(all="ignore"):  # what overflows is what is looked for
            squares = np.einsum("ij,ij->i", rows[part], rows[part])
        bad = np.flatnonzero(~np.isfinite(squares))
        if bad.size:
            raise ValueError(
                f"{name} {part.start + bad[0]} has NaN, infinity or a length that float32 "
                "cannot hold"
            )

    over_rows(check, *rows.shape)


def _search(
    queries: np.ndarray, docs: np.ndarray, k: int, sizes: Sizes, device: str
) -> Iterator[Hits]:
    """As many strips of queries at once as there are threads; all end before one is given out."""
    workers = workers_on(device)
    sizes = sizes._replace(chunk=even_chunk(len(queries), sizes.chunk, workers))
    starts = range(0, len(queries), sizes.chunk)
    for turn in range(0, len(starts), workers):
        yield from _strips(queries, docs, starts[turn : turn + workers], k, sizes, device)


def workers_on(device: str) -> int:
    """How many strips of queries are searched at once, each by a thread."""
    import torch

    return min(THREADS, torch.get_num_threads()) if is_cpu(device) else 1


def even_chunk(n_queries: int, chunk: int, workers: int) -> int:
    """The length of strips, `chunk` at most, that are all about as long."""
    turns = -(-n_queries // (chunk * workers))
    strips = max(turns * workers, 1)
    return max(-(-n_queries // strips), 1)


def _strips(
    queries: np.ndarray,
    docs: np.ndarray,
    starts: Sequence[int],
    k: int,
    sizes: Sizes,
    device: str,
) -> list[Hits]:
    """The hits of some strips of queries, each the work of one thread: faster than sharing it."""
    hits_of_strip: dict[int, Hits] = {}

    def search_strip(start: int) -> None:
        strip = as_tensor(queries[start : start + sizes.chunk], device)
        best = best_docs(len(strip), k, block=sizes.block, device=device)
        for first in range(0, len(docs), sizes.block):
            block = as_tensor(docs[first : first + sizes.block], device)
            best.add(block_products(strip, block), first)
        hits_of_strip[start] = best.hits(start)

    with full_float32(), one_thread_each():
        in_threads(search_strip, starts, len(starts))
    return [hits_of_strip[start] for start in starts]


def best_docs(queries: int, k: int, *, block: int, device: str) -> BestDocs:
    """Nothing seen yet, of some queries; on a CUDA card by a Triton kernel where that runs."""
    if device.startswith("cuda") and kernel_fault(SEARCHING, device) is None:
        from evals.ranking.search_kernel import KernelBestDocs

        return KernelBestDocs(queries, k, block=block, device=device)
    return BestDocs(queries, k, block=block, device=device)
