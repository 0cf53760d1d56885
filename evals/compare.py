"""Two models, or one model at two dimensions, precisions or revisions, compared query by query:

python -m evals.compare jina-clip-v1 jina-clip-v2 [--benchmarks flickr8k,scenes] [--plot forest.png]
python -m evals.compare tiny tiny@64 [--markdown PATH] [--json]
python -m evals.compare mine.json theirs.json     # result files of mteb or CLIP_benchmark: means
python -m evals.compare results/runs/scenes/tiny/RECORD results/runs/scenes/tiny/RECORD@64:int8
"""

from pathlib import Path
from typing import Annotated

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.figures import draw_figures
from evals.cli.options import Json, comma_list
from evals.cli.results import Output, finish, write_outputs
from evals.schema import ConfigError, NotComparableError

app = new_app()
OPERAND = "MODEL or folder of a record, with @DIM and :PRECISION if not the widest and float32."


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=OPERAND)],
    b: Annotated[str, typer.Argument(metavar="B", help="The same; changes are B less A.")],
    benchmarks: Annotated[
        str | None, typer.Option(help="Benchmarks, e.g. scenes,flickr; all whole ones of both.")
    ] = None,
    subsets: Annotated[
        str | None, typer.Option(help="Languages, e.g. en,de; all unless given.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="E.g. R@10,MRR; R@1 and R@5, acc@1 or the main metric.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables to this file.")] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="PNG of the changes and their intervals; beside B's record unless given."
        ),
    ] = None,
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Draw none.")] = False,
    results: Annotated[
        Path, typer.Option(envvar="EVALS_RESULTS", help="Where records are.")
    ] = Path("results/runs"),
    json: Json = False,
) -> None:
    """Compare two runs of the same benchmarks, paired by query and clustered by image: B less A."""
    with reported(json=json) as log:
        from evals.analysis.stated import is_stated

        if is_stated(a) or is_stated(b):
            if benchmarks or subsets or metric or markdown or plot:
                raise ConfigError(
                    "--benchmarks, --subsets, --metric, --markdown and --plot mean nothing beside "
                    "result files of other tools, which hold means. Leave them out."
                )
            _compare_stated(log, a, b)
            return
        from evals.analysis import comparison
        from evals.analysis.finding import finding
        from evals.records.seal import write_into
        from evals.records.selection import matched, operand
        from evals.views import comparison as compare_views
        from evals.views import forest
        from evals.views.finding import as_json as finding_json
        from evals.views.finding import sentence

        pairs = matched(operand(a), operand(b), results, comma_list(benchmarks))
        changes = comparison.compare(
            pairs, subsets=comma_list(subsets) or (), metrics=comma_list(metric) or ()
        )
        facts = finding(pairs, changes, comma_list(subsets) or ())
        title = compare_views.Title.of(pairs)
        answer = sentence(facts, title.a, title.b)
        written = write_outputs(
            Output("markdown", markdown, lambda: compare_views.as_markdown(title, changes, answer))
        )

        def draw(place: Path) -> list[Path]:
            write_into(place, forest.forest_image(title, changes))
            return [place]

        # A figure that was asked for by its path must be written; one that comes along may fail.
        figures: list[Path] = []
        if plot:
            figures = draw(plot)
        elif not no_figures:
            figures = draw_figures(log, lambda: draw(forest.place_beside(pairs)))
        if figures:
            written["plot"] = figures[0]
        finish(
            log,
            show=lambda: compare_views.print_tables(title, changes, answer),
            machine=lambda: (
                compare_views.as_json(pairs, changes)
                | {"finding": finding_json(facts, title.a, title.b)}
            ),
            written=written,
        )


def _compare_stated(log: Log, a: str, b: str) -> None:
    """The means of two result files of mteb or CLIP_benchmark: differences without a test."""
    from evals.analysis.stated import alone, differences, is_stated, read_stated

    if not (is_stated(a) and is_stated(b)):
        raise NotComparableError(
            f"{a} and {b}: one is a result file of another tool and the other is none. Export the "
            "record first: python -m evals.export RECORD --to mteb or clip-benchmark."
        )
    first, second = (read_stated(Path(text)) for text in (a, b))
    rows = differences(first, second)
    only = {"only_in_a": alone(first, second), "only_in_b": alone(second, first)}
    sources = ", ".join(dict.fromkeys([first.source, second.source]))
    note = f"read from files of {sources}, means only: no interval, no paired test"
    changes = [row._asdict() | {"p": None} for row in rows]
    machine = {"schema_version": 1, "a": a, "b": b, "note": note, "means": changes, **only}

    def show() -> None:
        for row in rows:
            log.result(f"{row.name}: A {row.a:.5f}, B {row.b:.5f}, B - A {row.difference:+.5f}")
        for place, names in only.items():
            if names:
                log.result(f"{place.replace('_', ' ')}, not compared: {', '.join(names)}")
        log.result(note)

    finish(log, show=show, machine=lambda: machine)


if __name__ == "__main__":
    exit_with(app)
