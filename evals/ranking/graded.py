"""What the places of relevant documents are worth: trec_eval's measures, with ties in expectation.

nDCG, average precision, recall, precision, success and reciprocal rank, at a cut-off k or over the
whole ranking (None). Definitions are those of trec_eval (https://github.com/usnistgov/trec_eval):
the gain of a document is its grade, and a grade of 1 or more is relevant. trec_eval orders equal
scores by document id; here they stand in random order, and a measure is its mean over all orders
(McSherry & Najork 2008). Where no scores are equal, both are the same number.

A relevant document with n documents above it and s of its score (itself included) stands at each of
the places n + 1 ... n + s with chance 1 / s.

Shapes: q queries, pairs of a query and a document relevant to it.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from evals.ranking.definition import Places, Ranks
from evals.ranking.metrics import hit_at, reciprocal_rank
from evals.ranking.shapes import PairFloats, Pairs, QueryFloats

# documents above one that a search has not returned: more than any gallery, and what a record holds
NOWHERE = 2**50


def ndcg(places: Places, k: int | None = None) -> QueryFloats:
    """Sum of gain / log2(place + 1) up to place k, over that of the best order."""
    # m_ndcg_cut.c of trec_eval: gains are the grades themselves, not 2^grade - 1
    gains = places.gain * _mean_discount(places.above, places.equal, k)
    counts = places.n_relevant
    query = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(query)) - (np.cumsum(counts) - counts)[query]
    ideal = places.ideal * _mean_discount(place, np.ones_like(place), k)
    best = _sums(query, ideal, len(counts))
    dcg = _sums(places.query, gains, len(counts))
    # rounding of means over equal scores may exceed the best order by its last bit
    value: np.ndarray = np.minimum(dcg / np.where(best > 0, best, 1.0), 1.0)
    return value


def average_precision(places: Places, k: int | None = None) -> QueryFloats:
    """Mean over the relevant documents of the precision at their place, 0 for those beyond k.

    In a group of s equal documents of which r are relevant, behind n documents of which p are, the
    document at place n + j + 1 that is relevant has p + 1 + j (r - 1) / (s - 1) relevant ones up to
    it. The sum over j of 1 / (n + j + 1) is a difference of harmonic numbers.
    """
    inside = _inside(places.above, places.equal, k)
    # alone with its score a document has one place: no difference of sums, no rounding
    alone = (places.relevant_above + 1) / (places.above + 1)
    precisions = np.where(inside > 0, alone, 0.0)
    tied = np.flatnonzero((places.equal > 1) & (inside > 0))
    n, s = places.above[tied], places.equal[tied]
    p, r = places.relevant_above[tied], places.relevant_equal[tied]
    harmonic = _harmonic(n, inside[tied])
    among_equals = (r - 1) / (s - 1)
    sums = (p + 1) * harmonic + among_equals * (inside[tied] - (n + 1) * harmonic)
    precisions[tied] = sums / s
    value: np.ndarray = _sums(places.query, precisions, len(places.n_relevant)) / _to_find(places)
    return value


def recall(places: Places, k: int) -> QueryFloats:
    """Share of the relevant documents that are among the first k."""
    value: np.ndarray = _hits(places, k) / _to_find(places)
    return value


def precision(places: Places, k: int) -> QueryFloats:
    """Share of the first k places that relevant documents take."""
    value: np.ndarray = _hits(places, k) / k
    return value


def success(places: Places, k: int) -> QueryFloats:
    """P(a relevant document is among the first k)."""
    return hit_at(_best(places), k)


def first_reciprocal(places: Places, k: int | None = None) -> QueryFloats:
    """1 / place of the first relevant document, 0 when that is beyond k."""
    return reciprocal_rank(_best(places), k)


def best_ranks(places: Places) -> Ranks:
    """The ranks of the best relevant document of each query, with graded gains in `ndcg10`."""
    return replace(_best(places), ndcg10=ndcg(places, 10))


def _best(places: Places) -> Ranks:
    """The ranks of the best relevant document of each query, NOWHERE if none was returned."""
    n_queries = len(places.n_relevant)
    # entries of a query are sorted by score: the first is the best
    queries, first = np.unique(places.query, return_index=True)
    better = np.full(n_queries, NOWHERE)
    tied, tied_relevant = np.zeros(n_queries, dtype=np.int64), np.ones(n_queries, dtype=np.int64)
    score = np.zeros(n_queries, dtype=np.float32)
    better[queries] = places.above[first]
    tied[queries] = places.equal[first] - places.relevant_equal[first]
    tied_relevant[queries] = places.relevant_equal[first]
    score[queries] = places.score[first]
    return Ranks(better, tied, tied_relevant, score, np.zeros(n_queries))


def _inside(above: Pairs, equal: Pairs, k: int | None) -> Pairs:
    """How many of the places of a group are among the first k."""
    return equal if k is None else np.clip(k - above, 0, equal)


def _hits(places: Places, k: int) -> QueryFloats:
    """How many relevant documents are among the first k."""
    chances = _inside(places.above, places.equal, k) / places.equal
    return _sums(places.query, chances, len(places.n_relevant))


def _to_find(places: Places) -> QueryFloats:
    """How many documents there are to find; 1 where there are none, and every sum is 0."""
    count: np.ndarray = np.maximum(places.n_relevant, 1).astype(np.float64)
    return count


def _mean_discount(above: Pairs, equal: Pairs, k: int | None) -> PairFloats:
    """The mean of 1 / log2(place + 1) over the places of each document, 0 beyond k."""
    inside = _inside(above, equal, k)
    value = np.where(inside > 0, 1 / np.log2(above + 2), 0.0)
    tied = np.flatnonzero((equal > 1) & (inside > 0))
    if tied.size:
        last = above[tied] + inside[tied]
        discounts = 1 / np.log2(np.arange(2, int(last.max()) + 2))
        sums = np.concatenate([[0.0], np.cumsum(discounts)])
        value[tied] = (sums[last] - sums[above[tied]]) / equal[tied]
    return value


def _harmonic(n: Pairs, count: Pairs) -> PairFloats:
    """1 / (n + 1) + ... + 1 / (n + count)."""
    if not len(n):
        return np.zeros(0)
    from scipy.special import digamma

    value: np.ndarray = digamma(n + count + 1.0) - digamma(n + 1.0)
    return value


def _sums(query: Pairs, values: PairFloats, n_queries: int) -> Float64[np.ndarray, "q"]:
    """The sum of each query's values, added in their order."""
    sums: np.ndarray = np.bincount(query, weights=values, minlength=n_queries)
    return sums.astype(np.float64)  # of nothing at all they are whole numbers
