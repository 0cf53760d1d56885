"""Records in the forms that other tools read:

python -m evals.export --to csv [RECORD...] [--out DIR] [--benchmarks scenes] [--model tiny]
python -m evals.export results/runs/scenes/tiny/RECORD --to clip-benchmark
"""

from pathlib import Path
from typing import Annotated

import typer

from evals.cli.app import exit_with, new_app, reported
from evals.cli.options import Json, needed
from evals.cli.results import finish
from evals.cli.vocabulary import Benchmarks, shared_words
from evals.export.forms import FORMS, export, exportable
from evals.files import write_atomically

app = new_app()
LISTED = "; ".join(f"{name}: {form.about}" for name, form in FORMS.items())


@app.command()
@shared_words
def export_records(
    benchmarks: Annotated[
        list[str],
        Benchmarks("Only records of these benchmarks, if no folder is named.", positional=False),
    ],
    form: Annotated[
        str | None, typer.Option("--to", help=f"The format; required. {LISTED}.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the files are written.")] = Path(
        "results/export"
    ),
    records: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RECORD...",
            help="Folders of records; default: the newest of each benchmark and model.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Only records of this model, if no folder is named.")
    ] = None,
    results: Annotated[
        str, typer.Option(envvar="EVALS_RESULTS", help="Where records are.")
    ] = "results/runs",
    json: Json = False,
) -> None:
    """Write records in the format of another tool."""
    with reported(json=json) as log:
        from evals.records.exchange import open_records
        from evals.records.record import read_run
        from evals.records.selection import newest_of

        format_name = needed(form, "--to", "csv")
        if records:
            runs = [read_run(path) for path in dict.fromkeys(records)]
        else:
            chosen = newest_of(open_records(results), benchmarks, model)
            # nobody named these: what the format has no place for is told, and stops nothing
            runs, refused = exportable(chosen, format_name)
            for reason in refused:
                log.info(f"left out: {reason}")
        # all formats are made before the first file is written: one bad record leaves nothing
        written = []
        for name, data in export(runs, format_name).items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
            written.append(path)

        def show() -> None:
            for path in written:
                log.result(f"wrote {path}")

        finish(
            log,
            show=show,
            machine=lambda: {
                "schema_version": 1,
                "to": format_name,
                "records": [str(run.path) for run in runs],
                "files": [str(path) for path in written],
            },
        )


if __name__ == "__main__":
    exit_with(app)
