"""Tasks of mteb by any of our encoders: the only file that imports mteb.

mteb loads the data and defines the scores; embeddings come from our store, and retrieval is
searched and scored in blocks. Its result cache is never used, since it answers for other models of
the same name; nor is its CachedEmbeddingWrapper, which changes scores.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

from evals.embeddings.store import Store
from evals.evaluation.evaluate import checked_dims
from evals.evaluation.outcome import TaskOutcome
from evals.evaluation.recording import Costs
from evals.mteb_bridge.adapter import Adapter
from evals.mteb_bridge.checks import Repeated, check_retrieval
from evals.mteb_bridge.methods import Scorers, TaskMethods
from evals.mteb_bridge.records import Measured, Task, about, export, task_scores, write
from evals.mteb_bridge.runs import TaskRun, combined
from evals.mteb_bridge.tasks import (
    benchmark_key,
    choose,
    loaded,
    named_errors,
    partial_of,
    replaced,
    split_name,
)
from evals.mteb_bridge.tools import Tools
from evals.progress import SILENT, Reporter
from evals.schema import (
    ConfigError,
    Encoder,
    InvalidError,
    check_one_row,
    is_multi_vector,
)
from evals.settings import Settings


def evaluate_task(
    name: str,
    encoder: Encoder,
    dims: Sequence[int],
    settings: Settings,
    *,
    reporter: Reporter = SILENT,
) -> TaskOutcome:
    """Measure `TASK` or `TASK/SPLIT` of mteb at each dimension, and write its record.

    mteb's own JSON lies beside the record. Raises ConfigError for a name, split or subset that mteb
    does not know, MissingError when the data cannot be had, and InvalidError when the task fails;
    each names the task.
    """
    import mteb

    task_name, split = split_name(name)
    with named_errors(name):
        try:
            task = mteb.get_task(task_name)
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
    """Measure a task object of mteb; of an aggregate its members, and their mean as mteb has it."""
    # Before anything is loaded or embedded. The widest comes first: it is what `task_result.json`
    # and the content hash are of.
    dims = checked_dims(dims, encoder)
    started = time.time()
    store = Store(settings.store)
    model = adapter(encoder, store, reporter, Costs(), instruction=settings.instruction)
    if task.is_aggregate:
        # Each by itself, as mteb runs them; their embeddings meet in one store.
        members = [
            _measure(member, model, dims, settings.data, is_member=True)
            for member in task.metadata.tasks
        ]
        run = combined(task, members, dims)
    else:
        run = _measure(task, model, dims, settings.data, is_member=False)
    facts = Task(
        name=task.metadata.name,
        benchmark=benchmark_key(task),
        metric=task.metadata.main_score,
        query_metric=run.query_metric,
        partial=partial_of(task),
        origin=run.origin,
        content=run.content,
        mteb=about(task, run.undefined, instruction=settings.instruction)
        | {
            "lengths": model.lengths,
            "blank_texts": model.blank_texts,
            "repeated": run.repeated._asdict(),
        },
        aggregate=task.is_aggregate,
        costs=model.costs,
        started=started,
    )
    path = write(facts, encoder, dims, settings, run.measured)
    export(path, facts, run.results, [score for score in run.scores if score.dim == dims[0]])
    return TaskOutcome(
        path=path,
        task=facts.name,
        model=encoder.name,
        partial=facts.partial,
        encoded=dict(model.costs.encoded),
        metric=facts.metric,
        scores=run.scores,
        name=facts.benchmark,
    )


def adapter(
    encoder: Encoder, store: Store, reporter: Reporter, costs: Costs, *, instruction: bool
) -> Adapter:
    """The encoder as a model of mteb: EncoderProtocol and SearchProtocol."""
    from mteb._create_dataloaders import create_dataloader
    from mteb.models.model_meta import ModelMeta, ScoringFunction
    from mteb.similarity_functions import cos_sim, pairwise_cos_sim
    from mteb.types import PromptType

    # mteb writes name and revision into its JSON. The revision is a hash of all that can change
    # rows, in the form of a commit.
    fingerprint = json.dumps(dict(encoder.fingerprint), sort_keys=True).encode()
    meta = ModelMeta.create_empty(
        {
            "name": f"local/{encoder.name.replace('/', '--')}",
            "revision": hashlib.sha256(fingerprint).hexdigest()[:40],
            "embed_dim": encoder.dim,
            "modalities": ["text", "image"],
            "similarity_fn_name": ScoringFunction.MAX_SIM
            if is_multi_vector(encoder)
            else ScoringFunction.COSINE,
            "use_instructions": instruction,
        }
    )

    def loader(dataset: Any, metadata: Any, prompt_type: Any) -> Any:
        return create_dataloader(dataset, task_metadata=metadata, prompt_type=prompt_type)

    tools = Tools(
        meta=meta,
        cos_sim=cos_sim,
        pairwise_cos_sim=pairwise_cos_sim,
        loader=loader,
        query=PromptType.query,
        document=PromptType.document,
    )
    return Adapter(encoder, store, reporter, costs, instruction=instruction, tools=tools)


def model_meta(name: str, revision: str, dim: int | None) -> dict[str, Any]:
    """What mteb's `model_meta.json` says of a model `org/name`; all that we do not know is null."""
    from mteb.models.model_meta import ModelMeta, ScoringFunction

    meta = ModelMeta.create_empty(
        {
            "name": name,
            "revision": revision,
            "embed_dim": dim,
            "modalities": ["text", "image"],
            "similarity_fn_name": ScoringFunction.COSINE,
        }
    )
    return dict(meta.to_dict())


def scorers() -> Scorers:
    """mteb's functions for what is not computed here."""
    from mteb._evaluators.retrieval_metrics import make_score_dict, mrr, nauc

    return Scorers(nauc=nauc, mrr=mrr, make_score_dict=make_score_dict)


def _measure(
    task: Any, model: Adapter, dims: Sequence[int], data: Path | None, *, is_member: bool
) -> TaskRun:
    """Evaluate a task that is no aggregate; of a member the scores bear its name as subset."""
    import mteb

    name = task.metadata.name
    _check_late(task, model.encoder)
    results: dict[int, Any] = {}
    measured: list[Measured] = []
    undefined: list[str] = []
    methods = TaskMethods(task, model, scorers())
    with loaded(task, data) as origin:
        repeated = _check(task, model.reporter)
        newer = task.superseded_by
        if newer:
            model.reporter.info(f"mteb:{name}: mteb has a newer version of it, mteb:{newer}")
        # The content hash is of what is embedded, which is the same at all dimensions.
        model.start_collecting()
        random_states = deepcopy((task.rng_state, task.np_rng))
        for dim in dims:
            model.reporter.info(f"mteb:{name}: {dim} dimensions, by {model.encoder.name}")
            # One adapter for all dimensions: mteb sees a model whose rows grow shorter.
            model.dim = dim
            methods.details = {}
            # Every dimension sees the samples that a run of its own would see.
            task.rng_state, task.np_rng = deepcopy(random_states)
            # We have told of a newer version: mteb warns at each dimension, and names its own calls.
            methods_here = {"check_if_dataset_is_superseded": lambda: None}
            with replaced(task, methods_here | _replacements(task, methods)):
                result = mteb.evaluate(
                    model,
                    task,
                    cache=None,  # it would answer for other weights of the same name
                    co2_tracker=False,
                    raise_error=True,  # else a failure is a result without scores
                    show_progress_bar=False,
                )
            # What was embedded for one dimension is what the others are cut from.
            model.collecting = False
            if not result.task_results:
                raise InvalidError(f"mteb gave no result: {result.exceptions}.")
            results[dim] = result.task_results[0]
            for score, missing in task_scores(task, results[dim], dim, methods.details):
                details = methods.details.get((score.subset, score.split))
                cell = f"{name} {score.subset} {score.split} {dim}"
                undefined += [f"{cell}: {key}" for key in missing]
                shown = score._replace(subset=name) if is_member else score
                measured.append(Measured(shown, details))
    content = {subset: digest.hexdigest() for subset, digest in model.content.items()}
    if is_member:
        # A member is one subset of its aggregate, so its own subsets become one hash.
        joined = json.dumps(content, sort_keys=True).encode()
        content = {name: hashlib.sha256(joined).hexdigest()}
    return TaskRun(
        results=results,
        scores=[entry.score for entry in measured],
        measured=measured,
        origin=dict.fromkeys(content, origin),
        content=content,
        query_metric=methods.query_metric,
        undefined=undefined,
        repeated=repeated,
    )


def _check_late(task: Any, encoder: Encoder) -> None:
    """Refuse tasks that need one row per item of a model that gives several. ConfigError."""
    from mteb.abstasks import AbsTaskRetrieval

    if not isinstance(task, AbsTaskRetrieval):
        check_one_row(encoder)


def _check(task: Any, reporter: Reporter) -> Repeated:
    """Check a retrieval task's data, and say what counts once."""
    from mteb.abstasks import AbsTaskRetrieval

    if not isinstance(task, AbsTaskRetrieval):
        return Repeated(0, 0)
    repeated = check_retrieval(task)
    for count, what in zip(repeated, ("documents", "candidates"), strict=True):
        if count:
            reporter.info(
                f"mteb:{task.metadata.name}: {count:,} {what} are listed again. They count once, "
                "as in mteb."
            )
    return repeated


def _replacements(task: Any, methods: TaskMethods) -> dict[str, Callable[..., Any]]:
    """Methods in place of the task's own, by their names.

    A task that needs all hits at once for scores of its own keeps mteb's path.
    """
    from mteb.abstasks import AbsTaskRetrieval, AbsTaskSTS

    # Of pairs only what mteb has computed is kept: it scores them all at once, from two sets of
    # rows.
    if isinstance(task, AbsTaskSTS):
        return {"_calculate_scores": partial(methods.keep_pairs, task._calculate_scores)}
    if not isinstance(task, AbsTaskRetrieval):
        return {}
    methods.choose_query_metric()
    # Two hooks of AbsTaskRetrieval that tasks of mteb 2.26 override: they want the hits themselves.
    overridden = [
        name
        for name in ("task_specific_scores", "_evaluate_subset")
        if getattr(type(task), name) is not getattr(AbsTaskRetrieval, name)
    ]
    if overridden:
        return {"task_specific_scores": partial(methods.keep_queries, task.task_specific_scores)}
    return {"_evaluate_subset": methods.retrieve}
