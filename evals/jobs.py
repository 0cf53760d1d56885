"""All work by all models: the composition root, where data, encoders, tasks and records are put together."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from evals.config.catalog import Benchmark
from evals.config.choice import Work
from evals.config.models import ModelRef, resolve_model
from evals.config.own_data import DataRef
from evals.config.suites import TaskRef
from evals.evaluation.distractors import check_distractors, read_distractors
from evals.evaluation.evaluate import checked_dims, evaluate
from evals.evaluation.forecast import Forecast, forecast
from evals.evaluation.load import Loaded, build_encoder, check, load_item
from evals.evaluation.outcome import Failure, Result, Results, TaskOutcome
from evals.evaluation.pool import Pool
from evals.evaluation.recording import Costs, prepare_results
from evals.evaluation.workforce import ALONE, Workforce, open_pool
from evals.evaluation.workload import work_line
from evals.os_errors import as_eval_error
from evals.progress import SILENT, Reporter
from evals.schema import EvalError
from evals.settings import Settings

if TYPE_CHECKING:
    from evals.analysis.fusion import Fused
    from evals.analysis.probe import Plan, Training
    from evals.schema import Encoder


OFFLINE = "HF_HUB_OFFLINE"


def evaluate_all(
    work: Sequence[Work],
    models: Sequence[str],
    dims_of: Callable[[int], Sequence[int]],
    settings: Settings,
    *,
    precisions: Sequence[str] = ("float32",),
    workforce: Workforce = ALONE,
    distractors: str | None = None,
    memory: int | None = None,
    reporter: Reporter = SILENT,
) -> Results:
    """All work by every named model, in this order, at the dimensions that `dims_of` chooses for a width.

    All names are checked before anything is loaded (ConfigError). When one evaluation fails the
    others still run. What is not stored yet is encoded by a `workforce`, processes of this machine
    or the nodes of a cluster; tasks of mteb, which load their data themselves, by this process
    alone. `distractors` names a source of items that join the galleries, see
    `evals.evaluation.distractors`; `memory` is that of `evaluate`, in bytes.
    """
    refs = [resolve_model(name) for name in dict.fromkeys(models)]
    check(work, refs, settings, precisions)
    joining = None
    if distractors is not None:
        check_distractors(distractors, work)
        joining = read_distractors(distractors)
    prepare_results(settings)  # an error now, not after an hour
    single = len(work) * len(refs) == 1
    outcomes: list[Result] = []
    failures: list[Failure] = []
    # Read once for all models, which measure the same files.
    loaded: dict[str, Loaded] = {}

    def read(item: Work) -> None:
        # mteb reads the data of its tasks itself
        if not isinstance(item, TaskRef) and item.name not in loaded:
            loaded[item.name] = load_item(item, settings)

    def measured(item: Work, ref: ModelRef, encoder: "Encoder", pool: Pool) -> Result:
        dims = dims_of(encoder.dim)
        if isinstance(item, TaskRef):
            return evaluate_task(item, encoder, dims, settings, reporter=line)
        costs = Costs()
        pool.encode(item, ref, loaded[item.name], encoder, costs)
        return evaluate(
            *loaded[item.name],
            encoder,
            dims,
            settings,
            precisions=precisions,
            costs=costs,
            distractors=joining,
            memory=memory,
            reporter=line,
        )

    with (
        work_line(reporter, work, refs, settings) as line,
        open_pool(workforce, settings, line) as pool,
    ):
        for ref in refs:  # one model at a time in memory
            encoder: Encoder | None = None
            for item in work:
                line.begin(item, ref)
                try:
                    # The data first: what is wrong with it is said in a second, while a checkpoint
                    # is hashed and torch imported in ten.
                    read(item)
                    # Inside: a model that cannot be had fails each of its evaluations, and no
                    # other model's.
                    encoder = encoder or named_encoder(ref, settings, reporter=line)
                    line.plan(encoder, loaded.get(item.name))
                    outcomes.append(measured(item, ref, encoder, pool))
                except (EvalError, OSError) as error:
                    # A full disk or a lost connection ends one evaluation; what is stored is kept
                    # for the next try.
                    failure = Failure(item.name, ref.name, as_eval_error(error))
                    failures.append(failure)
                    line.error(_message(failure, single=single))
    return Results(outcomes, failures)


def forecast_all(work: Sequence[Work], models: Sequence[str], settings: Settings) -> list[Forecast]:
    """What `evaluate_all` would encode, after the same checks of names; nothing is encoded.

    Nothing is fetched either: what is not on this machine is told as unknown.
    """
    refs = [resolve_model(name) for name in dict.fromkeys(models)]
    check(work, refs, settings)
    before = os.environ.get(OFFLINE)
    # huggingface_hub reads it once, when it is imported: a command has not imported it yet.
    os.environ[OFFLINE] = "1"
    try:
        return forecast(work, refs, settings)
    finally:
        if before is None:
            del os.environ[OFFLINE]
        else:
            os.environ[OFFLINE] = before


def named_encoder(ref: ModelRef, settings: Settings, *, reporter: Reporter = SILENT) -> "Encoder":
    """The encoder of a model; ConfigError for a name that records of another model carry."""
    from evals.evaluation.names import check_name

    prepare_results(settings)
    encoder = build_encoder(ref, settings)
    warning = check_name(encoder, settings.records, chosen=ref.name_chosen)
    if warning:
        reporter.info(warning)
    return encoder


def _message(failure: Failure, *, single: bool) -> str:
    """The error, and of several evaluations which one it ended."""
    text = str(failure.error)
    if single:
        return text
    return f"{failure.benchmark} by {failure.model}: {text.removeprefix(f'{failure.benchmark}: ')}"


def evaluate_task(
    task: TaskRef,
    encoder: "Encoder",
    dims: Sequence[int],
    settings: Settings,
    *,
    reporter: Reporter = SILENT,
) -> TaskOutcome:
    """One mteb task by one model; ConfigError for a dimension that the encoder does not have."""
    from evals.mteb_bridge.bridge import evaluate_task as evaluate_by_mteb

    dims = checked_dims(dims, encoder)
    # What the suite says of this task; --subsets cannot stand beside it, see evals.config.choice.
    if task.subsets:
        settings = replace(settings, subsets=task.subsets)
    name = task.name.removeprefix("mteb:")
    return evaluate_by_mteb(name, encoder, dims, settings, reporter=reporter)


def fuse(
    item: Benchmark | DataRef,
    encoder: "Encoder",
    dims: Sequence[int],
    settings: Settings,
    *,
    figures: Path | None = None,
    no_figures: bool = False,
    reporter: Reporter = SILENT,
) -> "Fused":
    """Captioned images as documents with a text and an image, by one model.

    Findings lie beside the record, and figures in the folder `figures` or there, too.
    ConfigError for other data.
    """
    from evals.analysis.fusion import as_fusion, measure, write_findings
    from evals.views.fusion_figures import draw

    row, parts = load_item(item, settings)
    fused = measure(as_fusion(row), parts, encoder, dims, settings, reporter=reporter)
    files = [write_findings(fused)]
    if not no_figures:
        files += draw(fused, figures)
    return fused._replace(files=files)


def probe(
    item: Benchmark | DataRef,
    refs: Sequence[ModelRef],
    dims: Sequence[int] | None,
    settings: Settings,
    *,
    training: "Training",
    plan: "Plan",
    reporter: Reporter = SILENT,
) -> Results:
    """k-NN and linear probes of labelled images by every model, each a record.

    `dims` None is the full width. ConfigError for other data.
    """
    from evals.analysis.probe import check_probed, measure, training_images

    row, parts = load_item(item, settings)
    check_probed(row)
    images = training_images(row, training, parts, settings)
    outcomes: list[Result] = []
    for ref in refs:
        encoder = named_encoder(ref, settings, reporter=reporter)
        chosen = checked_dims(dims or (encoder.dim,), encoder)
        outcomes += measure(row, parts, images, encoder, chosen, settings, plan, reporter=reporter)
    return Results(outcomes, [])
