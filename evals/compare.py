"""Two models, or one model at two dimensions, precisions or revisions, compared query by query:

python -m evals.compare jina-clip-v1 jina-clip-v2 [BENCHMARK...] [--figures forest.png]
python -m evals.compare tiny tiny@64 [--markdown PATH] [--html PAGE] [--json]
python -m evals.compare RECORD theirs.json        # a result file of mteb or CLIP_benchmark: means
python -m evals.compare results/runs/scenes/tiny/RECORD results/runs/scenes/tiny/RECORD@64:int8
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.figures import draw_figures
from evals.cli.options import Json, comma_list
from evals.cli.results import finish, table_outputs, write_outputs
from evals.cli.vocabulary import Benchmarks, Figures, TableFiles, shared_words
from evals.schema import ConfigError

if TYPE_CHECKING:
    from evals.analysis.comparison import Change
    from evals.records.selection import Measured
    from evals.views.comparison import Title

    Pair = tuple[Measured, Measured]

app = new_app()
OPERAND = (
    "MODEL or folder of a record, optionally with @DIM and :PRECISION; or a "
    "result file (.json) of mteb or CLIP_benchmark."
)


@app.command()
@shared_words
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=OPERAND)],
    b: Annotated[str, typer.Argument(metavar="B", help="The same; changes are B − A.")],
    benchmarks: Annotated[
        list[str], Benchmarks("Benchmarks, e.g. scenes,flickr; default: all complete ones of both.")
    ],
    tables: TableFiles,
    figures: Figures,
    subsets: Annotated[
        str | None, typer.Option(help="Languages, e.g. en,de; default: all.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="E.g. R@10,MRR; default: R@1 and R@5, acc@1 or the main metric."),
    ] = None,
    results: Annotated[
        str, typer.Option(envvar="EVALS_RESULTS", help="Where records are.")
    ] = "results/runs",
    json: Json = False,
) -> None:
    """Compare two runs of the same benchmarks, paired by query and clustered by image: B − A."""
    with reported(json=json) as log:
        from evals.analysis.stated import is_stated
        from evals.records.exchange import open_records

        if is_stated(a) or is_stated(b):
            if benchmarks or subsets or metric or any(tables) or figures.path:
                raise ConfigError(
                    "Benchmarks, --subsets, --metric, --figures and files of tables mean nothing "
                    "beside result files of other tools, which hold means. Leave them out."
                )
            _compare_stated(log, a, b, open_records(results))
            return
        from evals.analysis import comparison
        from evals.analysis.finding import finding
        from evals.records.additions import write_into
        from evals.records.selection import left_out, matched, operand
        from evals.views import comparison as compare_views
        from evals.views import forest
        from evals.views.finding import as_json as finding_json
        from evals.views.finding import sentence
        from evals.views.table_files import contents

        sides, records = (operand(a), operand(b)), open_records(results)
        passed_over = left_out(sides, records, benchmarks)
        pairs = matched(*sides, records, benchmarks)
        for reason in passed_over:
            log.info(reason)
        changes = comparison.compare(
            pairs, subsets=comma_list(subsets) or (), metrics=comma_list(metric) or ()
        )
        facts = finding(pairs, changes, comma_list(subsets) or ())
        title = compare_views.Title.of(pairs)
        answer = sentence(facts, title.a, title.b)
        content = contents(lambda: compare_views.as_json(pairs, changes)["changes"], answer)
        content |= {
            "markdown": lambda: compare_views.as_markdown(title, changes, answer),
            "html": lambda: _page(title, answer, pairs, changes, comma_list(subsets)),
        }
        written = write_outputs(*table_outputs(tables, content))

        def draw(place: Path) -> list[Path]:
            write_into(place, forest.forest_image(title, changes))
            return [place]

        # A figure that was asked for by its path must be written; one that comes along may fail.
        drawn: list[Path] = []
        plot = figures.file("forest.png")
        if plot:
            drawn = draw(plot)
        elif not figures.none:
            drawn = draw_figures(log, lambda: draw(forest.place_beside(pairs)))
        if drawn:
            written["plot"] = drawn[0]
        finish(
            log,
            show=lambda: compare_views.print_tables(title, changes, answer),
            machine=lambda: (
                compare_views.as_json(pairs, changes)
                | {"left_out": passed_over}
                | {"finding": finding_json(facts, title.a, title.b)}
            ),
            written=written,
        )


def _page(
    title: "Title",
    answer: str,
    pairs: "Sequence[Pair]",
    changes: "Sequence[Change]",
    subsets: Sequence[str] | None,
) -> str:
    """The page of --html, with the queries of the first benchmark that moved most."""
    from evals.analysis.movers import find_movers
    from evals.views.comparison_page import as_html

    movers, note = None, ""
    try:
        movers = find_movers(*pairs[0], subsets[0] if subsets else None)
    except ConfigError as error:
        note = str(error)
    return as_html(title, changes, answer, movers, note)


def _compare_stated(log: Log, a: str, b: str, results: Path) -> None:
    """Means of result files of mteb or CLIP_benchmark, or of one and a record: without a test."""
    from evals.analysis.stated_records import sides
    from evals.views.stated import StatedComparison

    comparison = StatedComparison(*sides(a, b, results))

    def show() -> None:
        for line in comparison.lines():
            log.result(line)

    finish(log, show=show, machine=lambda: comparison.as_json(a, b))


if __name__ == "__main__":
    exit_with(app)
