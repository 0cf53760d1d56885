"""Retrieval metrics query by query, from blocks of hits, as mteb computes them from whole results.

Nothing of mteb is imported here. Measures are those of evals.ranking.graded, as trec_eval has
them, which mteb calls. Its order is kept too: hits by score, then by document id, both descending.
The gain of a document is its grade, or 0 when that is negative; relevant it is from grade 1 on.

Shapes: c queries of a block, k hits per query, q queries.
"""

from collections.abc import Iterable, Mapping, Sequence
from heapq import heappush, heappushpop
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int

from evals.ranking import graded
from evals.ranking.best_docs import Hits
from evals.ranking.definition import Places

Qrels = Mapping[str, Mapping[str, int]]
# By mteb's names.
MEASURES = {
    "NDCG": graded.ndcg,
    "MAP": graded.average_precision,
    "Recall": graded.recall,
    "P": graded.precision,
    "MRR": graded.first_reciprocal,
    "HitRate": graded.success,
}
NO_DOCUMENT = -2  # in place of an index, where a query's id is not that of a document


class QueryScores(NamedTuple):
    """One value per query: metrics by mteb's names (`NDCG@10`, `MRR@1`), and its confidences."""

    metrics: dict[str, Float64[np.ndarray, "q"]]
    confidences: dict[str, Float64[np.ndarray, "q"]]


class Ranked(NamedTuple):
    """Hits in some order; `valid` is False past the last hit of a query, at the end of its row."""

    docs: Int[np.ndarray, "c k"]
    scores: Float64[np.ndarray, "c k"]
    valid: Bool[np.ndarray, "c k"]

    def ordered(self, order: Int[np.ndarray, "c k"]) -> "Ranked":
        """The hits of each row in this order."""
        return Ranked(*(np.take_along_axis(values, order, axis=1) for values in self))


def score_hits(
    blocks: Iterable[Hits],
    query_ids: Sequence[str],
    doc_ids: Sequence[str],
    qrels: Qrels,
    k_values: Sequence[int],
    *,
    depth: int | None = None,
    ignore_identical_ids: bool = False,
    skip_first_result: bool = False,
) -> QueryScores:
    """Metrics of every query, block by block.

    Memory grows by some hundred bytes per query, not by its hits. `docs` of a block are indices
    into `doc_ids`, or -1 where a query has no more hits; the blocks come in the order of the
    queries and hold all of them. Only the first `depth` hits of a query count. Of these the
    document with the query's own id is dropped if `ignore_identical_ids`, and then the first if
    `skip_first_result`. Every query has an entry in `qrels`. A
    document counts once for a query, also where candidates or documents are listed twice.
    """
    same_id = _last_of_same_id(doc_ids)
    positions = _positions(doc_ids, {doc for grades in qrels.values() for doc in grades})
    namesakes = _positions(doc_ids, set(query_ids)) if ignore_identical_ids else {}
    metrics: dict[str, list[np.ndarray]] = {}
    confidences: dict[str, list[np.ndarray]] = {}
    # The order of these steps is that of mteb's RetrievalEvaluator.evaluate (2.26).
    for block in blocks:
        ids = query_ids[block.first : block.first + len(block.docs)]
        ranked = _as_mtebs_heap(block, depth or block.docs.shape[1], doc_ids)
        if same_id is not None:
            ranked = ranked._replace(docs=np.where(ranked.valid, same_id[ranked.docs], -1))
        ranked = _each_once(ranked)
        if ignore_identical_ids:
            ranked = _without(ranked, np.array([namesakes.get(id_, NO_DOCUMENT) for id_ in ids]))
        if skip_first_result:
            ranked = Ranked(*(values[:, 1:] for values in _by_score(ranked)))
        judgements = [qrels[query] for query in ids]
        gains = _gains(_in_trec_order(ranked, doc_ids), judgements, positions)
        for name, values in _metrics(gains, judgements, k_values).items():
            metrics.setdefault(name, []).append(values)
        for name, values in _confidences(ranked).items():
            confidences.setdefault(name, []).append(values)
    return QueryScores(_joined(metrics), _joined(confidences))


def heap_order(keys: Sequence[tuple[float, str]], depth: int) -> list[int]:
    """Where the best `depth` keys (score, id) were, in the order in which a heap leaves them."""
    heap: list[tuple[float, str, int]] = []
    for index, (score, name) in enumerate(keys):
        push = heappush if len(heap) < depth else heappushpop
        push(heap, (score, name, index))
    return [index for _, _, index in heap]


def _positions(doc_ids: Sequence[str], wanted_ids: set[str]) -> dict[str, int]:
    """Where these documents are. One dictionary of all documents would outweigh all the rest."""
    return {doc: index for index, doc in enumerate(doc_ids) if doc in wanted_ids}


def _joined(parts: Mapping[str, Sequence[np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate(blocks) for name, blocks in parts.items()}


def _as_mtebs_heap(block: Hits, depth: int, doc_ids: Sequence[str]) -> Ranked:
    """The best `depth` hits of each query in the order in which mteb's heap of (score, id) ends.

    The order decides which of equal scores are kept and skipped. It also decides the last bits of a
    standard deviation, and by them which queries with the same scores tie in nAUC.
    """
    # mteb/models/search_wrappers.py (2.26): heappush until `depth` are there, then heappushpop; the
    # list that the heap lives in becomes the query's dictionary of results.
    width = min(depth, block.docs.shape[1])
    scores = np.asarray(block.scores, dtype=np.float64)
    has_hit = block.docs >= 0
    # Where scores fall strictly, the order depends on the number of hits alone.
    falling = (scores[:, 1:] < scores[:, :-1]).all(axis=1) & has_hit.all(axis=1)
    falling_keys = [(-float(place), "") for place in range(width)]
    order = np.array(heap_order(falling_keys, depth), dtype=np.int64)
    ranked = Ranked(*(np.ascontiguousarray(x[:, order]) for x in (block.docs, scores, has_hit)))
    for row in np.flatnonzero(~falling):
        places = np.flatnonzero(has_hit[row])
        names = [doc_ids[doc] for doc in block.docs[row, places].tolist()]
        keys = list(zip(scores[row, places].tolist(), names, strict=True))
        best = places[heap_order(keys, depth)]
        ranked.docs[row, : len(best)] = block.docs[row, best]
        ranked.scores[row, : len(best)] = scores[row, best]
        ranked.valid[row] = np.arange(width) < len(best)
    return ranked


def _last_of_same_id(doc_ids: Sequence[str]) -> Int[np.ndarray, "n"] | None:
    """For each document the last one with its id, which is where `_positions` has it; None if all
    ids are different."""
    # No table of the corpus's size for the usual case, in which each id is there once.
    if len(set(doc_ids)) == len(doc_ids):
        return None
    last = {doc: index for index, doc in enumerate(doc_ids)}
    return np.array([last[doc] for doc in doc_ids], dtype=np.int64)


def _each_once(ranked: Ranked) -> Ranked:
    """The hits as mteb's dictionary by id has them: what comes again keeps its first place."""
    columns = np.arange(ranked.docs.shape[1])
    # What is no hit gets a number of its own, so that equal neighbours are hits.
    in_order = np.sort(np.where(ranked.valid, ranked.docs, -1 - columns), axis=1)
    repeated = (in_order[:, 1:] == in_order[:, :-1]).any(axis=1)
    for row in np.flatnonzero(repeated):
        hits = ranked.valid[row]
        score_of = dict(zip(ranked.docs[row, hits], ranked.scores[row, hits], strict=True))
        ranked.docs[row, : len(score_of)] = list(score_of)
        ranked.scores[row, : len(score_of)] = list(score_of.values())
        ranked.valid[row] = columns < len(score_of)
    return ranked


def _by_score(ranked: Ranked) -> Ranked:
    """Best score first; of equal scores in the order in which they are."""
    scores = np.where(ranked.valid, ranked.scores, -np.inf)
    return ranked.ordered(np.argsort(-scores, axis=1, kind="stable"))


def _in_trec_order(ranked: Ranked, doc_ids: Sequence[str]) -> Ranked:
    """Best score first, of equal scores the larger id; only rows with equal scores need the ids."""
    # trec_eval compares ids as strings: of equal scores "d9" stands before "d10".
    docs, scores, valid = _by_score(ranked)
    tied = ((scores[:, 1:] == scores[:, :-1]) & valid[:, 1:]).any(axis=1)
    for row in np.flatnonzero(tied):
        n = int(valid[row].sum())
        names = [doc_ids[doc] for doc in docs[row, :n].tolist()]
        keys = list(zip(scores[row, :n].tolist(), names, strict=True))
        docs[row, :n] = docs[row, sorted(range(n), key=keys.__getitem__, reverse=True)]
    return Ranked(docs, scores, valid)


def _without(ranked: Ranked, doc_of_query: Int[np.ndarray, "c"]) -> Ranked:
    """The hits but for one document of each query; what follows moves up."""
    # A stable sort by "dropped" moves the rest up and keeps its order.
    dropped = ranked.valid & (ranked.docs == doc_of_query[:, None])
    remaining = ranked.valid & ~dropped
    order = np.argsort(~remaining, axis=1, kind="stable")
    return Ranked(ranked.docs, ranked.scores, remaining).ordered(order)


def _gains(
    ranked: Ranked, judgements: Sequence[Mapping[str, int]], positions: Mapping[str, int]
) -> Float64[np.ndarray, "c k"]:
    """The grade of each hit, 0 where it is not judged or negative."""
    gains = np.zeros(ranked.docs.shape)
    for row, grades in enumerate(judgements):
        grade_of = {
            positions[doc]: grade for doc, grade in grades.items() if grade > 0 and doc in positions
        }
        if not grade_of:
            continue
        # A binary search of all hits of the query among its judged documents.
        docs = np.array(sorted(grade_of))
        nearest = np.minimum(np.searchsorted(docs, ranked.docs[row]), len(docs) - 1)
        judged = (docs[nearest] == ranked.docs[row]) & ranked.valid[row]
        in_order = np.array([grade_of[doc] for doc in docs.tolist()])
        gains[row, judged] = in_order[nearest[judged]]
    return gains


def _metrics(
    gains: Float64[np.ndarray, "c k"],
    judgements: Sequence[Mapping[str, int]],
    k_values: Sequence[int],
) -> dict[str, Float64[np.ndarray, "c"]]:
    """All measures at all cut-offs, by mteb's names; a cut-off beyond the hits sees all of them."""
    places = _places(gains[:, : max(k_values)], judgements)
    metrics = {}
    for name, measure in MEASURES.items():
        for k in k_values:
            metrics[f"{name}@{k}"] = measure(places, k)
    return metrics


def _places(gains: Float64[np.ndarray, "c k"], judgements: Sequence[Mapping[str, int]]) -> Places:
    """Where the relevant hits stand: each alone in its place, since ids have broken all ties."""
    query, place = np.nonzero(gains)
    alone = np.ones_like(place)
    ideal: list[int] = []
    n_relevant = []
    for grades in judgements:
        positive = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
        ideal += positive
        n_relevant.append(len(positive))
    return Places(
        query=query,
        gain=gains[query, place],
        score=np.zeros(len(query)),
        above=place,
        equal=alone,
        relevant_above=(np.cumsum(gains > 0, axis=1) - 1)[query, place],
        relevant_equal=alone,
        n_relevant=np.array(n_relevant, dtype=np.int64),
        ideal=np.array(ideal, dtype=np.float64),
    )


def _confidences(ranked: Ranked) -> dict[str, Float64[np.ndarray, "c"]]:
    """How sure the scores of each query look: what mteb orders queries by for nAUC.

    The best score, the standard deviation, and the best less the second; 0 without hits.
    """
    n_hits = ranked.valid.sum(axis=1)
    scores = np.where(ranked.valid, ranked.scores, -np.inf)
    scores = np.pad(scores, ((0, 0), (2, 0)), constant_values=-np.inf)
    # Two more columns without hits, so that rows of one hit or none have a second best.
    second, best = np.partition(scores, (-2, -1), axis=1)[:, -2:].T
    # numpy's std with ddof 0, as mteb's: another divisor would order queries otherwise.
    deviation = ranked.scores.std(axis=1) if ranked.scores.shape[1] else np.zeros(len(n_hits))
    # Over the hits only: what stands behind them in a row is no score.
    for row in np.flatnonzero(n_hits < ranked.valid.shape[1]):
        deviation[row] = ranked.scores[row, : n_hits[row]].std() if n_hits[row] else 0.0
    lead = np.zeros(len(n_hits))
    np.subtract(best, second, out=lead, where=n_hits > 1)
    return {"max": np.where(n_hits > 0, best, 0.0), "std": deviation, "diff1": lead}


def best_candidates(first: int, scores: Any, places: np.ndarray, top_k: int) -> Hits:
    """The best candidates of one query by their scores; `places` are those in the corpus."""
    import torch

    best = torch.as_tensor(scores).topk(min(top_k, len(places)), dim=1)
    return Hits(first, places[best.indices.cpu().numpy()], best.values.cpu().numpy())
