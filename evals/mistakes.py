"""The worst queries of a run: where the right document was ranked, and the five that were wrongly preferred:

python -m evals.mistakes tiny scenes [--subset en] [--direction i2t] [--top 20] [--html
PATH [--thumbnails]] python -m evals.mistakes results/runs/scenes/tiny/RECORD --markdown PATH
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from evals.cli.app import exit_with, new_app, reported
from evals.cli.options import Json
from evals.cli.results import finish, table_outputs, write_outputs
from evals.cli.vocabulary import Benchmarks, TableFiles, one_benchmark, shared_words
from evals.schema import ConfigError

app = new_app()


@app.command()
@shared_words
def mistakes(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RECORD|MODEL", help="Folder of a record, or a model with a benchmark."
        ),
    ],
    benchmarks: Annotated[
        list[str], Benchmarks("Take the model's newest record of this benchmark.")
    ],
    tables: TableFiles,
    subset: Annotated[str | None, typer.Option(help="Language; default: the first.")] = None,
    direction: Annotated[
        Literal["t2i", "i2t"],
        typer.Option(help="t2i: texts search for images; i2t: images search for texts."),
    ] = "t2i",
    dim: Annotated[
        int | None, typer.Option(min=1, help="Dimension; default: the largest that was scored.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many queries.")] = 20,
    data: Annotated[
        Path | None, typer.Option(help="Where the data is now, if it has moved since the run.")
    ] = None,
    thumbnails: Annotated[
        bool,
        typer.Option(
            "--thumbnails",
            help="Put small copies of the images into the page: check their licence.",
        ),
    ] = False,
    results: Annotated[
        str, typer.Option(envvar="EVALS_RESULTS", help="Where records are.")
    ] = "results/runs",
    store: Annotated[
        str | None,
        typer.Option(envvar="EVALS_STORE", help="Where embeddings are; default: as in the run."),
    ] = None,
    json: Json = False,
) -> None:
    """Show the worst queries of a run, and the documents that ranked above the right ones.

    Nothing is encoded.
    """
    with reported(json=json) as log:
        from evals.analysis.mistakes import chosen_cell, find_mistakes
        from evals.records.exchange import open_records
        from evals.records.selection import FULL, check_target, measured, operand
        from evals.views import mistakes as mistakes_page
        from evals.views.table_files import contents

        which = operand(target)
        if which.precision != FULL:
            raise ConfigError(
                f"{target}: mistakes are shown of float32 only. Leave :{which.precision} out."
            )
        check_target(which, benchmarks)
        name = "" if which.path else one_benchmark(benchmarks)
        # Never ignored: whoever writes it expects images somewhere.
        if thumbnails and not tables.html:
            raise ConfigError("--thumbnails means nothing without --html.")
        measurement = measured(which._replace(dim=dim or which.dim), open_records(results), name)
        cell = chosen_cell(measurement.run, subset, direction, measurement.dim)
        page = find_mistakes(measurement.run, cell, top=top, data=data, store=store)
        content = contents(lambda: mistakes_page.as_json(page)["mistakes"], "Mistakes") | {
            "markdown": lambda: mistakes_page.as_markdown(page),
            "html": lambda: mistakes_page.as_html(page, thumbnails=thumbnails),
        }
        written = write_outputs(*table_outputs(tables, content))

        def show() -> None:
            mistakes_page.print_table(page)
            log.result(f"record: {page.run.path}")

        finish(log, show=show, machine=lambda: mistakes_page.as_json(page), written=written)


if __name__ == "__main__":
    exit_with(app)
