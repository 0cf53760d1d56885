"""How much a shorter embedding keeps: every dimension scored from one encode.

python -m evals.mrl_sweep --dims 64,128,256 [--benchmarks scenes,mteb:STSBenchmark] [--suite NAME] [--model PATH]
"""

from typing import Annotated, Any

import typer

from evals.cli import exit_with, new_app, reported
from evals.options import Options, comma_list, dims_list, takes_options
from evals.run import Models, evaluate_all, finish
from evals.suites import choose

DIMS = (64, 128, 256, 512, 768, 1024)
app = new_app()


@app.command()
@takes_options
def sweep(
    options: dict[str, Any],
    dims: Annotated[str | None, typer.Option(help=f"Dimensions; of {', '.join(map(str, DIMS))} those that fit.")] = None,
    benchmarks: Annotated[
        str | None, typer.Option(help="Rows of configs/benchmarks.yaml, mteb:TASK[/SPLIT], or suites; scenes unless given.")
    ] = None,
    model: Models = ["tiny"],  # noqa: B006 - typer copies it
    suite: Annotated[list[str] | None, typer.Option("--suite", "-s", help="Row of configs/suites.yaml. Repeatable.")] = None,
) -> None:
    """Score embeddings cut to several dimensions, the full width always among them; nothing is encoded twice."""
    with reported(json=options["json"]) as log:
        from evals.show import print_kept

        asked = dims_list(dims)

        def dims_of(width: int) -> list[int]:
            return sorted({*(asked or (dim for dim in DIMS if dim < width)), width})

        given = Options(**options)
        names = comma_list(benchmarks) or (() if suite else ("scenes",))
        work, suites = choose(names, suite or (), subsets=given.subsets)
        finish(*evaluate_all(work, model, dims_of, given, log), log, print_kept, suites=suites)


if __name__ == "__main__":
    exit_with(app)
