"""Which of many models, dimensions or records is best, and which cannot be told apart:

python -m evals.rank jina-clip-v1 jina-clip-v2 siglip2 [--benchmarks flickr8k,scenes] [--html rank.html]
python -m evals.rank tiny tiny@128 tiny@64 tiny@32 [--metric R@5] [--weights equal|queries|NAME=2,…]
python -m evals.rank bm25.run dense.run hybrid.run --qrels scifact.qrels
"""

from pathlib import Path
from typing import Annotated

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.options import Json, comma_list
from evals.cli.results import Output, finish, table_outputs, write_outputs
from evals.cli.vocabulary import Benchmarks, Figures, TableFiles, shared_words
from evals.counts import counted
from evals.schema import ConfigError

app = new_app()
OPERAND = "MODEL or folder of a record, with @DIM and :PRECISION; TREC runs with --qrels."


@app.command()
@shared_words
def rank(
    operands: Annotated[list[str], typer.Argument(metavar="RECORD…", help=OPERAND)],
    benchmarks: Annotated[
        list[str],
        Benchmarks(
            "Benchmarks, e.g. scenes,flickr; default: all complete ones that all have.",
            positional=False,
        ),
    ],
    tables: TableFiles,
    figures: Figures,
    subsets: Annotated[
        str | None, typer.Option(help="Languages, e.g. en,de; default: all.")
    ] = None,
    directions: Annotated[
        str | None, typer.Option(help="E.g. t2i; default: the mean over all.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="E.g. R@5; default: the main metric of each benchmark.")
    ] = None,
    weights: Annotated[
        str,
        typer.Option(help="Weights of the mean over benchmarks: equal, queries, or NAME=NUMBER,…."),
    ] = "equal",
    qrels: Annotated[
        Path | None,
        typer.Option(help="Judgements: the arguments are then TREC runs, which are scored first."),
    ] = None,
    results: Annotated[
        str, typer.Option(envvar="EVALS_RESULTS", help="Where records are.")
    ] = "results/runs",
    json: Json = False,
) -> None:
    """Rank models on the same queries, with an interval of each rank."""
    with reported(json=json) as log:
        from evals.analysis.standings import rank_models
        from evals.records.entrants import entrants
        from evals.records.exchange import open_records
        from evals.records.selection import left_out, operand
        from evals.views import standings as views
        from evals.views import standings_page as page
        from evals.views.table_files import contents

        files = [] if qrels else [text for text in operands if Path(text).is_file()]
        if files:
            raise ConfigError(f"{files[0]}: a file. To score it as a TREC run, add --qrels FILE.")
        records = open_records(results)
        texts = operands if qrels is None else _scored(log, operands, qrels, results)
        for reason in left_out([operand(text) for text in texts], records, benchmarks):
            log.info(reason)
        ranked = entrants(texts, records, benchmarks)
        result = rank_models(
            ranked,
            subsets=comma_list(subsets) or (),
            directions=comma_list(directions) or (),
            metric=metric,
            weighting=weights,
        )
        content = contents(lambda: views.as_json(result, ranked)["standings"], "Standings") | {
            "html": lambda: page.as_html(result),
            "markdown": lambda: views.as_markdown(result),
            "csv": lambda: views.as_csv(result),
        }
        written = write_outputs(
            *table_outputs(tables, content),
            Output("plot", figures.file("rank.png"), lambda: page.figure_bytes(result)),
        )
        finish(
            log,
            show=lambda: views.print_standings(result, ranked),
            machine=lambda: views.as_json(result, ranked),
            written=written,
        )


def _scored(log: Log, operands: list[str], qrels: Path, results: str) -> list[str]:
    """The records of run files, which are scored and written as by evals.score."""
    from evals.analysis.run_files import score_run

    records = []
    for text in operands:
        file = Path(text)
        if not file.is_file():
            raise ConfigError(f"{text}: no such file. With --qrels, each operand is a TREC run.")
        scored = score_run(file, qrels, model=None, benchmark=None, results=results)
        if scored.missing:
            count = counted(len(scored.missing), "judged query is", "judged queries are")
            log.info(f"{file}: {count} missing, and scored as 0")
        records.append(str(scored.outcome.path))
    return records


if __name__ == "__main__":
    exit_with(app)
