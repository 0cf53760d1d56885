"""Evaluate models on benchmarks: the composition root, and

python -m evals.run flickr8k --model PATH --data DIR [--limit N] [--dims 256,64] [--json]
python -m evals.run --suite paper-v2 --model jina-clip-v2
python -m evals.run --list
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from evals.catalog import Benchmark, ModelRef, Suite, benchmark, resolve_model
from evals.catalog import suite as find_suite
from evals.cli import Log, as_eval_error, exit_with, new_app, reported
from evals.evaluate import Outcome, Parts, evaluate
from evals.options import ENCODER_OPTIONS, Options, dims_list, takes_options
from evals.schema import ConfigError, EvalError

if TYPE_CHECKING:
    from evals.schema import Encoder


class Failure(NamedTuple):
    """One benchmark by one model that could not be evaluated, and why."""

    benchmark: str
    model: str
    error: EvalError


def evaluate_all(
    names: Sequence[str], models: Sequence[str], dims_of: Callable[[int], Sequence[int]], options: Options, log: Log
) -> tuple[list[Outcome], list[Failure]]:
    """Every named benchmark by every named model, at the dimensions that `dims_of` wants of a width.

    All names are checked before anything is loaded (ConfigError). When one evaluation fails the others still run.
    """
    rows = [benchmark(name) for name in dict.fromkeys(names)]
    refs = [resolve_model(name) for name in dict.fromkeys(models)]
    _check_names(rows, refs, options)
    options.results.mkdir(parents=True, exist_ok=True)  # an OSError now, not after an hour of encoding
    outcomes: list[Outcome] = []
    failures: list[Failure] = []
    loaded: dict[str, Parts] = {}
    for ref in refs:  # one model at a time in memory
        encoder: Encoder | None = None
        for row in rows:
            try:
                encoder = encoder or build_encoder(ref, options)
                if row.name not in loaded:
                    loaded[row.name] = load_parts(row, options)
                outcomes.append(evaluate(row, loaded[row.name], encoder, dims_of(encoder.dim), options, log))
            except (EvalError, OSError) as error:
                failures.append(Failure(row.name, ref.name, as_eval_error(error)))
                told = str(failures[-1].error)
                log.error(told if len(rows) * len(refs) == 1 else f"{row.name} by {ref.name}: {told}")
    return outcomes, failures


def _check_names(rows: Sequence[Benchmark], refs: Sequence[ModelRef], options: Options) -> None:
    for row in rows:
        if unknown := set(options.subset_names or ()) - set(row.subsets):
            raise ConfigError(f"{row.name} has no subset {', '.join(sorted(unknown))}. It has {', '.join(row.subsets)}.")
    names = [ref.name for ref in refs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"Two models would share the name {min(twice)} and the folder of their results. Rename one of them.")


def build_encoder(ref: ModelRef, options: Options) -> "Encoder":
    """The encoder of a model, fingerprinted but not loaded yet."""
    from evals.encoders import build

    place = {"name": ref.name, "folder": ref.folder, "repo": ref.repo, "revision": ref.revision, "spec": ref.spec}
    return build(
        ref.encoder,
        place,
        {name: getattr(options, name) for name in ENCODER_OPTIONS},
        {name: getattr(Options(), name) for name in ENCODER_OPTIONS},
    )


def load_parts(row: Benchmark, options: Options) -> Parts:
    """The data of a benchmark, counted."""
    from evals.data import check_counts, load, subset_of
    from evals.schema import CaptionProtocol, Source

    partial: dict[str, Any] = {}
    names = options.subset_names or row.subsets
    if set(names) != set(row.subsets):
        partial["subsets"] = list(names)
    source = Source(
        subsets=tuple(names),
        split=row.split,
        folder=_folder(row, options.data) if options.data else None,
        repo=row.hub.repo if row.hub else None,
        revision=row.hub.revision if row.hub else None,
        protocol=CaptionProtocol(**row.protocol.model_dump()),
    )
    parts = load(row.data, source)
    for subset, data in parts.items():
        texts = row.count_texts(subset)
        if check_counts(data, images=row.images, texts=texts, allow_subset=options.allow_subset, name=f"{row.name} {subset}"):
            partial["allow_subset"] = True
        if options.limit is not None and options.limit < len(data.images):
            partial |= {"limit": options.limit, "seed": 0}
            parts[subset] = subset_of(data, options.limit, seed=0)
    return Parts(parts, partial or None)


def _folder(row: Benchmark, data: Path) -> Path:
    """`--data DIR` is the benchmark's folder, or holds one for each benchmark, as `evals.data prepare` makes them."""
    own = data.expanduser() / (row.folder or row.name)
    return own if own.is_dir() else data.expanduser()


app = new_app()
Models = Annotated[
    list[str],
    typer.Option(
        "--model", "-m", help="Row of configs/models.yaml, folder, Hub id, open_clip:ARCH/TAG, st:PATH, api:URL. Repeatable."
    ),
]


@app.command()
@takes_options
def run(
    options: dict[str, Any],
    benchmarks: Annotated[
        list[str] | None, typer.Argument(metavar="BENCHMARK...", help="Rows of configs/benchmarks.yaml.")
    ] = None,
    model: Models = [],  # noqa: B006 - typer copies it
    suite: Annotated[list[str] | None, typer.Option("--suite", "-s", help="Row of configs/suites.yaml. Repeatable.")] = None,
    dims: Annotated[str | None, typer.Option(help="Dimensions to score, e.g. 256,64; full width unless given.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show all benchmarks and suites, and leave.")] = False,
) -> None:
    """Evaluate models on benchmarks: encode what is missing, score both directions, write the record."""
    with reported(json=options["json"]) as log:
        if listed:
            from evals.listing import as_json, print_list

            log.output(as_json(Options(**options).data)) if log.json else print_list(Options(**options).data)
            return
        chosen = [find_suite(name) for name in suite or ()]
        names = [*(benchmarks or ()), *(name for one in chosen for name in one.benchmarks)]
        if not names or not model:
            raise ConfigError("Name one benchmark or --suite at least, and a --model. --list shows what there is.")
        asked = dims_list(dims)
        finish(*evaluate_all(names, model, lambda width: asked or (width,), Options(**options), log), log, suites=chosen)


def finish(
    outcomes: Sequence[Outcome],
    failures: Sequence[Failure],
    log: Log,
    *also: Callable[[Sequence[Outcome]], None],
    suites: Sequence[Suite] = (),
) -> None:
    """Show what was measured (`also`: further views), then end with the exit code of the first failure, if there is one."""
    from evals.averages import averages
    from evals.show import as_json, print_averages, print_outcomes

    means = [mean for suite in suites for mean in averages(suite, outcomes)]
    if log.json:
        log.output(as_json(outcomes, failures, means))
    else:
        for view in (print_outcomes, *also):
            view(outcomes)
        print_averages(means)
    if failures:
        raise typer.Exit(failures[0].error.exit_code)


if __name__ == "__main__":
    exit_with(app)
