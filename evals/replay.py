"""Scores a record again from its stored embeddings, without a forward pass: equal to the bit, or what differs:

python -m evals.replay results/runs/scenes/tiny/RECORD [--store DIR] [--data DIR]
python -m evals.replay tiny scenes
"""

from pathlib import Path
from typing import Annotated

import typer

from evals.cli.app import exit_with, new_app, reported
from evals.cli.options import Json
from evals.cli.results import finish
from evals.cli.vocabulary import Benchmarks, one_benchmark, shared_words

app = new_app()
DIFFERS = 1


@app.command()
@shared_words
def replay(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RECORD|MODEL", help="Folder of a record, or a model with a benchmark."
        ),
    ],
    benchmarks: Annotated[
        list[str], Benchmarks("Take the model's newest record of this benchmark.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="Where the data is now, if it has moved since the run.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            envvar="EVALS_STORE",
            help="Where embeddings are; default: as in the run, or in its record.",
        ),
    ] = None,
    results: Annotated[
        str, typer.Option(envvar="EVALS_RESULTS", help="Where records are.")
    ] = "results/runs",
    json: Json = False,
) -> None:
    """Score the stored embeddings of a record again, and check that all numbers are bit-identical."""
    with reported(json=json) as log:
        from evals.analysis.replay import replay as replayed
        from evals.records.exchange import open_records
        from evals.records.record import read_run
        from evals.records.selection import check_target, newest_run, operand
        from evals.views import replay as views

        which = operand(target)
        check_target(which, benchmarks)
        path = which.path
        name = "" if path else one_benchmark(benchmarks)
        run = read_run(path) if path else newest_run(open_records(results), name, target)
        result = replayed(run, data=data, store=store)
        finish(
            log,
            show=lambda: views.print_replay(result),
            machine=lambda: views.as_json(result),
            exit_code=0 if result.bit_equal else DIFFERS,
        )


if __name__ == "__main__":
    exit_with(app)
