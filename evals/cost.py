"""What it costs to embed and keep a benchmark, in tiles, tokens and bytes:

python -m evals.cost [BENCHMARK...] [--model PATH] [--data DIR] [--dims 1024,256] [--json]
"""

from pathlib import Path
from typing import Annotated

import typer

from evals.cli.app import exit_with, new_app, reported
from evals.cli.options import Json, comma_list, dims_list
from evals.cli.results import finish, table_outputs, write_outputs
from evals.cli.vocabulary import Benchmarks, TableFiles, shared_words
from evals.config.choice import choose_row
from evals.config.models import resolve_model
from evals.embeddings.precision import DIMS
from evals.evaluation.load import check
from evals.settings import Settings

app = new_app()


@app.command()
@shared_words
def cost(
    benchmarks: Annotated[
        list[str], Benchmarks("Rows of configs/benchmarks.yaml; default: scenes.")
    ],
    tables: TableFiles,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="jina-clip model whose tokenizer counts the tokens."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Local folder (or annotation file) instead of the Hub.")
    ] = None,
    subsets: Annotated[
        str | None, typer.Option(help="Languages to count, e.g. en,de; default: all.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only N images, chosen with a seed.")
    ] = None,
    allow_subset: Annotated[
        bool, typer.Option("--allow-subset", help="Accept data with fewer items than declared.")
    ] = False,
    dims: Annotated[
        str | None,
        typer.Option(help=f"Dimensions to store; default: {','.join(map(str, DIMS))}."),
    ] = None,
    json: Json = False,
) -> None:
    """Count image tiles and tokens, words and text tokens, and the bytes of a million vectors."""
    with reported(json=json) as log:
        from evals.analysis.cost import benchmark_cost, read_tokenizer, storage
        from evals.views.cost import as_json, notes, print_costs, table_rows
        from evals.views.table_files import contents

        settings = Settings(
            data=data, subsets=comma_list(subsets), limit=limit, allow_subset=allow_subset
        )
        items = [choose_row(name) for name in benchmarks or ["scenes"]]
        check(items, [], settings)
        stored = storage(dims_list(dims) or DIMS)
        # Before the data: a tokenizer that cannot be had is found in seconds.
        tokenizer = read_tokenizer(resolve_model(model)) if model else None
        costs = [benchmark_cost(item, settings, tokenizer) for item in items]
        content = contents(lambda: table_rows(costs, stored), "What it costs", notes(model))
        finish(
            log,
            show=lambda: print_costs(costs, stored, model),
            machine=lambda: as_json(costs, stored, model),
            written=write_outputs(*table_outputs(tables, content)),
        )


if __name__ == "__main__":
    exit_with(app)
