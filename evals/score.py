"""Rankings that another program wrote, scored against judgements:

python -m evals.score RUN QRELS [--model NAME] [--name NAME]
"""

from pathlib import Path
from typing import Annotated

import typer

from evals.cli.app import Log, exit_with, new_app, reported
from evals.cli.options import Json
from evals.cli.results import finish, table_outputs, write_outputs
from evals.cli.vocabulary import TableFiles, shared_words
from evals.counts import counted

app = new_app()
# Enough to see what they have in common.
NAMED = 3  # ids that a message shows


@app.command()
@shared_words
def score(
    run: Annotated[Path, typer.Argument(help="A TREC run: query, Q0, document, rank, score, tag.")],
    qrels: Annotated[Path, typer.Argument(help="Judgements: query, iteration, document, grade.")],
    tables: TableFiles,
    model: Annotated[
        str | None, typer.Option(help="Name of the system in records; default: the run's tag.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the judgements in records; default: the file's name."),
    ] = None,
    results: Annotated[
        str, typer.Option(envvar="EVALS_RESULTS", help="Where records are written.")
    ] = "results/runs",
    json: Json = False,
) -> None:
    """Score a run file with trec_eval's measures and intervals, and write its record."""
    with reported(json=json) as log:
        from evals.analysis.run_files import score_run
        from evals.evaluation.outcome import Results
        from evals.views.results import result_rows, results_json, show_results
        from evals.views.table_files import contents

        scored = score_run(run, qrels, model=model, benchmark=name, results=results)
        _tell(log, scored.missing, scored.not_judged, scored.not_relevant)
        outcomes = Results([scored.outcome], [])
        content = contents(lambda: result_rows(outcomes), f"Scores of {run.name}")
        written = write_outputs(*table_outputs(tables, content))
        finish(
            log,
            show=lambda: show_results(outcomes),
            machine=lambda: results_json(outcomes),
            written=written,
        )


def _tell(log: Log, missing: list[str], not_judged: int, not_relevant: int) -> None:
    """What of the two files did not meet: it changes how the numbers are to be read."""
    if missing:
        shown = ", ".join(missing[:NAMED]) + (" …" if len(missing) > NAMED else "")
        log.info(
            f"{counted(len(missing), 'judged query is', 'judged queries are')} not in the run, and "
            f"scored as 0: {shown}"
        )
    if not_judged:
        log.info(
            f"{counted(not_judged, 'query', 'queries')} of the run left out: no relevant document"
        )
    if not_relevant:
        log.info(
            f"{counted(not_relevant, 'judged query', 'judged queries')} left out: no relevant document"
        )


if __name__ == "__main__":
    exit_with(app)
