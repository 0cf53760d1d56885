"""How much a shorter embedding keeps: every dimension scored from one encode.

python -m evals.mrl_sweep [BENCHMARK...] --dims 64,128,256 [--suite NAME]
[--model PATH]
python -m evals.mrl_sweep flickr --model jina-clip-v2 --precisions float32,int8,binary
    --rescore 100 --keep 99
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals.cli.app import exit_with, new_app, reported
from evals.cli.figures import draw_figures
from evals.cli.options import (
    Cluster,
    DryRun,
    GpusPerWorker,
    Memory,
    Models,
    Trackers,
    Workers,
    comma_list,
    dims_list,
    in_bytes,
    settings_of,
    takes_options,
)
from evals.cli.results import finish, table_outputs, write_outputs
from evals.cli.vocabulary import ROWS, Benchmarks, Figures, TableFiles, shared_words
from evals.config.choice import choose
from evals.embeddings.precision import BITS, DIMS, FEWEST, with_rescoring
from evals.evaluation.workforce import Workforce
from evals.jobs import evaluate_all, forecast_all
from evals.schema import ConfigError

if TYPE_CHECKING:
    from evals.evaluation.claims import Subject
    from evals.evaluation.outcome import Result

app = new_app()


@app.command()
@shared_words
@takes_options
def sweep(
    options: dict[str, Any],
    benchmarks: Annotated[list[str], Benchmarks(f"{ROWS}; default: scenes.")],
    tables: TableFiles,
    figures: Figures,
    dims: Annotated[
        str | None,
        typer.Option(help=f"Dimensions; default: those of {', '.join(map(str, DIMS))} that fit."),
    ] = None,
    model: Models = ["tiny"],  # noqa: B006 - typer copies it
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", "-s", help="Row of configs/suites.yaml. Repeatable."),
    ] = None,
    precisions: Annotated[
        str, typer.Option(help=f"{', '.join(BITS)}; float32 is always included.")
    ] = "float32",
    rescore: Annotated[
        int | None,
        typer.Option(
            min=FEWEST,
            help="For int8 and binary, also rank the best N candidates again in float32.",
        ),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(
            max=100,
            help="Name the smallest vector that is shown to keep more than N per cent, e.g. 99.",
        ),
    ] = None,
    dry_run: DryRun = False,
    memory: Memory = None,
    workers: Workers = None,
    cluster: Cluster = None,
    gpus_per_worker: GpusPerWorker = None,
    trackers: Trackers = [],  # noqa: B006 - typer copies it
    stand_in: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            help="MODEL=NEW: check published statements about MODEL against NEW (a name or folder "
            "of --model), with a footnote. Repeatable.",
        ),
    ] = None,
) -> None:
    """Score embeddings cut to several dimensions, always including the full width.

    Nothing is encoded twice.
    """
    with reported(json=options["json"]) as log:
        from evals.analysis.smallest import smallest_of
        from evals.evaluation.claims import as_json, check_claims
        from evals.evaluation.points import as_csv, points
        from evals.report.checkpoints import stand_ins
        from evals.trackers.tracking import log_records, targets_of
        from evals.views.claims import print_claims
        from evals.views.forecast import as_json as forecast_json
        from evals.views.forecast import print_forecast
        from evals.views.results import results_json, show_results
        from evals.views.smallest import as_json as smallest_json
        from evals.views.smallest import method, print_smallest, sentence
        from evals.views.sweep_table import KEPT, print_sweep
        from evals.views.table_files import contents

        if keep is not None:
            _check_keep(keep)
        chosen = dims_list(dims)
        names_by_model = stand_ins(stand_in or [])

        def dims_of(width: int) -> list[int]:
            # The full width is what every share is of.
            return sorted({*(chosen or (dim for dim in DIMS if dim < width)), width})

        settings = settings_of(options)
        # before an hour of encoding, not after it
        targets = targets_of(trackers)
        # float32 likewise: precisions are judged by what they keep of it.
        kinds = with_rescoring(("float32", *(comma_list(precisions) or ())), rescore)
        folder = figures.folder
        names = benchmarks or (() if suite else ("scenes",))
        work, suites = choose(names, suite or (), subsets=settings.subsets, data_name=settings.name)
        if dry_run:
            lines = forecast_all(work, model, settings)
            finish(log, show=lambda: print_forecast(lines), machine=lambda: forecast_json(lines))
            return
        results = evaluate_all(
            work,
            model,
            dims_of,
            settings,
            precisions=kinds,
            memory=in_bytes(memory),
            workforce=Workforce(workers, cluster, gpus_per_worker),
            reporter=log,
        )
        sweep_points = [point for outcome in results.outcomes for point in points(outcome)]
        subjects = _subjects(results.outcomes, names_by_model)
        # Who measures another model does not wait for statements about this one.
        verdicts = check_claims(results.outcomes, subjects) if subjects else []
        answers = smallest_of(results.outcomes, keep / 100) if keep else []
        rows = [point._asdict() for point in sweep_points]
        answer = " ".join(map(sentence, answers)) or "Dimensions and precisions"
        content = contents(lambda: rows, answer, [KEPT, *map(method, answers[:1])])
        content["csv"] = lambda: as_csv(sweep_points)
        written = [*write_outputs(*table_outputs(tables, content)).values()]
        drawn: dict[Path, list[Path]] = {outcome.path: [] for outcome in results.outcomes}
        if folder is not None:
            drawn = _draw(results.outcomes, folder)
            written += _paths(drawn)
        elif not figures.none:
            written += draw_figures(log, lambda: _paths(_draw(results.outcomes, None)))
        extra = {
            "sweep": rows,
            "claims": as_json(verdicts),
            "keep": [smallest_json(answer) for answer in answers],
            "written": list(map(str, written)),
        }
        for path in written:
            log.info(f"wrote {path}")

        def show() -> None:
            show_results(results, print_sweep, suites=suites)
            print_claims(verdicts)
            print_smallest(answers)

        finish(
            log,
            show=show,
            machine=lambda: results_json(results, suites=suites, extra=extra),
            exit_code=results.exit_code,
        )
        log_records(targets, drawn, log)


def _check_keep(keep: float) -> None:
    """ConfigError for what looks like a share: 0.95 and 1 would be read as hardly anything."""
    if keep < 2:
        meant = (
            f"for {100 * keep:g}% write --keep {100 * keep:g}" if keep > 0 else "write --keep 95"
        )
        raise ConfigError(f"--keep {keep:g}: it is in per cent, from 2 to 100: {meant}.")


def _subjects(outcomes: "list[Result]", names_by_model: Mapping[str, str]) -> "dict[str, Subject]":
    """Who the measured models are, as their records say: a name proves nothing."""
    from evals.evaluation.claims import Subject, claims
    from evals.records.identity import Named
    from evals.records.manifest import read_manifest
    from evals.report.checkpoints import is_published

    choices = {model: Named.of(name) for model, name in names_by_model.items()}
    stated = {claim.model for claim in claims().values()}
    subjects = {}
    for outcome in outcomes:
        # nothing is stated about this name, and nobody said that it stands for another
        if outcome.model not in stated and not choices:
            continue
        identity = read_manifest(outcome.path).model_identity
        stands_for = [model for model, choice in choices.items() if choice.accepts(identity)]
        subjects[outcome.model] = Subject(
            described=str(identity),
            published=is_published(identity),
            stands_for=next(iter(stands_for), None),
        )
    return subjects


def _draw(outcomes: "list[Result]", folder: Path | None) -> dict[Path, list[Path]]:
    """By record its figures: those of all records in one folder, or each beside its record."""
    from evals.evaluation.points import points
    from evals.views.sweep_figures import draw

    return {outcome.path: draw(points(outcome), folder or outcome.path) for outcome in outcomes}


def _paths(figures: Mapping[Path, list[Path]]) -> list[Path]:
    return [path for paths in figures.values() for path in paths]


if __name__ == "__main__":
    exit_with(app)
