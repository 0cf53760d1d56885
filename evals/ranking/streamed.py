"""Ranks over a gallery that need not fit in memory: it is read block by block, twice.

The first reading gives the scores of the relevant documents, which are the levels, and the second
counts what stands above and on them. Counts of blocks are integers, so their sum is that of the
whole gallery, whatever the blocks. Memory is that of the queries, their levels and one block.

Shapes: q queries, n documents of a block, d dimensions of the rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from evals.embeddings.truncation import truncate
from evals.ranking.definition import Ranks
from evals.ranking.dispatch import count_all
from evals.ranking.levels import Step, Tally
from evals.ranking.products import pair_scores
from evals.ranking.ranks import CHUNK, check_relevant, new_tally, norm_bounds, ranks_of
from evals.ranking.relevance import Relevant
from evals.ranking.shapes import DocRows, PairFloats, QueryRows

BLOCK_ROWS = 2**16  # of a memory map: 256 MB at 1,024 dimensions

Gallery = Callable[[], Iterable[DocRows]]  # starts a reading of all blocks, in the same order


class Answers(NamedTuple):
    """What one reading of a gallery gives: where the levels are, before anything is counted.

    `scores` are the float64 scores of the relevant documents and `largest_norms` the largest norm
    of any document, both at each dimension.
    """

    scores: Mapping[int, PairFloats]
    largest_norms: Mapping[int, float]
    n_docs: int


def blocks_of(rows: Float[np.ndarray, "_ d"], size: int = BLOCK_ROWS) -> Iterator[DocRows]:
    """The blocks of an array or a memory map as float32, `size` rows each.

    Raises ValueError for size < 1.
    """
    if size < 1:
        raise ValueError(f"a block cannot have {size} rows")
    for first in range(0, len(rows), size):
        yield np.asarray(rows[first : first + size], dtype=np.float32)


def streamed_ranks(
    queries: QueryRows,
    gallery: Gallery,
    relevant: Relevant,
    dims: Sequence[int],
    *,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> dict[int, Ranks]:
    """The ranks at each dimension: `ranks` of the rows cut by `truncate`, bit for bit.

    `relevant` numbers documents in the order of the gallery, from 0 over all blocks. Both readings
    serve all dimensions. Raises ValueError as `ranks` and `truncate` do, and for a gallery whose
    second reading has another number of documents.
    """
    query_rows = {dim: truncate(queries, dim) for dim in dims}
    answers = read_answers(query_rows, gallery, relevant)
    check_relevant(len(queries), answers.n_docs, relevant, chunk)
    tallies: dict[int, Tally] = {}
    for dim in dims:
        largest_scores = norm_bounds(query_rows[dim], "query") * answers.largest_norms[dim]
        tallies[dim] = new_tally(answers.scores[dim], relevant, largest_scores, dim)
    n_counted = count_blocks(
        query_rows, tallies, gallery(), relevant, first=0, chunk=chunk, device=device
    )
    if n_counted != answers.n_docs:
        raise ValueError(
            f"the gallery had {answers.n_docs} documents when it was read first, and then "
            f"{n_counted}"
        )
    return {dim: ranks_of(tallies[dim], relevant) for dim in dims}


def read_answers(
    query_rows: Mapping[int, QueryRows], gallery: Gallery, relevant: Relevant
) -> Answers:
    """The scores of the relevant documents, from queries that are cut to each dimension.

    Those of documents that the gallery does not have are left as they are: see `check_relevant`.
    """
    pair_queries = relevant.queries
    scores = {dim: np.empty(len(relevant.docs)) for dim in query_rows}
    # unit rows have norm bounds of exactly 1, so that the largest does not depend on the blocks
    largest_norms = dict.fromkeys(query_rows, 0.0)
    n_docs = 0
    for block in gallery():
        _refuse_infinite(block, n_docs)
        inside = _pairs_inside(relevant, n_docs, len(block))
        for dim, queries in query_rows.items():
            docs = truncate(block, dim)
            largest = norm_bounds(docs, "document").max(initial=0.0)
            largest_norms[dim] = max(largest_norms[dim], float(largest))
            places = relevant.docs[inside] - n_docs
            scores[dim][inside] = pair_scores(queries, docs, pair_queries[inside], places)
        n_docs += len(block)
    return Answers(scores, largest_norms, n_docs)


def count_blocks(
    query_rows: Mapping[int, QueryRows],
    tallies: Mapping[int, Tally],
    blocks: Iterable[DocRows],
    relevant: Relevant,
    *,
    first: int,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> int:
    """Count the documents of all blocks into the tallies, and return how many there were.

    Relevant documents are passed over; `first` is the number of the first document.
    """
    n_counted = 0
    for block in blocks:
        # documents of other blocks are numbered outside of this one, and not looked for
        numbered = Relevant(relevant.indptr, relevant.docs - first - n_counted)
        for dim, queries in query_rows.items():
            docs = truncate(block, dim)
            step = Step(queries, docs, tallies[dim], None, queries, docs)
            count_all([step], numbered, chunk=chunk, device=device)
        n_counted += len(block)
    return n_counted


def _pairs_inside(relevant: Relevant, first: int, size: int) -> np.ndarray:
    """The pairs whose document is in the block that starts at document `first`."""
    is_inside = (relevant.docs >= first) & (relevant.docs < first + size)
    return np.flatnonzero(is_inside)


def _refuse_infinite(block: DocRows, first: int) -> None:
    bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
    if bad.size:
        raise ValueError(f"document {first + bad[0]} holds NaN or infinity")
