"""The places of all relevant documents in bounded memory: definition.places, counted by the engine.

Every distinct score of a relevant document is a level, not only the ten best, and documents are
counted around all of them. So MAP and recall at any depth are exact, however far down a document
stands, and no ranking is kept. No benchmark times it by itself.

Shapes: q queries, n documents, d dimensions, pairs of a query and a document relevant to it.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from evals.ranking.definition import Places
from evals.ranking.dispatch import count_all
from evals.ranking.levels import Levels, Step, Tally
from evals.ranking.ranks import CHUNK, check_relevant, new_tally, norm_bounds, relevant_scores
from evals.ranking.relevance import Relevant
from evals.ranking.shapes import DocRows, PairFloats, Pairs, QueryCounts, QueryRows

LEVELS = 2**20  # of all queries that are counted at once: five arrays of 8 MB
ALL_LEVELS = sys.maxsize  # depth of a tally: what stands deep counts for MAP as well


class PairCounts(NamedTuple):
    """What is counted around each relevant document, of a query best first: fields of `Places`."""

    above: Pairs
    equal: Pairs
    relevant_above: Pairs
    relevant_equal: Pairs


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
    parts = []
    # A part at a time: one query with 10,000 relevant documents would give all queries as many
    # columns.
    for part in query_parts(relevant.counts, LEVELS):
        members = relevant.part(part)
        tally = new_tally(
            scores[relevant.indptr[part.start] : relevant.indptr[part.stop]],
            members,
            largest_score[part],
            queries.shape[1],
            depth=ALL_LEVELS,
        )
        step = Step(queries[part], docs, tally, None, queries[part], docs)
        count_all([step], members, chunk=chunk, device=device)
        parts.append(pair_counts(tally, members))
    return places_of(scores, relevant, gains, parts)


def pair_counts(tally: Tally, relevant: Relevant) -> PairCounts:
    """The counts around each relevant document, when all is counted."""
    levels = tally.levels
    column = np.arange(len(relevant.docs)) - relevant.indptr[relevant.queries]
    cell = relevant.queries, _level_of_column(levels)[relevant.queries, column]
    # A level begins behind as many relevant documents as there are columns before it.
    relevant_above, relevant_equal = cell[1], levels.relevant[cell]
    return PairCounts(
        above=levels.better[cell] + relevant_above,
        equal=levels.tied[cell] + relevant_equal,
        relevant_above=relevant_above,
        relevant_equal=relevant_equal,
    )


def places_of(
    scores: PairFloats, relevant: Relevant, gains: PairFloats, parts: Sequence[PairCounts]
) -> Places:
    """The places of all queries from the counts of neighbouring parts of them.

    `scores` and `gains` are in the order of `relevant`.
    """
    # Of a query best first: so its columns are the places of its pairs in this order.
    order = np.lexsort((-scores, relevant.queries))
    nothing = PairCounts(*np.zeros((4, 0), dtype=np.int64))  # of no queries at all
    counts = PairCounts(*map(np.concatenate, zip(nothing, *parts, strict=True)))
    return Places(
        query=relevant.queries[order],
        gain=gains[order],
        score=scores[order],
        above=counts.above,
        equal=counts.equal,
        relevant_above=counts.relevant_above,
        relevant_equal=counts.relevant_equal,
        n_relevant=relevant.counts,
        ideal=gains[np.lexsort((-gains, relevant.queries))],
    )


def query_parts(counts: QueryCounts, limit: int, *, row: int = 0, cell: int = 1) -> Iterator[slice]:
    """Neighbouring queries that are counted together, so many that they cost `limit` at most.

    A query costs `row`, and `cell` for each of its columns: all of a part have as many as the one
    of the most relevant documents, which are `counts`. A single query may cost more.
    """
    start, widest = 0, 1
    for query, count in enumerate(counts.tolist()):
        wider = max(widest, count)
        if query > start and (row + cell * wider) * (query + 1 - start) > limit:
            yield slice(start, query)
            start, wider = query, count
        widest = wider
    if len(counts):
        yield slice(start, len(counts))


def _level_of_column(levels: Levels) -> np.ndarray:
    """For each place of a query's relevant documents the place where its level begins."""
    columns = np.arange(levels.is_level.shape[1])
    return np.maximum.accumulate(np.where(levels.is_level, columns, 0), axis=1)
