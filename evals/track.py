"""Sends existing records to an experiment tracker:

python -m evals.track RECORD... --log trackio
python -m evals.track --benchmarks scenes --model tiny --log mlflow:PROJECT
"""

from pathlib import Path
from typing import Annotated

import typer

from evals.cli.app import exit_with, new_app, reported
from evals.cli.options import Json, Trackers
from evals.cli.results import finish
from evals.cli.vocabulary import Benchmarks, shared_words
from evals.counts import counted
from evals.schema import ConfigError

app = new_app()


@app.command()
@shared_words
def track(
    benchmarks: Annotated[
        list[str],
        Benchmarks("Only records of these benchmarks, if no folder is named.", positional=False),
    ],
    records: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RECORD...",
            help="Folders of records; default: the newest of each benchmark and model.",
        ),
    ] = None,
    trackers: Trackers = [],  # noqa: B006 - typer copies it
    model: Annotated[
        str | None, typer.Option(help="Only records of this model, if no folder is named.")
    ] = None,
    results: Annotated[
        str, typer.Option(envvar="EVALS_RESULTS", help="Where records are.")
    ] = "results/runs",
    json: Json = False,
) -> None:
    """Log records to experiment trackers: parameters, metrics with intervals, figures, the record."""
    with reported(json=json) as log:
        from evals.records.exchange import open_records
        from evals.records.selection import newest_of
        from evals.trackers.tracking import log_records, targets_of

        targets = targets_of(trackers)
        if not targets:
            raise ConfigError("Name a tracker: --log trackio, wandb or mlflow.")
        paths = records or [run.path for run in newest_of(open_records(results), benchmarks, model)]
        if not paths:
            raise ConfigError(f"{results}: no such record. Name one, or the folder they lie in.")
        log_records(targets, dict.fromkeys(paths, ()), log)
        finish(
            log,
            show=lambda: log.result(f"logged {counted(len(paths), 'record')}"),
            machine=lambda: {
                "schema_version": 1,
                "records": [str(path) for path in paths],
                "trackers": [target.tracker for target in targets],
            },
        )


if __name__ == "__main__":
    exit_with(app)
