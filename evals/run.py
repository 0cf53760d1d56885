"""Evaluate models on benchmarks: the composition root, and

python -m evals.run flickr8k --model PATH --data DIR [--limit N] [--dims 256,64] [--json]
python -m evals.run mteb:STSBenchmark mteb:MSMARCO/dev --model st:PATH [--subsets en] [--instruction]
python -m evals.run --suite paper-v2 --model jina-clip-v2
python -m evals.run --list
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.faults import as_eval_error
from evals.cli.options import ENCODER_OPTIONS, Options, dims_list, takes_options
from evals.config.catalog import Benchmark, ModelRef, resolve_model
from evals.config.suites import Suite, TaskRef, choose
from evals.evaluation.evaluate import Parts, evaluate
from evals.evaluation.outcome import Result, TaskOutcome
from evals.schema import CaptionProtocol, ClassPrompts, ConfigError, EvalError, MissingError, Source

if TYPE_CHECKING:
    from evals.schema import Encoder


class Failure(NamedTuple):
    """One benchmark or mteb task by one model that could not be evaluated, and why."""

    benchmark: str
    model: str
    error: EvalError


def evaluate_all(
    work: Sequence[Benchmark | TaskRef],
    models: Sequence[str],
    dims_of: Callable[[int], Sequence[int]],
    options: Options,
    log: Log,
    *,
    precisions: Sequence[str] = ("float32",),
) -> tuple[list[Result], list[Failure]]:
    """All work by every named model, in this order, at the dimensions that `dims_of` wants of a width.

    All names are checked before anything is loaded (ConfigError). When one evaluation fails the others still run.
    """
    refs = [resolve_model(name) for name in dict.fromkeys(models)]
    check(work, refs, options, precisions)
    options.results.mkdir(
        parents=True, exist_ok=True
    )  # an OSError now, not after an hour of encoding
    outcomes: list[Result] = []
    failures: list[Failure] = []
    loaded: dict[str, Parts] = {}
    for ref in refs:  # one model at a time in memory
        encoder: Encoder | None = None
        for item in work:
            try:
                encoder = encoder or build_encoder(ref, options)
                dims = dims_of(encoder.dim)
                if isinstance(item, TaskRef):
                    outcomes.append(_evaluate_task(item, encoder, dims, options, log))
                else:
                    if item.name not in loaded:
                        loaded[item.name] = load_parts(item, options)
                    outcomes.append(
                        evaluate(
                            item,
                            loaded[item.name],
                            encoder,
                            dims,
                            options,
                            log,
                            precisions=precisions,
                        )
                    )
            except (EvalError, OSError) as error:
                failures.append(Failure(item.name, ref.name, as_eval_error(error)))
                told = str(failures[-1].error)
                alone = len(work) * len(refs) == 1
                log.error(
                    told
                    if alone
                    else f"{item.name} by {ref.name}: {told.removeprefix(f'{item.name}: ')}"
                )
    return outcomes, failures


def _evaluate_task(
    task: TaskRef, encoder: "Encoder", dims: Sequence[int], options: Options, log: Log
) -> TaskOutcome:
    from evals.mteb_bridge.bridge import evaluate_task

    if wrong := [dim for dim in dims if not 1 <= dim <= encoder.dim]:
        raise ConfigError(
            f"--dims {','.join(map(str, wrong))}: {encoder.name} has {encoder.dim} dimensions."
        )
    if task.subsets:
        options = replace(options, subsets=",".join(task.subsets))
    name, dims = task.name.removeprefix("mteb:"), sorted(set(dims), reverse=True)
    return evaluate_task(name, encoder, dims, options, log, instruction=options.instruction)


def check(
    work: Sequence[Benchmark | TaskRef],
    refs: Sequence[ModelRef],
    options: Options,
    precisions: Sequence[str] = ("float32",),
) -> None:
    """ConfigError for what can be seen to be wrong before anything is loaded; MissingError when mteb is needed and not there."""
    for item in work:
        if isinstance(item, Benchmark) and (
            unknown := set(options.subset_names or ()) - set(item.subsets)
        ):
            raise ConfigError(
                f"{item.name} has no subset {', '.join(sorted(unknown))}. It has {', '.join(item.subsets)}."
            )
    tasks = [item for item in work if isinstance(item, TaskRef)]
    _check_tasks(tasks, options)
    if tasks and tuple(precisions) != ("float32",):
        raise ConfigError(
            f"{tasks[0].name} is measured in float32 only. Leave out --precisions, or name benchmarks alone."
        )
    labelled = [
        item.name for item in work if isinstance(item, Benchmark) and item.task == "classification"
    ]
    if labelled and any("+rescore" in name for name in precisions):
        raise ConfigError(
            f"{labelled[0]}: classes are few, and are not rescored. Leave --rescore out."
        )
    names = [ref.name for ref in refs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(
            f"Two models would share the name {min(twice)} and the folder of their results. Rename one of them."
        )


def _check_tasks(tasks: Sequence[TaskRef], options: Options) -> None:
    if options.instruction and not tasks:
        raise ConfigError("--instruction means nothing without a task of mteb. Leave it out.")
    if tasks and importlib.util.find_spec("mteb") is None:
        raise MissingError(f"{tasks[0].name} needs mteb. Run: pip install 'jina-clip-evals[mteb]'.")
    for name, given in (
        ("--limit", options.limit is not None),
        ("--allow-subset", options.allow_subset),
    ):
        if tasks and given:
            raise ConfigError(
                f"{name} means nothing to {tasks[0].name}: tasks of mteb are measured whole. Leave it out."
            )


def build_encoder(ref: ModelRef, options: Options) -> "Encoder":
    """The encoder of a model, fingerprinted but not loaded yet."""
    from evals.encoders import build

    place = {
        "name": ref.name,
        "folder": ref.folder,
        "repo": ref.repo,
        "revision": ref.revision,
        "spec": ref.spec,
    }
    return build(
        ref.encoder,
        place,
        {name: getattr(options, name) for name in ENCODER_OPTIONS},
        {name: getattr(Options(), name) for name in ENCODER_OPTIONS},
    )


def load_parts(row: Benchmark, options: Options) -> Parts:
    """The data of a benchmark, counted."""
    from evals.data import check_counts, load, subset_of

    partial: dict[str, Any] = {}
    names = options.subset_names or row.subsets
    if set(names) != set(row.subsets):
        partial["subsets"] = list(names)
    parts = load(row.data, source_of(row, names, options.data))
    for subset, data in parts.items():
        name = f"{row.name} {subset}"
        if check_counts(data, **row.counts(subset), allow_subset=options.allow_subset, name=name):
            partial["allow_subset"] = True
        if options.limit is not None and options.limit < len(data.images):
            partial |= {"limit": options.limit, "seed": 0}
            parts[subset] = subset_of(data, options.limit, seed=0)
    return Parts(parts, partial or None)


def source_of(row: Benchmark, subsets: Sequence[str], data: Path | None) -> Source:
    """Where a row's subsets are read from: the Hub, or the folder of `--data`."""
    return Source(
        subsets=tuple(subsets),
        split=row.split,
        folder=_folder(row, data) if data else None,
        repo=row.hub.repo if row.hub else None,
        revision=row.hub.revision if row.hub else None,
        protocol=CaptionProtocol(**row.protocol.model_dump()),
        prompts=_class_prompts(row),
    )


def _class_prompts(row: Benchmark) -> ClassPrompts | None:
    if row.classes is None:
        return None
    own = row.classes
    return ClassPrompts(
        own.count, own.names, own.templates, own.wordnet, multilabel=row.metric == "mAP"
    )


def _folder(row: Benchmark, data: Path) -> Path:
    """`--data DIR` is the benchmark's folder, or holds one for each benchmark, as `evals.data prepare` makes them."""
    own = data.expanduser() / (row.folder or row.name)
    return own if own.is_dir() else data.expanduser()


app = new_app()
Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        "-m",
        help="Row of configs/models.yaml, folder, Hub id, open_clip:ARCH/TAG, st:PATH, api:URL. Repeatable.",
    ),
]


@app.command()
@takes_options
def run(
    options: dict[str, Any],
    benchmarks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BENCHMARK...",
            help="Rows of configs/benchmarks.yaml, mteb:TASK[/SPLIT], or suites.",
        ),
    ] = None,
    model: Models = [],  # noqa: B006 - typer copies it
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", "-s", help="Row of configs/suites.yaml. Repeatable."),
    ] = None,
    dims: Annotated[
        str | None, typer.Option(help="Dimensions to score, e.g. 256,64; full width unless given.")
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Show all benchmarks and suites, and leave.")
    ] = False,
) -> None:
    """Evaluate models on benchmarks: encode what is missing, score it, write the record."""
    with reported(json=options["json"]) as log:
        if listed:
            from evals.views.listing import as_json, print_list

            log.output(as_json(Options(**options).data)) if log.json else print_list(
                Options(**options).data
            )
            return
        if not (benchmarks or suite) or not model:
            raise ConfigError(
                "Name one benchmark or --suite at least, and a --model. --list shows what there is."
            )
        given = Options(**options)
        work, suites = choose(benchmarks or (), suite or (), subsets=given.subsets)
        asked = dims_list(dims)
        finish(
            *evaluate_all(work, model, lambda width: asked or (width,), given, log),
            log,
            suites=suites,
        )


def finish(
    outcomes: Sequence[Result],
    failures: Sequence[Failure],
    log: Log,
    *views: Callable[[Sequence[Result]], None],
    suites: Sequence[Suite] = (),
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Show what was measured by `views`, or the plain table, or with `extra` as JSON; end with the first failure's code."""
    from evals.evaluation.averages import averages
    from evals.views.tables import as_json, print_averages, print_outcomes

    if failures:
        log.settle(failures[0].error.exit_code)
    means = [mean for suite in suites for mean in averages(suite, outcomes)]
    if log.json:
        log.output(as_json(outcomes, failures, means, suites) | dict(extra or {}))
    else:
        for view in views or (print_outcomes,):
            view(outcomes)
        print_averages(means, suites)


if __name__ == "__main__":
    exit_with(app)
