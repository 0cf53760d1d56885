"""Retrieval over documents that have a text and an image: by one of them, by merged scores, and the modality gap between both.

python -m evals.fusion [BENCHMARK...] [--model PATH] [--dims 256,64] [--data DIR] [--json]
"""

from typing import Annotated, Any

import typer

from evals.cli.app import exit_with, new_app, reported
from evals.cli.options import Models, dims_list, settings_of, takes_options
from evals.cli.results import finish, table_outputs, write_outputs
from evals.cli.vocabulary import Benchmarks, Figures, TableFiles, shared_words
from evals.config.catalog import Benchmark
from evals.config.choice import choose_row
from evals.config.models import resolve_model
from evals.evaluation.load import check
from evals.jobs import fuse, named_encoder

app = new_app()


@app.command()
@shared_words
@takes_options
def fusion(
    options: dict[str, Any],
    benchmarks: Annotated[
        list[str], Benchmarks("Rows with two or more captions per image; default: scenes.")
    ],
    tables: TableFiles,
    figures: Figures,
    model: Models = ["tiny"],  # noqa: B006 - typer copies it
    dims: Annotated[
        str | None, typer.Option(help="Dimensions to score, e.g. 256,64; default: full width.")
    ] = None,
) -> None:
    """Score text-text, text-image and merged retrieval from stored embeddings; write the record
    and its figures."""
    with reported(json=options["json"]) as log:
        from evals.analysis.fusion import as_fusion
        from evals.views.fusion import DIRECTIONS, TASK, as_json, print_fused, table_rows
        from evals.views.table_files import contents

        settings, dimensions = settings_of(options), dims_list(dims)
        names = benchmarks or ["scenes"]
        items = [choose_row(name, data_name=settings.name) for name in names]
        for item in items:
            if isinstance(item, Benchmark):
                as_fusion(item)  # refused now, and not after the data was read
        refs = [resolve_model(name) for name in dict.fromkeys(model)]
        check(items, refs, settings)
        fusions = []
        for ref in refs:  # one model at a time in memory
            encoder = named_encoder(ref, settings, reporter=log)
            for item in items:
                fused = fuse(
                    item,
                    encoder,
                    dimensions or (encoder.dim,),
                    settings,
                    figures=figures.folder,
                    no_figures=figures.none,
                    reporter=log,
                )
                fusions.append(fused)
                # Each as soon as it is there: the next model may take an hour.
                if not log.json:
                    print_fused(fused)
        content = contents(
            lambda: table_rows(fusions), "Documents of a text and an image", [TASK, DIRECTIONS]
        )
        written = write_outputs(*table_outputs(tables, content))
        finish(log, show=lambda: None, machine=lambda: as_json(fusions), written=written)


if __name__ == "__main__":
    exit_with(app)
