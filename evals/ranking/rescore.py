"""Retrieval in two stages: candidates by quantised rows, ranked again by their float32 rows.

Only the candidates are scored again, as an index of int8 or binary vectors would have it; all other
ranks are taken from the counts of the first stage. No benchmark times it by itself.

Shapes: q queries, n documents, d dimensions, c queries of a chunk, k candidates, pairs of a query
and a relevant candidate.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from evals.ranking.definition import DEPTH, GAIN, TIE, Ranks, gain_of_places
from evals.ranking.products import pair_scores
from evals.ranking.relevance import Relevant
from evals.ranking.shapes import BlockQueries, DocRows, QueryRows

ROWS = 256  # queries scored at once


class Rows(NamedTuple):
    """The rows of queries and documents."""

    queries: QueryRows
    docs: DocRows


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
    parts = []
    for start in range(0, len(exact.queries), ROWS):
        queries = np.arange(start, min(start + ROWS, len(exact.queries)))
        best = Candidates(len(queries), k, len(exact.docs))
        best.add(quantised.queries[queries], quantised.docs, 0)
        chosen = best.docs()
        pair_queries = np.repeat(queries, k)
        scores = pair_scores(exact.queries, exact.docs, pair_queries, chosen.ravel())
        parts.append(Rescored(chosen, scores.reshape(chosen.shape)))
    return with_candidates(coarse, parts, relevant)


class Rescored(NamedTuple):
    """The candidates of some queries, and their scores by float32 rows."""

    docs: Int64[np.ndarray, "c k"]
    scores: Float64[np.ndarray, "c k"]


def with_candidates(coarse: Ranks, parts: Iterable[Rescored], relevant: Relevant) -> Ranks:
    """The ranks when the candidates come first; the parts hold all queries, in their order."""
    ranks = Ranks(
        better=coarse.better.copy(),
        tied=coarse.tied.copy(),
        tied_relevant=coarse.tied_relevant.copy(),
        score=coarse.score.copy(),
        ndcg10=np.zeros(len(coarse)),
    )
    start = 0
    for chosen, scores in parts:
        queries = np.arange(start, start + len(chosen))
        k = chosen.shape[1]
        # where all relevant documents are missed, the candidates, all irrelevant, come first;
        # those of them that tied with the best relevant one have left the tie
        ranks.better[queries] = np.maximum(coarse.better[queries], k)
        ranks.tied[queries] -= np.maximum(k - coarse.better[queries], 0)
        is_relevant = _is_relevant(relevant, queries, chosen)
        _fill(ranks, queries, scores, is_relevant, relevant.counts[queries])
        start += len(chosen)
    return ranks


class Candidates:
    """The k best documents of some queries by quantised score so far; of equals the earlier ones."""

    def __init__(self, n_queries: int, k: int, n_docs: int) -> None:
        self.k, self.n_docs = k, n_docs
        self._keys = np.empty((n_queries, 0))

    def add(self, queries: BlockQueries, docs: DocRows, first: int) -> None:
        """Take in the documents from number `first` on."""
        scores = queries.astype(np.float64) @ docs.T.astype(np.float64)
        # whole numbers below 2^53: no two are equal, and of equal scores the earlier document has more
        keys = scores * self.n_docs - np.arange(first, first + len(docs))
        keys = np.concatenate([self._keys, keys], axis=1)
        if keys.shape[1] > self.k:
            keys = -np.partition(-keys, self.k - 1, axis=1)[:, : self.k]
        self._keys = keys

    def docs(self) -> Int64[np.ndarray, "c k"]:
        """Their numbers in ascending order, which is that of every sum over them."""
        numbers: np.ndarray = np.sort(np.mod(-self._keys, self.n_docs).astype(np.int64), axis=1)
        return numbers


def _is_relevant(
    relevant: Relevant, queries: Int64[np.ndarray, "c"], candidates: Int64[np.ndarray, "c k"]
) -> Bool[np.ndarray, "c k"]:
    """Which candidates are relevant; `queries` follow each other."""
    pairs = slice(relevant.indptr[queries[0]], relevant.indptr[queries[-1] + 1])
    docs = relevant.docs[pairs]
    # a pair of a query and a document as one whole number
    width = int(max(candidates.max(initial=0), docs.max(initial=0))) + 1
    relevant_pairs = relevant.queries[pairs] * width + docs
    candidate_pairs = queries[:, None] * width + candidates
    return np.isin(candidate_pairs, relevant_pairs)


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
    # Exact rows are unit rows, so TIE is the margin without the norms of definition.py.
    above_best = scores > best + TIE
    equal = np.abs(scores - best) <= TIE
    ranks.better[queries] = (above_best & ~is_relevant).sum(axis=1)
    ranks.tied[queries] = (equal & ~is_relevant).sum(axis=1)
    ranks.tied_relevant[queries] = (equal & is_relevant).sum(axis=1)
    ranks.score[queries] = best[:, 0]
    # a row per relevant candidate: it gains the mean of what its group of equals gains
    row, place = np.nonzero(is_relevant)
    score = scores[row, place][:, None]
    rivals = scores[row]
    above = (rivals > score + TIE).sum(axis=1)
    group = (np.abs(rivals - score) <= TIE).sum(axis=1)
    gains = gain_of_places(above, group) / group
    dcg = np.bincount(row, weights=gains, minlength=len(queries))
    ranks.ndcg10[queries] = dcg / GAIN[np.minimum(n_relevant[hit], DEPTH)]
