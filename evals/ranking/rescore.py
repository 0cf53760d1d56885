"""Retrieval in two stages: candidates by whole-number scores of quantised rows, then the order of their float32 rows.

Shapes: q queries, n documents, d dimensions, c queries of a chunk, k candidates.
"""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from evals.ranking.definition import DEPTH, GAIN, TIE, Ranks
from evals.ranking.products import pair_scores
from evals.ranking.relevance import Relevant

ROWS = 256  # queries scored at once


def rescored(
    coarse: Ranks,
    quantised: tuple[Float32[np.ndarray, "q d"], Float32[np.ndarray, "n d"]],
    exact: tuple[Float32[np.ndarray, "q d"], Float32[np.ndarray, "n d"]],
    relevant: Relevant,
    candidates: int,
) -> Ranks:
    """The ranks when the best `candidates` documents by quantised score are put in the order of their float32 scores.

    `coarse` are the ranks by quantised score; `quantised` and `exact` are queries and documents, the first of whole numbers.
    The documents that are no candidates follow in quantised order. Of documents with equal quantised score at the cut the
    earlier ones are candidates. `candidates` is 10 or more, so that nDCG@10 sees no other. A query whose relevant documents
    are all missed has its quantised `score`.
    """
    if candidates < DEPTH:
        raise ValueError(f"cannot rescore fewer than {DEPTH} candidates")
    (queries, docs), n = exact, min(candidates, len(exact[1]))
    # all relevant documents missed: the candidates, none of them relevant, come first; those that tied left the tie
    better, tied = np.maximum(coarse.better, n), coarse.tied - np.maximum(n - coarse.better, 0)
    out = Ranks(
        better, tied, coarse.tied_relevant.copy(), coarse.score.copy(), np.zeros(len(coarse))
    )
    for start in range(0, len(queries), ROWS):
        rows = np.arange(start, min(start + ROWS, len(queries)))
        found = _candidates(quantised[0][rows], quantised[1], n)
        own = _is_relevant(relevant, rows, found)
        scores = pair_scores(queries, docs, np.repeat(rows, n), found.ravel()).reshape(found.shape)
        _fill(out, rows, scores, own, relevant.counts[rows])
    return out


def _candidates(
    queries: Float32[np.ndarray, "c d"], docs: Float32[np.ndarray, "n d"], k: int
) -> Int64[np.ndarray, "c k"]:
    """The k best documents of each query, in no order; of equals the earlier ones."""
    scores = queries.astype(np.float64) @ docs.T.astype(np.float64)
    keys = scores * len(docs) - np.arange(len(docs))  # whole numbers below 2^53: no two are equal
    chosen: np.ndarray = np.argpartition(-keys, k - 1, axis=1)[:, :k]
    return chosen


def _is_relevant(
    relevant: Relevant, rows: Int64[np.ndarray, "c"], found: Int64[np.ndarray, "c k"]
) -> Bool[np.ndarray, "c k"]:
    pairs = slice(relevant.indptr[rows[0]], relevant.indptr[rows[-1] + 1])
    width = int(max(found.max(initial=0), relevant.docs[pairs].max(initial=0))) + 1
    known = relevant.queries[pairs] * width + relevant.docs[pairs]
    return np.isin(rows[:, None] * width + found, known)


def _fill(
    out: Ranks,
    rows: Int64[np.ndarray, "c"],
    scores: Float64[np.ndarray, "c k"],
    own: Bool[np.ndarray, "c k"],
    n_relevant: Int64[np.ndarray, "c"],
) -> None:
    """Set what the candidates decide, for the queries with a relevant one among them."""
    hit = own.any(axis=1)
    rows, scores, own = rows[hit], scores[hit], own[hit]
    best = np.where(own, scores, -np.inf).max(axis=1)[:, None]
    near = np.abs(scores - best) <= TIE
    out.better[rows] = (~own & (scores > best + TIE)).sum(axis=1)
    out.tied[rows] = (~own & near).sum(axis=1)
    out.tied_relevant[rows] = (own & near).sum(axis=1)
    out.score[rows] = best[:, 0]
    at, place = np.nonzero(own)
    score = scores[at, place][:, None]
    above, group = (
        (scores[at] > score + TIE).sum(axis=1),
        (np.abs(scores[at] - score) <= TIE).sum(axis=1),
    )
    gains = (GAIN[np.minimum(above + group, DEPTH)] - GAIN[np.minimum(above, DEPTH)]) / group
    dcg = np.bincount(at, weights=gains, minlength=len(rows))
    out.ndcg10[rows] = dcg / GAIN[np.minimum(n_relevant[hit], DEPTH)]
