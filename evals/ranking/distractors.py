"""Documents that are nobody's answer, counted around the best relevant document of each query.

They are read block by block, once, and none is kept: what a curve over gallery sizes needs are two
counts per query (evals.ranking.gallery_size). Ties and close calls are decided as for every other
document.

Shapes: q queries, n documents of a block, d dimensions of the rows.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from evals.ranking.gallery_size import DistractorCounts
from evals.ranking.levels import Tally
from evals.ranking.ranks import CHUNK, check_relevant, new_tally, norm_bounds, ranks_of
from evals.ranking.relevance import Relevant
from evals.ranking.shapes import DocRows, QueryRows
from evals.ranking.streamed import Gallery, Key, count_blocks, cut_rows, read_answers


def count_distractors(
    queries: QueryRows,
    gallery: Gallery,
    relevant: Relevant,
    distractors: Iterable[DocRows],
    dims: Sequence[int],
    *,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> dict[int, DistractorCounts]:
    """The distractors above and on the best relevant document of each query, at each dimension.

    `gallery` holds the relevant documents, numbered over all its blocks, and `distractors` are the
    blocks of the others: together they are ranked as one gallery by `streamed_ranks`, and these
    counts are what the distractors add to `better` and `tied` there. Rows are full width. Raises
    ValueError for a row of either that is not finite, and as `streamed_ranks` does.
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
    total = count_blocks(
        query_rows,
        tallies,
        _finite(distractors),
        relevant,
        largest={},
        # Behind the gallery, where no document is relevant.
        first=answers.n_docs,
        chunk=chunk,
        device=device,
    )
    counts = {}
    for (dim, _), tally in tallies.items():
        ranks = ranks_of(tally, relevant)
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
