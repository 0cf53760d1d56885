"""Retrieval in two stages: candidates by quantised rows, ranked again by their float32 rows.

Only the candidates are scored again, as an index of int8 or binary vectors would have it; all other
ranks are taken from the counts of the first stage. No benchmark times it by itself.

Shapes: q queries, n documents, d dimensions, c queries of a chunk, k candidates, pairs of a query
and a relevant candidate.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from evals.ranking.definition import DEPTH, GAIN, TIE, Ranks
from evals.ranking.products import pair_scores
from evals.ranking.relevance import Relevant

ROWS = 256  # queries scored at once


class Rows(NamedTuple):
    """The rows of queries and documents."""

    queries: Float32[np.ndarray, "q d"]
    docs: Float32[np.ndarray, "n d"]


def rescored(
    coarse: Ranks, quantised: Rows, exact: Rows, relevant: Relevant, candidates: int
) -> Ranks:
    """The ranks when the best documents by quantised score are put in the order of float32 scores.

    `coarse` are the ranks by quantised score; quantised rows hold whole numbers. The documents that
    are no candidates follow in quantised order. Of documents with equal quantised score at the cut
    the earlier ones are candidates. A query whose relevant documents are all missed has its
    quantised `score`. Raises ValueError for fewer than 10 candidates: nDCG@10 would see others.
    """
    if candidates < DEPTH:
        raise ValueError(f"cannot rescore fewer than {DEPTH} candidates")
    k = min(candidates, len(exact.docs))
    # where all relevant documents are missed, the candidates, all irrelevant, come first;
    # those of them that tied with the best relevant one have left the tie
    better, tied = np.maximum(coarse.better, k), coarse.tied - np.maximum(k - coarse.better, 0)
    tied_relevant, score = coarse.tied_relevant.copy(), coarse.score.copy()
    ranks = Ranks(better, tied, tied_relevant, score, np.zeros(len(coarse)))
    for start in range(0, len(exact.queries), ROWS):
        queries = np.arange(start, min(start + ROWS, len(exact.queries)))
        chosen = _candidates(quantised.queries[queries], quantised.docs, k)
        scores = pair_scores(exact.queries, exact.docs, np.repeat(queries, k), chosen.ravel())
        is_relevant = _is_relevant(relevant, queries, chosen)
        n_relevant = relevant.counts[queries]
        _fill(ranks, queries, scores.reshape(chosen.shape), is_relevant, n_relevant)
    return ranks


def _candidates(
    queries: Float32[np.ndarray, "c d"], docs: Float32[np.ndarray, "n d"], k: int
) -> Int64[np.ndarray, "c k"]:
    """The k best documents of each query, in no order; of equals the earlier ones."""
    scores = queries.astype(np.float64) @ docs.T.astype(np.float64)
    keys = scores * len(docs) - np.arange(len(docs))  # whole numbers below 2^53: no two are equal
    chosen: np.ndarray = np.argpartition(-keys, k - 1, axis=1)[:, :k]
    return chosen


def _is_relevant(
    relevant: Relevant, queries: Int64[np.ndarray, "c"], candidates: Int64[np.ndarray, "c k"]
) -> Bool[np.ndarray, "c k"]:
    """Which candidates are relevant; `queries` follow each other."""
    pairs = slice(relevant.indptr[queries[0]], relevant.indptr[queries[-1] + 1])
    docs = relevant.docs[pairs]
    # a pair of a query and a document as one whole number
    width = int(max(candidates.max(initial=0), docs.max(initial=0))) + 1
    relevant_pairs = relevant.queries[pairs] * width + docs
    return np.isin(queries[:, None] * width + candidates, relevant_pairs)


def _fill(
    ranks: Ranks,
    queries: Int64[np.ndarray, "c"],
    scores: Float64[np.ndarray, "c k"],
    is_relevant: Bool[np.ndarray, "c k"],
    n_relevant: Int64[np.ndarray, "c"],
) -> None:
    """Set what the candidates decide, for the queries with a relevant one among them."""
    hit = is_relevant.any(axis=1)
    queries, scores, is_relevant = queries[hit], scores[hit], is_relevant[hit]
    best = np.where(is_relevant, scores, -np.inf).max(axis=1)[:, None]
    equal = np.abs(scores - best) <= TIE
    ranks.better[queries] = (~is_relevant & (scores > best + TIE)).sum(axis=1)
    ranks.tied[queries] = (~is_relevant & equal).sum(axis=1)
    ranks.tied_relevant[queries] = (is_relevant & equal).sum(axis=1)
    ranks.score[queries] = best[:, 0]
    row, place = np.nonzero(is_relevant)
    score, rivals = scores[row, place][:, None], scores[row]
    above = (rivals > score + TIE).sum(axis=1)
    group = (np.abs(rivals - score) <= TIE).sum(axis=1)
    gains = (GAIN[np.minimum(above + group, DEPTH)] - GAIN[np.minimum(above, DEPTH)]) / group
    dcg = np.bincount(row, weights=gains, minlength=len(queries))
    ranks.ndcg10[queries] = dcg / GAIN[np.minimum(n_relevant[hit], DEPTH)]
