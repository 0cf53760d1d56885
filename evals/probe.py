"""Classifies a benchmark's images from the embeddings of its training images: by k-NN and a linear probe.

python -m evals.probe vtab-pets --model PATH [--data DIR] [--train-data DIR] [--knn 1,5,20]
[--no-linear] [--dims 256,64]
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from evals import jobs
from evals.cli.app import exit_with, new_app, reported
from evals.cli.options import Models, dims_list, settings_of, takes_options
from evals.cli.results import finish, table_outputs, write_outputs
from evals.cli.vocabulary import Benchmarks, TableFiles, one_benchmark, shared_words
from evals.config.catalog import Benchmark
from evals.config.choice import choose_row
from evals.config.models import resolve_model
from evals.evaluation.load import check
from evals.schema import ConfigError

app = new_app()


@app.command()
@shared_words
@takes_options
def probe(
    options: dict[str, Any],
    benchmarks: Annotated[
        list[str], Benchmarks("Classification row of configs/classification.yaml.")
    ],
    tables: TableFiles,
    model: Models = ["tiny"],  # noqa: B006 - typer copies it
    train_data: Annotated[
        Path | None, typer.Option(help="Folder of the training images; default: --data.")
    ] = None,
    train_split: Annotated[str, typer.Option(help="Split of the training images.")] = "train",
    knn: Annotated[str, typer.Option(help="Numbers of neighbours; `0` for none.")] = "1,5,20",
    linear: Annotated[bool, typer.Option(help="Fit a logistic regression too.")] = True,
    dims: Annotated[
        str | None, typer.Option(help="Dimensions to score, e.g. 256,64; default: full width.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the split on which the penalty is chosen.")
    ] = 0,
) -> None:
    """Fit probes on stored image embeddings, and write the records BENCHMARK.knn and BENCHMARK.linear."""
    with reported(json=options["json"]) as log:
        from evals.analysis.probe import Plan, Training, check_probed
        from evals.views.results import result_rows, results_json, show_results
        from evals.views.table_files import contents

        settings = settings_of(options)
        item = choose_row(one_benchmark(benchmarks), data_name=settings.name)
        # `0` and not an empty text: shells lose an empty argument easily.
        ks = () if knn.strip() == "0" else dims_list(knn, "--knn") or ()
        if isinstance(item, Benchmark):
            check_probed(item)  # refused now, and not after the data was read
        if not ks and not linear:
            raise ConfigError("--knn 0 --no-linear: nothing is left to measure.")
        if settings.keep_embeddings:
            raise ConfigError("--keep-embeddings means nothing to probes. Leave it out.")
        check([item], [], settings)
        results = jobs.probe(
            item,
            [resolve_model(spec) for spec in dict.fromkeys(model)],
            dims_list(dims),
            settings,
            training=Training(train_split, train_data),
            plan=Plan(tuple(sorted(set(ks))), linear, seed),
            reporter=log,
        )
        content = contents(lambda: result_rows(results), "Probes")
        written = write_outputs(*table_outputs(tables, content))
        finish(
            log,
            show=lambda: show_results(results),
            machine=lambda: results_json(results),
            written=written,
        )


if __name__ == "__main__":
    exit_with(app)
