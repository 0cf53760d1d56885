"""Ranks over a gallery that need not fit in memory: it is read block by block, twice.

The first reading gives the scores of the relevant documents, which are the levels, and the second
counts what stands above and on them. Both serve all dimensions and precisions; int8 takes a reading
more before them, for the scale of the whole gallery. Counts of blocks are integers, so their sum is
that of the whole gallery, whatever the blocks. Memory is that of the queries, their levels and one
block.

Shapes: q queries, n documents of a block, d dimensions of the rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from evals.embeddings.precision import KINDS, largest_value, quantise
from evals.embeddings.truncation import truncate
from evals.ranking.definition import DEPTH, Ranks
from evals.ranking.dispatch import count_all
from evals.ranking.levels import Step, Tally
from evals.ranking.products import pair_scores
from evals.ranking.ranks import CHUNK, check_relevant, new_tally, norm_bounds, ranks_of
from evals.ranking.relevance import Relevant
from evals.ranking.shapes import DocRows, PairFloats, QueryRows

BLOCK_ROWS = 2**16  # of a memory map: 256 MB at 1,024 dimensions

Gallery = Callable[[], Iterable[DocRows]]  # starts a reading of all blocks, in the same order
Key = tuple[int, str]  # a dimension and a kind of precision, without rescoring
LargestValues = Mapping[int, float]  # the largest absolute value of a side at each dimension


class Calibration(NamedTuple):
    """The scales of int8: those of all queries, of which a caller may rank a part, and all documents."""

    queries: LargestValues
    docs: LargestValues


class Answers(NamedTuple):
    """What one reading of a gallery gives: where the levels are, before anything is counted.

    `scores` are the float64 scores of the relevant documents and `largest_norms` the largest norm
    of any document, both for each key.
    """

    scores: Mapping[Key, PairFloats]
    largest_norms: Mapping[Key, float]
    n_docs: int


class Counted(NamedTuple):
    """The scores of the relevant documents at one key, and what was counted around their levels."""

    scores: PairFloats
    tally: Tally


# What may look at the documents of a block, numbered from `first`, as they are counted.
Seen = Callable[[Key, DocRows, int], None]


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
    kinds: Sequence[str] = ("float32",),
    *,
    calibration: Calibration | None = None,
    seen: Seen | None = None,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> dict[Key, Ranks]:
    """The ranks at each dimension and precision: `ranks` of `quantise(truncate(rows))`, bit for bit.

    `relevant` numbers documents in the order of the gallery, from 0 over all blocks. `calibration`
    is needed where these are not all queries; else it is read. Raises ValueError as `ranks` and
    `truncate` do, and for a gallery whose second reading has another number of documents.
    """
    counted = streamed_tallies(
        queries,
        gallery,
        relevant,
        dims,
        kinds,
        calibration=calibration,
        seen=seen,
        chunk=chunk,
        device=device,
    )
    return {key: ranks_of(tally, relevant) for key, (_, tally) in counted.items()}


def streamed_tallies(
    queries: QueryRows,
    gallery: Gallery,
    relevant: Relevant,
    dims: Sequence[int],
    kinds: Sequence[str],
    *,
    calibration: Calibration | None = None,
    seen: Seen | None = None,
    depth: int = DEPTH,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> dict[Key, Counted]:
    """What `streamed_ranks` is made of: the best `depth` relevant documents have levels."""
    if calibration is None:
        calibration = Calibration({}, {})
        if any(KINDS[kind].calibrated for kind in kinds):
            docs = largest_values(gallery(), dims)
            calibration = Calibration(largest_values([queries], dims), docs)
    query_rows = dict(cut_rows(queries, dims, kinds, calibration.queries))
    answers = read_answers(query_rows, gallery, relevant, calibration.docs)
    check_relevant(len(queries), answers.n_docs, relevant, chunk)
    tallies: dict[Key, Tally] = {}
    for key, rows in query_rows.items():
        largest_scores = norm_bounds(rows, "query") * answers.largest_norms[key]
        scores, width = answers.scores[key], rows.shape[1]
        tallies[key] = new_tally(scores, relevant, largest_scores, width, depth=depth)
    n_counted = count_blocks(
        query_rows,
        tallies,
        gallery(),
        relevant,
        largest=calibration.docs,
        seen=seen,
        chunk=chunk,
        device=device,
    )
    if n_counted != answers.n_docs:
        raise ValueError(
            f"the gallery had {answers.n_docs} documents when it was read first, and then "
            f"{n_counted}"
        )
    return {key: Counted(answers.scores[key], tally) for key, tally in tallies.items()}


def largest_values(blocks: Iterable[DocRows], dims: Sequence[int]) -> LargestValues:
    """The largest absolute value of a side at each dimension, from all of its blocks."""
    largest = dict.fromkeys(dims, 0.0)
    for block in blocks:
        for dim in largest:
            largest[dim] = max(largest[dim], largest_value(truncate(block, dim)))
    return largest


def cut_rows(
    rows: DocRows, dims: Sequence[int], kinds: Sequence[str], largest: LargestValues
) -> Iterator[tuple[Key, DocRows]]:
    """Full-width rows at each dimension and precision, one after the other."""
    for dim in dims:
        unit_rows = truncate(rows, dim)
        for kind in kinds:
            yield (dim, kind), quantise(unit_rows, kind, largest.get(dim))


def read_answers(
    query_rows: Mapping[Key, QueryRows],
    gallery: Gallery,
    relevant: Relevant,
    largest: LargestValues,
) -> Answers:
    """The scores of the relevant documents, from queries as `cut_rows` gives them.

    Those of documents that the gallery does not have are left as they are: see `check_relevant`.
    """
    dims, kinds = _axes(query_rows)
    pair_queries = relevant.queries
    scores = {key: np.empty(len(relevant.docs)) for key in query_rows}
    # Norm bounds of unit rows are exactly 1, those of int8 and binary rows roots of whole numbers:
    # the largest does not depend on the blocks.
    largest_norms = dict.fromkeys(query_rows, 0.0)
    n_docs = 0
    for block in gallery():
        _refuse_infinite(block, n_docs)
        inside = _pairs_inside(relevant, n_docs, len(block))
        places = relevant.docs[inside] - n_docs
        for key, docs in cut_rows(block, dims, kinds, largest):
            largest_norm = float(norm_bounds(docs, "document").max(initial=0.0))
            largest_norms[key] = max(largest_norms[key], largest_norm)
            block_scores = pair_scores(query_rows[key], docs, pair_queries[inside], places)
            scores[key][inside] = block_scores
        n_docs += len(block)
    return Answers(scores, largest_norms, n_docs)


def count_blocks(
    query_rows: Mapping[Key, QueryRows],
    tallies: Mapping[Key, Tally],
    blocks: Iterable[DocRows],
    relevant: Relevant,
    *,
    largest: LargestValues,
    first: int = 0,
    seen: Seen | None = None,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> int:
    """Count the documents of all blocks into the tallies, and return how many there were.

    Relevant documents are passed over; `first` is the number of the first document.
    """
    dims, kinds = _axes(query_rows)
    n_counted = 0
    for block in blocks:
        # documents of other blocks are numbered outside of this one, and not looked for
        numbered = Relevant(relevant.indptr, relevant.docs - first - n_counted)
        for key, docs in cut_rows(block, dims, kinds, largest):
            step = Step(query_rows[key], docs, tallies[key], None, query_rows[key], docs)
            count_all([step], numbered, chunk=chunk, device=device)
            if seen is not None:
                seen(key, docs, first + n_counted)
        n_counted += len(block)
    return n_counted


def _axes(query_rows: Mapping[Key, QueryRows]) -> tuple[list[int], list[str]]:
    """The dimensions and the precisions of the keys, which are all of both."""
    dims = list(dict.fromkeys(dim for dim, _ in query_rows))
    return dims, list(dict.fromkeys(kind for _, kind in query_rows))


def _pairs_inside(relevant: Relevant, first: int, size: int) -> np.ndarray:
    """The pairs whose document is in the block that starts at document `first`."""
    is_inside = (relevant.docs >= first) & (relevant.docs < first + size)
    return np.flatnonzero(is_inside)


def _refuse_infinite(block: DocRows, first: int) -> None:
    bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
    if bad.size:
        raise ValueError(f"document {first + bad[0]} holds NaN or infinity")
