"""The methods that replace those of the same names in a task of mteb, so that it is scored our way.

Retrieval is scored block by block, and what is known of each query or pair is kept for the record.
mteb itself is not imported here: what is needed of it comes in as `Scorers`, from
`evals.mteb_bridge.bridge`.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evals.mteb_bridge.adapter import Adapter
from evals.mteb_bridge.records import Details
from evals.mteb_bridge.scoring import Qrels, score_hits
from evals.ranking.best_docs import Hits
from evals.schema import InvalidError
from evals.stats.clusters import query_clusters
from evals.stats.correlation import spearman_interval
from evals.stats.intervals import mean_intervals

DIGITS = 5  # mteb rounds its means so, but for MRR


class Family(NamedTuple):
    """What a family of metrics is called in mteb's code, and by trec_eval (None: it has none)."""

    mteb: str
    trec_eval: str | None


# By the names of their keys in mteb's results, such as `ndcg_at_10`.
FAMILIES = {
    "ndcg": Family("NDCG", "ndcg_cut"),
    "map": Family("MAP", "map_cut"),
    "recall": Family("Recall", "recall"),
    "precision": Family("P", "P"),
    "mrr": Family("MRR", None),
    "hit_rate": Family("HitRate", "success"),
}


class Scorers(NamedTuple):
    """Functions of mteb: nAUC of a metric, reciprocal ranks, and its dictionary of all scores."""

    nauc: Callable[[np.ndarray, np.ndarray], float]
    mrr: Callable[[Qrels, Any, Sequence[int]], Mapping[str, Sequence[float]]]
    make_score_dict: Callable[..., dict[str, Any]]


class Retrieval(NamedTuple):
    """mteb's dictionary of a retrieval task, and each query's metrics by mteb's names."""

    values: dict[str, Any]
    per_query: dict[str, np.ndarray]


def retrieval_scores(
    blocks: Iterable[Hits],
    query_ids: Sequence[str],
    doc_ids: Sequence[str],
    qrels: Qrels,
    k_values: Sequence[int],
    *,
    scorers: Scorers,
    depth: int | None = None,
    ignore_identical_ids: bool = False,
    skip_first_result: bool = False,
) -> Retrieval:
    """What mteb makes of the same hits: all metrics at all cut-offs, rounded as there, and nAUCs.

    `blocks` are those of `search_blocks` or `evals.ranking.search.top_k`; only the first `depth`
    hits of a query count. Raises InvalidError when there are no queries.
    """
    if not query_ids:
        raise InvalidError("no query has a judged document.")
    metrics, confidences = score_hits(
        blocks,
        query_ids,
        doc_ids,
        qrels,
        k_values,
        depth=depth,
        ignore_identical_ids=ignore_identical_ids,
        skip_first_result=skip_first_result,
    )
    means: dict[str, dict[str, float]] = {family.mteb: {} for family in FAMILIES.values()}
    naucs: dict[str, float] = {}
    naucs_of_mrr: dict[str, float] = {}
    for name, values in metrics.items():
        family = name.partition("@")[0]
        # Summed in order and not by numpy, as in mteb: the last bits decide how a mean is rounded.
        mean = sum(values.tolist()) / len(query_ids)
        means[family][name] = mean if family == "MRR" else round(mean, DIGITS)
        # mteb has no nAUC of hit rates, and keeps those of reciprocal ranks apart.
        if family == "HitRate":
            continue
        target = naucs_of_mrr if family == "MRR" else naucs
        for order, confidence in confidences.items():
            target[f"nAUC_{name}_{order}"] = scorers.nauc(confidence, values)
    dictionary = scorers.make_score_dict(
        ndcg=means["NDCG"],
        _map=means["MAP"],
        recall=means["Recall"],
        precision=means["P"],
        mrr=means["MRR"],
        naucs=naucs,
        naucs_mrr=naucs_of_mrr,
        hit_rate=means["HitRate"],
        task_scores={},
    )
    return Retrieval(dictionary, metrics)


class TaskMethods:
    """Methods for one task at one dimension after the other.

    `details` holds what was kept of each subset and split at the present dimension. `query_metric`
    is the metric that a retrieval task's record has per query, by its key in mteb's results.
    """

    def __init__(self, task: Any, model: Adapter, scorers: Scorers) -> None:
        self.task = task
        self.model = model
        self.scorers = scorers
        self.details: dict[tuple[str, str], Details] = {}
        self.query_metric: str | None = None

    def choose_query_metric(self) -> None:
        """The main score if that is a mean over queries, else nDCG@10."""
        main = self.task.metadata.main_score
        keys = {f"{family}_at_{k}" for family in FAMILIES for k in self.task.k_values}
        if main in keys:
            self.query_metric = main
        else:
            # `make_score_dict` calls recall@1 accuracy, for tasks with one right answer each.
            self.query_metric = "recall_at_1" if main == "accuracy" else "ndcg_at_10"

    def retrieve(
        self, model: Any, data: Any, *, hf_split: str, hf_subset: str, timer: Any, **ignored: Any
    ) -> dict[str, Any]:
        """The scores of a subset of a retrieval task, in place of `_evaluate_subset`.

        Its memory grows with the documents but not with the queries.
        """
        # As `_filter_queries_without_positives` of mteb: whoever has judgements is measured, even
        # if all of them are 0, and then scores 0.
        qrels = {query: docs for query, docs in data["relevant_docs"].items() if docs}
        judged = [place for place, query in enumerate(data["queries"]["id"]) if query in qrels]
        queries = data["queries"].select(judged)
        query_ids = list(queries["id"])
        doc_ids = list(data["corpus"]["id"])
        model.reporter.info(
            f"mteb:{self.task.metadata.name} {hf_subset} {hf_split}: "
            f"{len(query_ids):,} queries, {len(doc_ids):,} documents"
        )
        model.index(data["corpus"])
        blocks = model.blocks(
            queries,
            top_k=self.task._top_k,
            top_ranked=data["top_ranked"],
            task_metadata=self.task.metadata,
            hf_split=hf_split,
            hf_subset=hf_subset,
        )
        with timer("Searching and scoring", split=hf_split, subset=hf_subset):
            scores = retrieval_scores(
                blocks,
                query_ids,
                doc_ids,
                qrels,
                self.task.k_values,
                scorers=self.scorers,
                depth=self.task._top_k,
                ignore_identical_ids=self.task.ignore_identical_ids,
                skip_first_result=self.task.skip_first_result,
            )
        family, _, k = str(self.query_metric).partition("_at_")
        values = scores.per_query[f"{FAMILIES[family].mteb}@{k}"]
        self._keep_queries((hf_subset, hf_split), query_ids, values, qrels, len(doc_ids))
        return scores.values

    def keep_queries(
        self,
        mtebs: Callable[..., Any],
        scores: Any,
        qrels: Any,
        results: Any,
        hf_split: str,
        hf_subset: str,
    ) -> Any:
        """Around `mtebs` method `task_specific_scores`, of a task that scores whole results itself.

        The values are trec_eval's, which has no reciprocal rank.
        """
        family, _, k = str(self.query_metric).partition("_at_")
        if family == "mrr":
            values = self.scorers.mrr(qrels, results, [int(k)])[f"MRR@{k}"]
        else:
            name = f"{FAMILIES[family].trec_eval}_{k}"
            values = [scores[query][name] for query in results]
        n_docs = len(self.model.corpus)
        cell = (hf_subset, hf_split)
        self._keep_queries(cell, list(results), np.array(values), qrels, n_docs)
        return mtebs(scores, qrels, results, hf_split=hf_split, hf_subset=hf_subset)

    def keep_pairs(
        self, mtebs: Callable[..., Any], scores: Any, normalized_scores: Any
    ) -> Mapping[str, Any]:
        """Around `mtebs` method `_calculate_scores`, of a semantic similarity task.

        Kept are each pair's cosine and gold score, and the interval of their Spearman correlation.
        """
        cosines = np.array(scores["cosine_scores"], np.float64)
        gold = np.array(normalized_scores, np.float64)
        # mteb does not say here which subset this is; it has just been encoded.
        cell = self.model.where
        self.model.note(cell[0], "gold", *map(repr, gold.tolist()))
        by_rank = self.task.metadata.main_score in ("cosine_spearman", "spearman")
        pair_ids = [str(number) for number in range(len(gold))]
        self.details[cell] = Details(
            ids=pair_ids,
            groups=pair_ids,
            columns={"score": cosines, "gold": gold},
            interval=spearman_interval(cosines, gold) if by_rank else None,
            n_gallery=0,
        )
        result: Mapping[str, Any] = mtebs(scores, normalized_scores)
        return result

    def _keep_queries(
        self,
        cell: tuple[str, str],
        query_ids: Sequence[str],
        values: np.ndarray,
        qrels: Qrels,
        n_docs: int,
    ) -> None:
        judgements = sorted((query, sorted(grades.items())) for query, grades in qrels.items())
        self.model.note(cell[0], "qrels", json.dumps(judgements))
        # Queries that share relevant documents are not independent, and resampled together.
        clusters = query_clusters([_relevant(qrels[query]) for query in query_ids])
        main = self.task.metadata.main_score
        is_main = main in (self.query_metric, "accuracy")
        self.details[cell] = Details(
            ids=query_ids,
            groups=[query_ids[first] for first in clusters],
            columns={"value": values},
            interval=mean_intervals({main: values}, clusters)[main] if is_main else None,
            n_gallery=n_docs,
        )


def _relevant(grades: Mapping[str, int]) -> list[str]:
    return [doc for doc, grade in grades.items() if grade > 0]
