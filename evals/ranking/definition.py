"""START HERE: what a rank is, in plain numpy over the whole matrix of scores.

The score of a query and a document is the dot product of their rows. Rows are float32; they are
multiplied and added in float64, so that no order of summation decides anything. Scores nearer to
each other than TIE are equal, and equal scores stand in random order: every metric is its mean over
those orders (McSherry & Najork, ECIR 2008). Four numbers per query are enough for that, and a fifth
for nDCG@10: they are its `Ranks`. What looks at all relevant documents, with grades or without, is
made of their `Places`.

Nothing is fast here, and memory grows with queries times documents. The tests hold every faster
file of this room to these lines.

Shapes: q queries, n documents, d dimensions.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from evals.ranking.relevance import Relevant
from evals.ranking.shapes import (
    DocRows,
    PairFloats,
    Pairs,
    QueryCounts,
    QueryFloats,
    QueryRows,
    RowNorms,
    TextRows,
)

DEPTH = 10  # of nDCG: places after the tenth add nothing to it
TIE = 1e-12  # as a share of |query| max |document|; a float64 sum errs by 1e-14 at most

# What a relevant document gains at each of the first ten places, 1 / log2(place + 1), and what
# relevant documents at the first k places gain together (Jarvelin & Kekalainen 2002, TOIS 20(4)).
# On a grid of 2^-40 every sum is exact: a perfect ranking scores 1.0 and not 0.9999999999999999.
DISCOUNT = np.round(2.0**40 / np.log2(np.arange(2, DEPTH + 2))) / 2.0**40
GAIN = np.concatenate([[0.0], np.cumsum(DISCOUNT)])


def gain_of_places(
    above: Int64[np.ndarray, "*shape"], group: Int64[np.ndarray, "*shape"]
) -> Float64[np.ndarray, "*shape"]:
    """What `group` places gain together, those that follow the first `above` ones."""
    first = np.minimum(above, DEPTH)
    last = np.minimum(above + group, DEPTH)
    gain: np.ndarray = GAIN[last] - GAIN[first]
    return gain


@dataclass(frozen=True)
class Ranks:
    """Where the best relevant document of each query stands among the irrelevant ones.

    `better` irrelevant documents score strictly higher; `tied` irrelevant and `tied_relevant`
    relevant ones (itself included, so at least 1) have its score. `score` is that score. `ndcg10`
    is the expected nDCG@10, all relevant documents counted, with binary gains and equal scores in
    random order.
    """

    better: QueryCounts
    tied: QueryCounts
    tied_relevant: QueryCounts
    score: Float32[np.ndarray, "q"]
    ndcg10: QueryFloats

    def __len__(self) -> int:
        return len(self.better)


@dataclass(frozen=True)
class Places:
    """Where all relevant documents of each query stand: what graded measures are made of.

    An entry is a relevant document; entries are sorted by query, and of a query best score first.
    `above` documents score strictly higher, `equal` ones have its score (itself included);
    `relevant_above` and `relevant_equal` of these are relevant. `gain` is the document's grade.

    What there was to find is apart from that, since a search may miss some: `n_relevant` documents
    of each query, whose gains are in `ideal`, query by query and largest first.
    """

    query: Pairs
    gain: PairFloats
    score: PairFloats
    above: Pairs
    equal: Pairs
    relevant_above: Pairs
    relevant_equal: Pairs
    n_relevant: QueryCounts
    ideal: Float64[np.ndarray, "judged"]


class Both(NamedTuple):
    """Texts that look for their image, and images that look for their texts."""

    t2i: Ranks
    i2t: Ranks


def ranks(queries: QueryRows, docs: DocRows, relevant: Relevant) -> Ranks:
    """The ranks of one direction."""
    scores = queries.astype(np.float64) @ docs.astype(np.float64).T
    ties = TIE * _norms(queries) * _norms(docs).max()
    n_queries = len(queries)
    better = np.zeros(n_queries, dtype=np.int64)
    tied = np.zeros(n_queries, dtype=np.int64)
    tied_relevant = np.zeros(n_queries, dtype=np.int64)
    best_scores = np.zeros(n_queries, dtype=np.float32)
    ndcg10 = np.zeros(n_queries)
    for query, tie in enumerate(ties):
        row = scores[query]
        is_relevant = np.isin(np.arange(len(docs)), relevant.docs_of(query))
        best = row[is_relevant].max()
        above = row > best + tie
        equal = np.abs(row - best) <= tie
        better[query] = np.sum(above & ~is_relevant)
        tied[query] = np.sum(equal & ~is_relevant)
        tied_relevant[query] = np.sum(equal & is_relevant)
        best_scores[query] = best
        ndcg10[query] = _ndcg10(row, is_relevant, tie)
    return Ranks(better, tied, tied_relevant, best_scores, ndcg10)


def places(queries: QueryRows, docs: DocRows, relevant: Relevant, gains: PairFloats) -> Places:
    """The places of all relevant documents, whose gains are in the order of `relevant`."""
    scores = queries.astype(np.float64) @ docs.astype(np.float64).T
    ties = TIE * _norms(queries) * _norms(docs).max()
    pair_scores = scores[relevant.queries, relevant.docs]
    order = np.lexsort((-pair_scores, relevant.queries))
    above, equal, relevant_above, relevant_equal = np.zeros((4, len(order)), dtype=np.int64)
    for place, pair in enumerate(order):
        query, score = int(relevant.queries[pair]), pair_scores[pair]
        is_relevant = np.isin(np.arange(len(docs)), relevant.docs_of(query))
        is_above = scores[query] > score + ties[query]
        is_equal = np.abs(scores[query] - score) <= ties[query]
        above[place] = np.sum(is_above)
        equal[place] = np.sum(is_equal)
        relevant_above[place] = np.sum(is_above & is_relevant)
        relevant_equal[place] = np.sum(is_equal & is_relevant)
    return Places(
        query=relevant.queries[order],
        gain=gains[order],
        score=pair_scores[order],
        above=above,
        equal=equal,
        relevant_above=relevant_above,
        relevant_equal=relevant_equal,
        n_relevant=relevant.counts,
        ideal=gains[np.lexsort((-gains, relevant.queries))],
    )


def cross_ranks(images: DocRows, texts: TextRows, t2i: Relevant) -> Both:
    """The ranks of both directions: two calls of `ranks`, with texts and then images as queries."""
    i2t = t2i.inverse(len(images))
    return Both(ranks(texts, images, t2i), ranks(images, texts, i2t))


def _ndcg10(
    scores: Float64[np.ndarray, "n"], is_relevant: Bool[np.ndarray, "n"], tie: float
) -> float:
    """A relevant document gains the mean discount of the places that its equals take up."""
    gain = 0.0
    for score in scores[is_relevant]:
        above = np.sum(scores > score + tie)
        group = np.sum(np.abs(scores - score) <= tie)
        # places after the tenth have no discount, and add nothing to the sum
        gain += DISCOUNT[above : above + group].sum() / group
    # the best that there is: all relevant documents first
    ideal = DISCOUNT[: is_relevant.sum()].sum()
    return float(gain / ideal)


def _norms(rows: DocRows) -> RowNorms:
    lengths: np.ndarray = np.linalg.norm(rows.astype(np.float64), axis=1)
    return lengths
