"""Tasks of mteb by any of our encoders: the only file that imports mteb.

mteb loads the data and defines the scores; embeddings come from our store, and retrieval is searched and scored in blocks.
mteb's result cache and its CachedEmbeddingWrapper are never used: the first answers for other models, the second changes scores.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evals.embeddings.store import Store
from evals.evaluation.outcome import TaskOutcome
from evals.evaluation.recording import Costs
from evals.mteb_bridge.adapter import Adapter, Tools
from evals.mteb_bridge.records import Details, Measured, Task, about, export, task_scores, write
from evals.mteb_bridge.scoring import Qrels, score_hits
from evals.mteb_bridge.tasks import (
    benchmark_key,
    choose,
    loaded,
    named_errors,
    partial_of,
    replaced,
    split_name,
)
from evals.progress import SILENT, Reporter
from evals.schema import ConfigError, Encoder, InvalidError, TruncatingEncoder
from evals.settings import Settings
from evals.stats.bootstrap import cluster_bootstrap
from evals.stats.clusters import query_clusters
from evals.stats.correlation import spearman_interval

# What mteb's keys are called in its code, and in trec_eval.
NAMES = {
    "ndcg": "NDCG",
    "map": "MAP",
    "recall": "Recall",
    "precision": "P",
    "mrr": "MRR",
    "hit_rate": "HitRate",
}
TREC = {
    "ndcg": "ndcg_cut",
    "map": "map_cut",
    "recall": "recall",
    "precision": "P",
    "hit_rate": "success",
}


def adapter(
    encoder: Encoder, store: Store, reporter: Reporter, costs: Costs, *, instruction: bool
) -> Adapter:
    """The encoder as a model of mteb: EncoderProtocol and SearchProtocol."""
    from mteb._create_dataloaders import create_dataloader
    from mteb.models.model_meta import ModelMeta, ScoringFunction
    from mteb.similarity_functions import cos_sim, pairwise_cos_sim
    from mteb.types import PromptType

    fingerprint = json.dumps(dict(encoder.fingerprint), sort_keys=True).encode()
    meta = ModelMeta.create_empty(
        {
            "name": f"local/{encoder.name.replace('/', '--')}",
            "revision": hashlib.sha256(fingerprint).hexdigest()[:40],
            "embed_dim": encoder.dim,
            "modalities": ["text", "image"],
            "similarity_fn_name": ScoringFunction.COSINE,
            "use_instructions": instruction,
        }
    )

    def loader(dataset: Any, metadata: Any, prompt_type: Any) -> Any:
        return create_dataloader(dataset, task_metadata=metadata, prompt_type=prompt_type)

    tools = Tools(meta, cos_sim, pairwise_cos_sim, loader, PromptType.query, PromptType.document)
    return Adapter(encoder, store, reporter, costs, instruction=instruction, tools=tools)


class Retrieval(NamedTuple):
    """mteb's dictionary of a retrieval task, and each query's metrics by the names that mteb's code has for them."""

    values: dict[str, Any]
    per_query: dict[str, np.ndarray]


def retrieval_scores(
    blocks: Iterable[Any],
    query_ids: Sequence[str],
    doc_ids: Sequence[str],
    qrels: Qrels,
    k_values: Sequence[int],
    *,
    depth: int | None = None,
    ignore_identical_ids: bool = False,
    skip_first_result: bool = False,
) -> Retrieval:
    """What mteb makes of the same hits: all metrics at all cut-offs, rounded as there, and their nAUCs.

    `blocks` are those of `search_blocks` or `evals.ranking.search.top_k`; only the first `depth` hits of a query count.
    """
    from mteb._evaluators.retrieval_metrics import make_score_dict, nauc

    if not query_ids:
        raise InvalidError("no query has a judged document.")
    metrics, confidence = score_hits(
        blocks,
        query_ids,
        doc_ids,
        qrels,
        k_values,
        depth=depth,
        ignore_identical_ids=ignore_identical_ids,
        skip_first_result=skip_first_result,
    )
    means = {name: sum(values.tolist()) / len(query_ids) for name, values in metrics.items()}
    of = {
        kind: {k: v for k, v in means.items() if k.partition("@")[0] == kind}
        for kind in NAMES.values()
    }
    rounded = {
        kind: {name: round(value, 5) for name, value in values.items()}
        for kind, values in of.items()
    }
    naucs = {
        f"nAUC_{name}_{by}": nauc(sure, values)
        for name, values in metrics.items()
        if not name.startswith("HitRate")
        for by, sure in confidence.items()
    }
    values = make_score_dict(
        ndcg=rounded["NDCG"],
        _map=rounded["MAP"],
        recall=rounded["Recall"],
        precision=rounded["P"],
        mrr=of["MRR"],
        naucs={name: value for name, value in naucs.items() if "MRR" not in name},
        naucs_mrr={name: value for name, value in naucs.items() if "MRR" in name},
        hit_rate=rounded["HitRate"],
        task_scores={},
    )
    return Retrieval(values, metrics)


def evaluate_task(
    name: str,
    encoder: Encoder,
    dims: Sequence[int],
    settings: Settings,
    *,
    reporter: Reporter = SILENT,
) -> TaskOutcome:
    """Measure `TASK` or `TASK/SPLIT` of mteb at each dimension, and write the record with mteb's own JSON beside it.

    Raises ConfigError for a name, split or subset that mteb does not know, MissingError when the data cannot be had, and
    InvalidError when the task fails; each names the task.
    """
    import mteb

    short, split = split_name(name)
    with named_errors(name):
        try:
            task = mteb.get_task(short)
        except KeyError as error:
            raise ConfigError(f"no such task. {error.args[0].removeprefix('KeyError: ')}") from None
        choose(task, split, settings.subsets)
        return run_task(task, encoder, dims, settings, reporter=reporter)


def run_task(
    task: Any,
    encoder: Encoder,
    dims: Sequence[int],
    settings: Settings,
    *,
    reporter: Reporter = SILENT,
) -> TaskOutcome:
    """Measure a task object of mteb; of an aggregate its members, and their mean as mteb combines them."""
    if wrong := [dim for dim in dims if not 1 <= dim <= encoder.dim]:
        raise ConfigError(
            f"--dims {','.join(map(str, wrong))}: {encoder.name} has {encoder.dim} dimensions."
        )
    dims, started = sorted(set(dims), reverse=True), time.time()
    model = adapter(
        encoder, Store(settings.store), reporter, Costs(), instruction=settings.instruction
    )
    whole = task.is_aggregate
    runs = [
        _run_one(one, model, dims, settings.data, member=whole)
        for one in (task.metadata.tasks if whole else [task])
    ]
    results = {
        dim: task.combine_task_results([run.results[dim] for run in runs])
        if whole
        else runs[0].results[dim]
        for dim in dims
    }
    measured = [one for run in runs for one in run.measured]
    if whole:
        n = sum(one.score.n for one in measured if one.score.dim == dims[0])
        means = [
            score._replace(n=n)
            for dim in dims
            for score, _ in task_scores(task, results[dim], dim, {})
        ]
        measured = [*(Measured(score, None) for score in means), *measured]
    told = Task(
        name=task.metadata.name,
        benchmark=benchmark_key(task),
        metric=task.metadata.main_score,
        query_metric=runs[0].query_metric,
        partial=partial_of(task),
        origin={name: run.origin for run in runs for name in run.content},
        content={name: content for run in runs for name, content in run.content.items()},
        mteb=about(
            task, [key for run in runs for key in run.undefined], instruction=settings.instruction
        )
        | {"lengths": model.lengths if isinstance(encoder, TruncatingEncoder) else None},
        aggregate=whole,
        costs=model.costs,
        started=started,
    )
    path = write(told, encoder, dims, settings, measured)
    scores = means if whole else [one.score for one in measured]
    export(path, told, results, [score for score in scores if score.dim == dims[0]])
    return TaskOutcome(
        path, told.name, encoder.name, told.partial, dict(model.costs.encoded), told.metric, scores
    )


class _Run(NamedTuple):
    """One task at all dimensions: mteb's results by dimension, and what we keep of it."""

    results: dict[int, Any]
    measured: list[Measured]
    origin: dict[str, str]
    content: dict[str, str]
    query_metric: str | None
    undefined: list[str]


def _run_one(
    task: Any, model: Adapter, dims: Sequence[int], data: Path | None, *, member: bool
) -> _Run:
    import mteb

    name, results, measured, undefined = task.metadata.name, {}, [], []
    methods = _Methods(task, model)
    with loaded(task, data) as origin:
        content: dict[str, Any] = {}
        model.content = content
        seeds = deepcopy((task.rng_state, task.np_rng))
        for dim in dims:
            model.reporter.info(f"mteb:{name}: {dim} dimensions, by {model.encoder.name}")
            model.dim, methods.kept = dim, {}
            task.rng_state, task.np_rng = deepcopy(
                seeds
            )  # every dimension sees the samples that a run of its own would see
            with replaced(task, methods.ours()):
                found = mteb.evaluate(
                    model,
                    task,
                    cache=None,
                    co2_tracker=False,
                    raise_error=True,
                    show_progress_bar=False,
                )
            if not found.task_results:
                raise InvalidError(f"mteb gave no result: {found.exceptions}.")
            results[dim] = found.task_results[0]
            model.content = None
            for score, missing in task_scores(task, results[dim], dim, methods.kept):
                details = methods.kept.get((score.subset, score.split))
                undefined += [
                    f"{name} {score.subset} {score.split} {dim}: {key}" for key in missing
                ]
                measured.append(Measured(score._replace(subset=name) if member else score, details))
    hashes = {subset: digest.hexdigest() for subset, digest in content.items()}
    if member:
        hashes = {name: hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()}
    return _Run(results, measured, origin, hashes, methods.query_metric, undefined)


class _Methods:
    """What a task does our way: retrieval is scored block by block, and what is known of each query or pair is kept."""

    def __init__(self, task: Any, model: Adapter) -> None:
        self.task, self.model = task, model
        self.kept: dict[tuple[str, str], Details] = {}
        self.query_metric: str | None = None

    def ours(self) -> dict[str, Callable[..., Any]]:
        """Methods in place of the task's own; a task that needs all hits at once for scores of its own keeps mteb's path."""
        from mteb.abstasks import AbsTaskRetrieval, AbsTaskSTS

        kind = type(self.task)
        if isinstance(self.task, AbsTaskSTS):
            return {"_calculate_scores": partial(self.keep_pairs, self.task._calculate_scores)}
        if not isinstance(self.task, AbsTaskRetrieval):
            return {}
        main, ks = self.task.metadata.main_score, self.task.k_values
        known = {f"{family}_at_{k}" for family in NAMES for k in ks}
        self.query_metric = (
            main if main in known else "recall_at_1" if main == "accuracy" else "ndcg_at_10"
        )
        plain = AbsTaskRetrieval
        if (
            kind.task_specific_scores is plain.task_specific_scores
            and kind._evaluate_subset is plain._evaluate_subset
        ):
            return {"_evaluate_subset": self.retrieve}
        return {"task_specific_scores": partial(self.keep_queries, self.task.task_specific_scores)}

    def retrieve(
        self, model: Any, data: Any, *, hf_split: str, hf_subset: str, timer: Any, **ignored: Any
    ) -> dict[str, Any]:
        """The scores of a subset of a retrieval task, with memory that grows with its documents but not with its queries."""
        qrels = {query: docs for query, docs in data["relevant_docs"].items() if docs}
        queries = data["queries"].select(
            [i for i, query in enumerate(data["queries"]["id"]) if query in qrels]
        )
        ids, names, place = (
            list(queries["id"]),
            list(data["corpus"]["id"]),
            {"hf_split": hf_split, "hf_subset": hf_subset},
        )
        model.reporter.info(
            f"mteb:{self.task.metadata.name} {hf_subset} {hf_split}: {len(ids):,} queries, {len(names):,} documents"
        )
        model.index(data["corpus"])
        depth, ranked = self.task._top_k, data["top_ranked"]
        blocks = model.blocks(
            queries, top_k=depth, top_ranked=ranked, task_metadata=self.task.metadata, **place
        )
        with timer("Searching and scoring", split=hf_split, subset=hf_subset):
            found = retrieval_scores(
                blocks,
                ids,
                names,
                qrels,
                self.task.k_values,
                depth=depth,
                ignore_identical_ids=self.task.ignore_identical_ids,
                skip_first_result=self.task.skip_first_result,
            )
        family, _, k = str(self.query_metric).partition("_at_")
        self._keep(
            (hf_subset, hf_split), ids, found.per_query[f"{NAMES[family]}@{k}"], qrels, len(names)
        )
        return found.values

    def keep_queries(
        self, own: Any, scores: Any, qrels: Any, results: Any, hf_split: str, hf_subset: str
    ) -> Any:
        """mteb's own path: trec_eval's value of each query (it has no reciprocal rank)."""
        from mteb._evaluators.retrieval_metrics import mrr

        family, _, k = str(self.query_metric).partition("_at_")
        if family == "mrr":
            values = mrr(qrels, results, [int(k)])[f"MRR@{k}"]
        else:
            values = [scores[query][f"{TREC[family]}_{k}"] for query in results]
        self._keep(
            (hf_subset, hf_split), list(results), np.array(values), qrels, len(self.model.corpus)
        )
        return own(scores, qrels, results, hf_split=hf_split, hf_subset=hf_subset)

    def keep_pairs(self, own: Any, scores: Any, normalized_scores: Any) -> Any:
        """Each pair's cosine and gold score, and the interval of a Spearman correlation of the two."""
        cosine, gold = (
            np.array(scores["cosine_scores"], np.float64),
            np.array(normalized_scores, np.float64),
        )
        spearman = self.task.metadata.main_score in ("cosine_spearman", "spearman")
        self.model.note(self.model.where[0], "gold", *map(repr, gold.tolist()))
        ids = [str(i) for i in range(len(gold))]
        self.kept[self.model.where] = Details(
            ids,
            ids,
            {"score": cosine, "gold": gold},
            spearman_interval(cosine, gold) if spearman else None,
            0,
        )
        return own(scores, normalized_scores)

    def _keep(
        self,
        where: tuple[str, str],
        ids: Sequence[str],
        values: np.ndarray,
        qrels: Qrels,
        n_docs: int,
    ) -> None:
        judged = sorted((query, sorted(docs.items())) for query, docs in qrels.items())
        self.model.note(where[0], "qrels", json.dumps(judged))
        main = self.task.metadata.main_score
        same = main == self.query_metric or main == "accuracy"
        clusters = query_clusters([_relevant(qrels[query]) for query in ids])
        interval = cluster_bootstrap({"main": values}, clusters)["main"] if same else None
        groups = [ids[first] for first in clusters]
        self.kept[where] = Details(ids, groups, {"value": values}, interval, n_docs)


def _relevant(grades: Mapping[str, int]) -> list[str]:
    return [doc for doc, grade in grades.items() if grade > 0]
