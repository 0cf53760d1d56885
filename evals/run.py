"""Evaluate models on benchmarks:

python -m evals.run flickr8k --model PATH --data DIR [--limit N] [--dims 256,64] [--json]
python -m evals.run mteb:STSBenchmark mteb:MSMARCO/dev --model st:PATH [--subsets en]
[--instruction] python -m evals.run --suite paper-v2 --model jina-clip-v2 python -m evals.run --list
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.figures import draw_figures
from evals.cli.options import (
    Cluster,
    DryRun,
    GpusPerWorker,
    Memory,
    Models,
    Trackers,
    Workers,
    dims_list,
    in_bytes,
    settings_of,
    takes_options,
)
from evals.cli.results import finish, table_outputs, write_outputs
from evals.cli.vocabulary import Benchmarks, TableFiles, shared_words
from evals.config.choice import choose
from evals.evaluation.workforce import Workforce
from evals.jobs import evaluate_all, forecast_all
from evals.schema import ConfigError

if TYPE_CHECKING:
    from evals.evaluation.outcome import Results

app = new_app()


@app.command()
@shared_words
@takes_options
def run(
    options: dict[str, Any],
    benchmarks: Annotated[list[str], Benchmarks()],
    tables: TableFiles,
    model: Models = [],  # noqa: B006 - typer copies it
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", "-s", help="Row of configs/suites.yaml. Repeatable."),
    ] = None,
    dims: Annotated[
        str | None, typer.Option(help="Dimensions to score, e.g. 256,64; default: full width.")
    ] = None,
    memory: Memory = None,
    workers: Workers = None,
    cluster: Cluster = None,
    gpus_per_worker: GpusPerWorker = None,
    distractors: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Add distractors to the galleries, for a curve of recall by gallery size: "
            "a row, captions:PLACE, labels:PLACE, images:PLACE or embeddings:FILE.",
        ),
    ] = None,
    trackers: Trackers = [],  # noqa: B006 - typer copies it
    dry_run: DryRun = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Show all benchmarks and suites, and exit.")
    ] = False,
) -> None:
    """Evaluate models on benchmarks: encode what is missing, score it, write the record."""
    with reported(json=options["json"]) as log:
        from evals.trackers.tracking import log_records, targets_of
        from evals.views.forecast import as_json as forecast_json
        from evals.views.forecast import print_forecast
        from evals.views.gallery_curve import print_curves
        from evals.views.results import result_rows, results_json, show_results
        from evals.views.table_files import contents

        settings = settings_of(options)
        if listed:
            from evals.views.listing import as_json, print_list

            if log.json:
                log.output(as_json(settings.data))
            else:
                print_list(settings.data)
            return
        # No default model: an hour on the wrong one is worse than a message.
        if not (benchmarks or suite) or not model:
            # What is there already is not asked for again.
            lacking = [] if benchmarks or suite else ["one benchmark or --suite at least"]
            lacking += [] if model else ["a --model"]
            raise ConfigError(f"Name {', and '.join(lacking)}. --list shows what there is.")
        work, suites = choose(
            benchmarks, suite or (), subsets=settings.subsets, data_name=settings.name
        )
        if dry_run:
            lines = forecast_all(work, model, settings)
            finish(log, show=lambda: print_forecast(lines), machine=lambda: forecast_json(lines))
            return
        dimensions = dims_list(dims)
        # before an hour of encoding, not after it
        targets = targets_of(trackers)
        results = evaluate_all(
            work,
            model,
            lambda width: dimensions or (width,),
            settings,
            memory=in_bytes(memory),
            workforce=Workforce(workers, cluster, gpus_per_worker),
            distractors=distractors,
            reporter=log,
        )
        content = contents(lambda: result_rows(results), "Results")
        files = [*write_outputs(*table_outputs(tables, content)).values()]
        files += _curve_files(log, results) if distractors else []

        def show() -> None:
            show_results(results, suites=suites)
            print_curves(results.outcomes)
            for path in files:
                log.result(f"wrote: {path}")

        extra = {"written": list(map(str, files))} if distractors or files else {}
        finish(
            log,
            show=show,
            machine=lambda: results_json(results, suites=suites, extra=extra),
            exit_code=results.exit_code,
        )
        log_records(targets, {outcome.path: () for outcome in results.outcomes}, log)


def _curve_files(log: Log, results: "Results") -> list[Path]:
    """The tables and figures of runs with distractors, beside their records."""
    from evals.views.gallery_figure import draw_curves, write_curves

    written = write_curves(results.outcomes)
    return written + draw_figures(log, lambda: draw_curves(results.outcomes))


if __name__ == "__main__":
    exit_with(app)
