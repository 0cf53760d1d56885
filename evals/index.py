"""What nearest-neighbour indexes cost and lose for a record's embeddings: recall of the task, bytes, speed:

python -m evals.index results/runs/scenes/tiny/RECORD [--dims 256,64] [--direction i2t] [--html index.html]
python -m evals.index tiny scenes --only exact,hnsw,binary --metric R@1
"""

from pathlib import Path
from typing import Annotated

import typer

from evals.cli.app import exit_with, new_app, reported
from evals.cli.options import Json, comma_list, dims_list
from evals.cli.results import Output, finish, table_outputs, write_outputs
from evals.cli.vocabulary import Benchmarks, Figures, TableFiles, one_benchmark, shared_words

app = new_app()


@app.command()
@shared_words
def index(
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
    figures: Figures,
    dims: Annotated[
        str | None, typer.Option(help="E.g. 256,64; default: all dimensions of the record.")
    ] = None,
    subset: Annotated[str | None, typer.Option(help="Language; default: the first.")] = None,
    direction: Annotated[
        str | None, typer.Option(help="t2i or i2t; default: the first of the record.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="R@k or Success@k of the record; default: the largest k.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Rows of the table, e.g. exact,hnsw; default: all that can be built."),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="YAML file of indexes; default: configs/indexes.yaml.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads for building and searching.")] = 1,
    data: Annotated[
        Path | None, typer.Option(help="Where the data is now, if it has moved since the run.")
    ] = None,
    results: Annotated[
        str, typer.Option(envvar="EVALS_RESULTS", help="Where records are.")
    ] = "results/runs",
    store: Annotated[
        str | None,
        typer.Option(envvar="EVALS_STORE", help="Where embeddings are; default: as in the run."),
    ] = None,
    json: Json = False,
) -> None:
    """Build and search indexes over stored embeddings; nothing is encoded."""
    with reported(json=json) as log:
        from evals.analysis.index_quality import measure
        from evals.config.indexes import chosen_indexes
        from evals.records.exchange import open_records
        from evals.records.record import read_run
        from evals.records.selection import check_target, newest_run, operand
        from evals.views import index_table as views
        from evals.views.table_files import contents

        which = operand(target)
        check_target(which, benchmarks)
        path = which.path
        rows = chosen_indexes(table, comma_list(only))
        name = "" if path else one_benchmark(benchmarks)
        run = read_run(path) if path else newest_run(open_records(results), name, target)
        quality = measure(
            run,
            rows,
            dims_list(dims),
            subset=subset,
            direction=direction,
            metric=metric,
            threads=threads,
            data=data,
            store=store,
            # What was asked for by name must be there; of the default table, what can be built here.
            required=only is not None or table is not None,
        )
        content = contents(lambda: views.as_json(quality)["points"], "Indexes") | {
            "html": lambda: views.as_html(quality),
            "markdown": lambda: views.as_markdown(quality),
            "csv": lambda: views.as_csv(quality),
        }
        written = write_outputs(
            *table_outputs(tables, content),
            Output("plot", figures.file("index.png"), lambda: views.figure_bytes(quality)),
        )
        finish(
            log,
            show=lambda: views.print_quality(quality),
            machine=lambda: views.as_json(quality),
            written=written,
        )


if __name__ == "__main__":
    exit_with(app)
