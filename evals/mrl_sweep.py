"""How much a shorter embedding keeps: every dimension scored from one encode.

python -m evals.mrl_sweep --dims 64,128,256 [--benchmarks scenes,flickr8k] [--model PATH]
"""

from typing import Annotated, Any

import typer

from evals.cli import exit_with, new_app, reported
from evals.options import Options, comma_list, dims_list, takes_options
from evals.run import Models, evaluate_all, finish

DIMS = (64, 128, 256, 512, 768, 1024)
app = new_app()


@app.command()
@takes_options
def sweep(
    options: dict[str, Any],
    dims: Annotated[str | None, typer.Option(help=f"Dimensions; of {', '.join(map(str, DIMS))} those that fit.")] = None,
    benchmarks: Annotated[str, typer.Option(help="Rows of configs/benchmarks.yaml, e.g. scenes,flickr8k.")] = "scenes",
    model: Models = ["tiny"],  # noqa: B006 - typer copies it
) -> None:
    """Score embeddings cut to several dimensions, the full width always among them; nothing is encoded twice."""
    with reported(json=options["json"]) as log:
        from evals.show import print_kept

        asked = dims_list(dims)

        def dims_of(width: int) -> list[int]:
            return sorted({*(asked or (dim for dim in DIMS if dim < width)), width})

        outcomes, failures = evaluate_all(comma_list(benchmarks) or (), model, dims_of, Options(**options), log)
        finish(outcomes, failures, log, print_kept)


if __name__ == "__main__":
    exit_with(app)
