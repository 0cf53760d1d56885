"""How many queries or images it takes to see a difference between two models:

python -m evals.plan jina-clip-v1 jina-clip-v2 [--points 0.5,1,2] [--power 0.8] [--benchmarks scenes]
python -m evals.plan tiny [--correlations 0.8,0.9] [--metric R@5]
"""

from typing import Annotated

import typer

from evals.cli.app import exit_with, new_app, reported
from evals.cli.options import Json, comma_list
from evals.cli.results import finish, table_outputs, write_outputs
from evals.cli.vocabulary import Benchmarks, TableFiles, shared_words
from evals.schema import ConfigError

app = new_app()
OPERAND = "MODEL or folder of a record, with @DIM and :PRECISION."
MOST_POINTS = 100.0  # a share cannot change by more


@app.command()
@shared_words
def plan(
    a: Annotated[str, typer.Argument(metavar="A", help=OPERAND)],
    benchmarks: Annotated[
        list[str],
        Benchmarks("Benchmarks, e.g. scenes,flickr; default: all complete ones.", positional=False),
    ],
    tables: TableFiles,
    b: Annotated[
        str | None,
        typer.Argument(metavar="B", help="A second record, which gives the correlation."),
    ] = None,
    points: Annotated[str, typer.Option(help="Differences to detect, in points.")] = "0.5,1,2",
    power: Annotated[
        float, typer.Option(min=0.01, max=0.9999, help="Probability of detecting it.")
    ] = 0.8,
    alpha: Annotated[
        float, typer.Option(min=1e-9, max=0.5, help="False alarm rate of the two-sided test.")
    ] = 0.05,
    correlations: Annotated[
        str | None,
        typer.Option(
            help="With one record: assumed correlations with the second model; default: "
            "0,0.5,0.8,0.9,0.95."
        ),
    ] = None,
    subsets: Annotated[
        str | None, typer.Option(help="Languages, e.g. en,de; default: all.")
    ] = None,
    directions: Annotated[str | None, typer.Option(help="E.g. t2i; default: all.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="E.g. R@5; default: the main metric of each benchmark.")
    ] = None,
    results: Annotated[
        str, typer.Option(envvar="EVALS_RESULTS", help="Where records are.")
    ] = "results/runs",
    json: Json = False,
) -> None:
    """Estimate how many images and queries a comparison needs, from the variance of records."""
    with reported(json=json) as log:
        from evals.analysis import planning
        from evals.records.entrants import measurements
        from evals.records.exchange import open_records
        from evals.records.selection import left_out, matched, operand
        from evals.stats.sample_size import Design
        from evals.views import plan as views
        from evals.views.table_files import contents

        design = Design(alpha=alpha, power=power)
        if design.power <= design.alpha:
            raise ConfigError(f"--power {power:g} is no more than --alpha {alpha:g}.")
        differences = [point / 100 for point in _numbers(points, "--points", MOST_POINTS)]
        choice = planning.Choice(
            subsets=comma_list(subsets) or (),
            directions=comma_list(directions) or (),
            metric=metric,
        )
        names, records_at = benchmarks, open_records(results)
        if b is not None:
            if correlations:
                raise ConfigError("--correlations means nothing beside B, which tells its own.")
            both = operand(a), operand(b)
            for reason in left_out(both, records_at, names):
                log.info(reason)
            pairs = matched(*both, records_at, names)
            plans = planning.plan_pairs(pairs, differences, design, choice)
            records = [str(side.run.path) for pair in pairs for side in pair]
        else:
            for reason in left_out([operand(a)], records_at, names):
                log.info(reason)
            sides = measurements(a, records_at, names)
            assumed = planning.CORRELATIONS
            if correlations:
                assumed = tuple(_numbers(correlations, "--correlations", 1.0, least=0.0))
            plans = planning.plan_alone(sides, differences, design, choice, correlations=assumed)
            records = [str(side.run.path) for side in sides]
        planning.check_plannable(plans)
        notes = [views.legend(design), *dict.fromkeys(views.notes(plans))]
        content = contents(lambda: views.table_rows(plans), views.TITLE, notes) | {
            "markdown": lambda: views.as_markdown(plans, design),
            "csv": lambda: views.as_csv(plans),
        }
        written = write_outputs(*table_outputs(tables, content))
        finish(
            log,
            show=lambda: views.print_plans(plans, design),
            machine=lambda: views.as_json(plans, design, records),
            written=written,
        )


def _numbers(text: str, option: str, most: float, least: float | None = None) -> list[float]:
    """`0.5,1` as numbers above 0, or from `least` on. ConfigError for anything else."""
    numbers = []
    for part in comma_list(text) or ():
        try:
            number = float(part)
        except ValueError:
            number = float("nan")
        above = number > 0 if least is None else number >= least
        # NaN is neither.
        if not above or not number <= most:
            lowest = "above 0" if least is None else f"from {least:g} on"
            raise ConfigError(f"{option}: {part!r} is no number {lowest} and up to {most:g}.")
        numbers.append(number)
    return numbers


if __name__ == "__main__":
    exit_with(app)
