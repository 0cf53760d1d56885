"""Counts distractors, which answer no query, around the best relevant document of each query.

    parts = [level_queries(queries, gallery, relevant, dims) for …]    where each query's answer stands
    counts = count_around(parts, distractors)                           one reading, however many parts

They are read block by block, once, and none is kept: what a curve over gallery sizes needs are two
counts per query (evals.ranking.gallery_size). Ties and close calls are decided as for every other
document.

Shapes: q queries, n documents of a block, d dimensions of the rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from evals.ranking.gallery_size import DistractorCounts
from evals.ranking.levels import Tally
from evals.ranking.ranks import CHUNK, check_relevant, new_tally, norm_bounds, ranks_of
from evals.ranking.relevance import Relevant
from evals.ranking.shapes import DocRows, QueryRows
from evals.ranking.streamed import Gallery, Key, count_blocks, cut_rows, read_answers


class LeveledQueries(NamedTuple):
    """Queries cut to each dimension, with the score of the best relevant document as their level.

    `n_docs` is the size of the gallery in which `relevant` numbers documents.
    """

    query_rows: Mapping[Key, QueryRows]
    tallies: Mapping[Key, Tally]
    relevant: Relevant
    n_docs: int


def level_queries(
    queries: QueryRows,
    gallery: Gallery,
    relevant: Relevant,
    dims: Sequence[int],
    *,
    chunk: int = CHUNK,
) -> LeveledQueries:
    """Read the relevant documents of a gallery, which numbers them over all its blocks.

    Rows are full width. Raises ValueError for a row of the gallery that is not finite, and as
    `streamed_ranks` does.
    """
    query_rows = dict(cut_rows(queries, dims, ("float32",), {}))
    answers = read_answers(query_rows, gallery, relevant, {})
    check_relevant(len(queries), answers.n_docs, relevant, chunk)
    tallies: dict[Key, Tally] = {}
    for key, rows in query_rows.items():
        # Rows cut by `truncate` are unit rows: a distractor may be the only one that is not zero.
        largest_scores = norm_bounds(rows, "query")
        scores = answers.scores[key]
        # One level per query: recall looks at the best relevant document alone.
        tallies[key] = new_tally(scores, relevant, largest_scores, rows.shape[1], depth=1)
    return LeveledQueries(query_rows, tallies, relevant, answers.n_docs)


def count_around(
    parts: Sequence[LeveledQueries],
    distractors: Iterable[DocRows],
    *,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> list[dict[int, DistractorCounts]]:
    """The distractors above and on the level of each query, for each part at each dimension.

    `distractors` are blocks of full-width rows, read once for all parts. Ranked with the gallery of
    a part as one gallery by `streamed_ranks`, they would add these counts to `better` and `tied`.
    Each part is counted once. ValueError for a distractor that is not finite.
    """
    total = 0
    for block in _finite(distractors):
        for part in parts:
            count_blocks(
                part.query_rows,
                part.tallies,
                [block],
                part.relevant,
                largest={},
                # Behind the gallery, where no document is relevant.
                first=part.n_docs + total,
                chunk=chunk,
                device=device,
            )
        total += len(block)
    return [_counts(part, total) for part in parts]


def _counts(part: LeveledQueries, total: int) -> dict[int, DistractorCounts]:
    counts = {}
    for (dim, _), tally in part.tallies.items():
        ranks = ranks_of(tally, part.relevant)
        counts[dim] = DistractorCounts(ranks.better, ranks.tied, total)
    return counts


def _finite(blocks: Iterable[DocRows]) -> Iterator[DocRows]:
    """The blocks; ValueError names the distractor that holds NaN or infinity."""
    first = 0
    for block in blocks:
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if bad.size:
            raise ValueError(f"distractor {first + bad[0]} holds NaN or infinity")
        yield block
        first += len(block)
