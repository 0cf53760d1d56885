"""The places of all relevant documents in bounded memory: definition.places, counted by the engine.

Every distinct score of a relevant document is a level, not only the ten best, and documents are
counted around all of them. So MAP and recall at any depth are exact, however far down a document
stands, and no ranking is kept. No benchmark times it by itself.

Shapes: q queries, n documents, d dimensions, pairs of a query and a document relevant to it.
"""

import sys
from collections.abc import Iterator

import numpy as np

from evals.ranking.definition import Places
from evals.ranking.dispatch import count_all
from evals.ranking.levels import Levels, Step
from evals.ranking.ranks import CHUNK, check_relevant, new_tally, norm_bounds, relevant_scores
from evals.ranking.relevance import Relevant
from evals.ranking.shapes import DocRows, PairFloats, QueryRows

LEVELS = 2**20  # of all queries that are counted at once: five arrays of 8 MB


def places(
    queries: QueryRows,
    docs: DocRows,
    relevant: Relevant,
    gains: PairFloats,
    *,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> Places:
    """Where the relevant documents of every query stand, by dot product.

    `gains` has the grade of each, in the order of `relevant`. As those of `evals.ranking.ranks`,
    counts are a function of the rows alone. Raises ValueError for NaN, infinity, a chunk below 1,
    or relevant documents that do not fit.
    """
    check_relevant(len(queries), len(docs), relevant, chunk)
    largest_score = norm_bounds(queries, "query")
    largest_score *= norm_bounds(docs, "document").max(initial=0.0)  # Cauchy and Schwarz
    scores = relevant_scores(queries, docs, relevant)
    # Of a query best first: so its columns are the places of its pairs in this order.
    order = np.lexsort((-scores, relevant.queries))
    n_pairs = len(order)
    above, equal, relevant_above, relevant_equal = np.zeros((4, n_pairs), dtype=np.int64)
    # A part at a time: one query with 10,000 relevant documents would give all queries as many
    # columns.
    for part in _parts(relevant):
        pairs = slice(relevant.indptr[part.start], relevant.indptr[part.stop])
        members = Relevant(
            relevant.indptr[part.start : part.stop + 1] - pairs.start, relevant.docs[pairs]
        )
        tally = new_tally(
            scores[pairs],
            members,
            largest_score[part],
            queries.shape[1],
            depth=sys.maxsize,  # what stands deep counts for MAP as well
        )
        step = Step(queries[part], docs, tally, None, queries[part], docs)
        count_all([step], members, chunk=chunk, device=device)
        levels = tally.levels
        column = np.arange(len(members.docs)) - members.indptr[members.queries]
        cell = members.queries, _level_of_column(levels)[members.queries, column]
        # A level begins behind as many relevant documents as there are columns before it.
        relevant_above[pairs] = cell[1]
        relevant_equal[pairs] = levels.relevant[cell]
        above[pairs] = levels.better[cell] + cell[1]
        equal[pairs] = levels.tied[cell] + levels.relevant[cell]
    return Places(
        query=relevant.queries[order],
        gain=gains[order],
        score=scores[order],
        above=above,
        equal=equal,
        relevant_above=relevant_above,
        relevant_equal=relevant_equal,
        n_relevant=relevant.counts,
        ideal=gains[np.lexsort((-gains, relevant.queries))],
    )


def _parts(relevant: Relevant) -> Iterator[slice]:
    """Queries that are counted together: all of a part have as many columns as the widest."""
    start, widest = 0, 1
    for query, count in enumerate(relevant.counts.tolist()):
        wider = max(widest, count)
        if query > start and wider * (query + 1 - start) > LEVELS:
            yield slice(start, query)
            start, wider = query, count
        widest = wider
    if len(relevant.counts):
        yield slice(start, len(relevant.counts))


def _level_of_column(levels: Levels) -> np.ndarray:
    """For each place of a query's relevant documents the place where its level begins."""
    columns = np.arange(levels.is_level.shape[1])
    return np.maximum.accumulate(np.where(levels.is_level, columns, 0), axis=1)
