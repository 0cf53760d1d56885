"""Retrieval metrics query by query from blocks of hits, as mteb has them, and the interval of a rank correlation.

Nothing of mteb is imported here: `evals.mteb_bridge.bridge` makes mteb's final dictionary from these arrays. The definitions are
those of trec_eval (https://github.com/usnistgov/trec_eval): hits in the order of score, then of document id, both descending;
gain of a document its grade, 0 when that is negative; relevant from grade 1 on.
Shapes: c queries of a block, k hits, q queries, n pairs, s resamples.
"""

from collections.abc import Iterable, Mapping, Sequence
from heapq import heappush, heappushpop
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int

Qrels = Mapping[str, Mapping[str, int]]


class QueryScores(NamedTuple):
    """Metrics by the names that mteb's code gives them (`NDCG@10`, `MRR@1` …) and its three confidences, one value a query."""

    metrics: dict[str, Float64[np.ndarray, "q"]]
    confidence: dict[str, Float64[np.ndarray, "q"]]


class _Ranked(NamedTuple):
    """Hits in some order; `valid` is False where a query has fewer hits than k, always at the end of its row."""

    docs: Int[np.ndarray, "c k"]
    scores: Float64[np.ndarray, "c k"]
    valid: Bool[np.ndarray, "c k"]


def score_hits(
    blocks: Iterable[Any],
    query_ids: Sequence[str],
    doc_ids: Sequence[str],
    qrels: Qrels,
    k_values: Sequence[int],
    *,
    depth: int | None = None,
    ignore_identical_ids: bool = False,
    skip_first_result: bool = False,
) -> QueryScores:
    """Metrics of every query, block by block: the memory grows by some hundred bytes a query, not by its hits.

    A block has `first` (the index of its first query), `docs` (indices into `doc_ids`, -1 for no hit) and `scores`, both [c, k];
    the blocks come in the order of the queries and hold all of them. Only the first `depth` hits of a query count; of these
    its own id is dropped if asked, and then the first. Every query has an entry in `qrels`.
    """
    judged = _positions(doc_ids, qrels)
    own = (
        _positions(doc_ids, {query: {query: 1} for query in query_ids})
        if ignore_identical_ids
        else {}
    )
    metrics: dict[str, list[np.ndarray]] = {}
    confidence: dict[str, list[np.ndarray]] = {}
    for block in blocks:
        ids = query_ids[block.first : block.first + len(block.docs)]
        ranked = _in_heap(block, depth or block.docs.shape[1], doc_ids)
        if ignore_identical_ids:
            ranked = _without(ranked, np.array([own.get(query, -2) for query in ids]))
        if skip_first_result:
            ranked = _Ranked(*(values[:, 1:] for values in _by_score(ranked)))
        gains = _gains(_in_order(ranked, doc_ids), ids, qrels, judged)
        for name, values in _metrics(gains, [qrels[query] for query in ids], k_values).items():
            metrics.setdefault(name, []).append(values)
        for name, values in _confidences(ranked).items():
            confidence.setdefault(name, []).append(values)
    return QueryScores(
        *(
            {name: np.concatenate(parts) for name, parts in found.items()}
            for found in (metrics, confidence)
        )
    )


def _positions(doc_ids: Sequence[str], wanted: Qrels) -> dict[str, int]:
    """Where the documents named in `wanted` are; one dictionary of all documents would be larger than all that is computed."""
    named = {doc for docs in wanted.values() for doc in docs}
    return {doc: index for index, doc in enumerate(doc_ids) if doc in named}


def _in_heap(block: Any, depth: int, doc_ids: Sequence[str]) -> _Ranked:
    """The best `depth` hits of a block in the order in which mteb's heap of (score, id) leaves them.

    The order decides which of equal scores are kept and skipped, and the last bits of a standard deviation, by which queries
    with the same scores tie or not in nAUC. Where scores fall strictly it depends on their number alone.
    """
    width = min(depth, block.docs.shape[1])
    scores = np.asarray(block.scores, dtype=np.float64)
    order = np.array(heap_order([(-float(i), "") for i in range(width)], depth), dtype=np.int64)
    ranked = _Ranked(
        *(np.ascontiguousarray(x[:, order]) for x in (block.docs, scores, block.docs >= 0))
    )
    falling = (scores[:, 1:] < scores[:, :-1]).all(axis=1) & (block.docs >= 0).all(axis=1)
    for row in np.flatnonzero(~falling):
        own = np.flatnonzero(block.docs[row] >= 0)
        docs = block.docs[row, own]
        keys = zip(scores[row, own].tolist(), (doc_ids[doc] for doc in docs.tolist()), strict=True)
        best = heap_order(list(keys), depth)
        ranked.docs[row, : len(best)], ranked.scores[row, : len(best)] = (
            docs[best],
            scores[row, own[best]],
        )
        ranked.valid[row] = np.arange(width) < len(best)
    return ranked


def heap_order(keys: Sequence[tuple[float, str]], depth: int) -> list[int]:
    """Where the best `depth` of the keys (score, id) were, in the order in which a heap leaves them."""
    heap: list[tuple[float, str, int]] = []
    for index, (score, name) in enumerate(keys):
        (heappush if len(heap) < depth else heappushpop)(heap, (score, name, index))
    return [index for _, _, index in heap]


def _by_score(ranked: _Ranked) -> _Ranked:
    order = np.argsort(-np.where(ranked.valid, ranked.scores, -np.inf), axis=1, kind="stable")
    return _Ranked(*(np.take_along_axis(values, order, axis=1) for values in ranked))


def _in_order(ranked: _Ranked, doc_ids: Sequence[str]) -> _Ranked:
    """In trec_eval's order; only rows with equal scores need the ids, which are compared as strings."""
    docs, scores, valid = _by_score(ranked)
    tied = ((scores[:, 1:] == scores[:, :-1]) & valid[:, 1:]).any(axis=1)
    for row in np.flatnonzero(tied):
        n = int(valid[row].sum())
        keys = list(
            zip(
                scores[row, :n].tolist(),
                (doc_ids[doc] for doc in docs[row, :n].tolist()),
                strict=True,
            )
        )
        docs[row, :n] = docs[row, sorted(range(n), key=keys.__getitem__, reverse=True)]
    return _Ranked(docs, scores, valid)


def _without(ranked: _Ranked, doc_of_query: Int[np.ndarray, "c"]) -> _Ranked:
    """The hits but for one document of each query; what follows moves up."""
    gone = ranked.valid & (ranked.docs == doc_of_query[:, None])
    order = np.argsort(gone | ~ranked.valid, axis=1, kind="stable")
    kept = (ranked.docs, ranked.scores, ranked.valid & ~gone)
    return _Ranked(*(np.take_along_axis(values, order, axis=1) for values in kept))


def _gains(
    ranked: _Ranked, ids: Sequence[str], qrels: Qrels, judged: Mapping[str, int]
) -> Float64[np.ndarray, "c k"]:
    """The grade of each hit, 0 where it is not judged or negative."""
    gains = np.zeros(ranked.docs.shape)
    for row, query in enumerate(ids):
        grades = {
            judged[doc]: grade for doc, grade in qrels[query].items() if grade > 0 and doc in judged
        }
        if grades:
            docs = np.array(sorted(grades))
            found = np.minimum(np.searchsorted(docs, ranked.docs[row]), len(docs) - 1)
            hit = (docs[found] == ranked.docs[row]) & ranked.valid[row]
            gains[row, hit] = np.array([grades[int(doc)] for doc in docs])[found[hit]]
    return gains


def _metrics(
    gains: Float64[np.ndarray, "c k"], judged: Sequence[Mapping[str, int]], k_values: Sequence[int]
) -> dict[str, Any]:
    """All cut-offs at once, from running sums along the hits; a cut-off beyond the hits sees all of them."""
    depth = max(k_values)
    gains = np.pad(gains[:, :depth], ((0, 0), (0, max(0, depth - gains.shape[1]))))
    ranks = np.arange(1, depth + 1)
    relevant = gains > 0
    discount = 1 / np.log2(ranks + 1)
    ideal = np.zeros_like(gains)
    for row, grades in enumerate(judged):
        best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:depth]
        ideal[row, : len(best)] = best
    total = np.array([sum(grade > 0 for grade in grades.values()) for grades in judged])
    n_relevant = np.maximum(total, 1)[:, None]  # without a relevant document every numerator is 0
    hits = np.cumsum(relevant, axis=1)
    best_gain = np.cumsum(ideal * discount, axis=1)
    first = np.where(relevant.any(axis=1), relevant.argmax(axis=1), depth)
    runs = {
        "NDCG": np.cumsum(gains * discount, axis=1) / np.where(best_gain > 0, best_gain, 1),
        "MAP": np.cumsum(np.where(relevant, hits / ranks, 0), axis=1) / n_relevant,
        "Recall": hits / n_relevant,
        "P": hits / ranks,
        "MRR": np.where(ranks > first[:, None], 1 / (first[:, None] + 1), 0),
        "HitRate": (hits > 0).astype(np.float64),
    }
    return {
        f"{name}@{k}": values[:, k - 1].copy() for name, values in runs.items() for k in k_values
    }


def _confidences(ranked: _Ranked) -> dict[str, Float64[np.ndarray, "c"]]:
    """How sure each query's scores look: the best, their standard deviation, and the best minus the second; 0 without hits."""
    n = ranked.valid.sum(axis=1)
    scores = np.pad(
        np.where(ranked.valid, ranked.scores, -np.inf), ((0, 0), (2, 0)), constant_values=-np.inf
    )
    second, best = np.partition(scores, (-2, -1), axis=1)[:, -2:].T
    spread = ranked.scores.std(axis=1) if ranked.scores.shape[1] else np.zeros(len(n))
    for row in np.flatnonzero(n < ranked.valid.shape[1]):
        spread[row] = ranked.scores[row, : n[row]].std() if n[row] else 0.0
    difference = np.zeros(len(n))
    np.subtract(best, second, out=difference, where=n > 1)
    return {"max": np.where(n > 0, best, 0.0), "std": spread, "diff1": difference}
