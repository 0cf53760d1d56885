"""The k best documents of every query where the rows of both lie on disk, in limited memory.

Documents are read once for as many queries as memory holds, at all dimensions and precisions. Of
each query the best so far are kept by score and place (evals.ranking.search), so blocks of documents
merge into what a search in memory finds. Blocks and strips are those of that search, because a
matmul of another shape may differ in the last bit of a score.

Shapes: q queries, n documents, d dimensions, k documents of a query.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from evals.embeddings.rows import RowSource
from evals.embeddings.threads import in_threads, one_thread_each
from evals.ranking.best_docs import BestDocs, Hits
from evals.ranking.products import as_tensor, block_products, full_float32
from evals.ranking.search import CPU, DEVICE, best_docs, even_chunk, is_cpu, workers_on
from evals.ranking.shapes import DocRows, QueryRows
from evals.ranking.stored import LARGEST_BLOCK, calibration_of
from evals.ranking.streamed import Key, cut_rows

ROOM = 2**11  # documents that a query has room for at least, beside its best


def stored_top_k(
    queries: RowSource,
    docs: RowSource,
    k: int,
    dims: Sequence[int],
    kinds: Sequence[str],
    *,
    memory: int,
    device: str = "cpu",
) -> dict[Key, Hits]:
    """The `k` best documents of each query (all, if there are fewer) in about `memory` bytes.

    What `top_k` finds in rows at each dimension and precision, bit for bit. The hits themselves are
    held for all queries.
    """
    (n_queries, width), (n_docs, _) = queries.shape, docs.shape
    k = min(k, n_docs)
    sizes = CPU if is_cpu(device) else DEVICE
    chunk = even_chunk(n_queries, sizes.chunk, workers_on(device))
    block = min(sizes.block, n_docs)
    bytes_of_query = 4 * width + len(kinds) * sum(4 * dim + 8 * (k + max(k, ROOM)) for dim in dims)
    at_once = max(memory // 2 // bytes_of_query // chunk, 1) * chunk
    calibration = calibration_of(queries, docs, dims, kinds, LARGEST_BLOCK)
    parts: dict[Key, list[Hits]] = {(dim, kind): [] for dim in dims for kind in kinds}
    for first in range(0, n_queries, at_once):
        rows = queries.take(np.arange(first, min(first + at_once, n_queries)))
        query_rows = dict(cut_rows(rows, dims, kinds, calibration.queries))
        # Of a document its place in the whole gallery is kept, so it may come from any block.
        strips = {
            (key, start): best_docs(min(chunk, len(rows) - start), k, block=block, device=device)
            for key in query_rows
            for start in range(0, len(rows), chunk)
        }
        # whole blocks of the search in memory: a last, shorter one ends the gallery there as well
        for read in docs.blocks(max(LARGEST_BLOCK // block, 1) * block):
            for key, doc_rows in cut_rows(read.rows, dims, kinds, calibration.docs):
                bests = {start: best for (at, start), best in strips.items() if at == key}
                _add(query_rows[key], doc_rows, bests, read.first, block, device)
        for (key, start), best in strips.items():
            parts[key].append(best.hits(first + start))
    return {key: _joined(hits) for key, hits in parts.items()}


def _add(
    queries: QueryRows,
    docs: DocRows,
    bests: Mapping[int, BestDocs],
    first: int,
    block: int,
    device: str,
) -> None:
    """Take documents, of which the first is number `first`, into the best of each strip."""

    def search_strip(start: int) -> None:
        best = bests[start]
        strip = as_tensor(queries[start : start + len(best.filled)], device)
        for at in range(0, len(docs), block):
            part = as_tensor(docs[at : at + block], device)
            best.add(block_products(strip, part), first + at)

    # A strip is one thread's alone, or two would raise its bar at once.
    with full_float32(), one_thread_each() as threads:
        in_threads(search_strip, list(bests), threads if is_cpu(device) else 1)


def _joined(parts: Sequence[Hits]) -> Hits:
    docs = np.concatenate([part.docs for part in parts])
    return Hits(0, docs, np.concatenate([part.scores for part in parts]))
