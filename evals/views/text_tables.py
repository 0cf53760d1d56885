"""The table of a task of texts: retrieval with judgements, or pairs of sentences."""

from rich.markup import escape
from rich.table import Table

from evals.evaluation.outcome import Outcome
from evals.ranking.metric_table import GRADED, shown
from evals.tasks.scores import Scores
from evals.views.style import empty_table, percent

CAPTIONS = {
    "retrieval": "In per cent, 95% intervals over queries; n: queries/documents; ties count in "
    "expectation.",
    "text_pairs": "Spearman's correlation of cosines with gold scores, times 100, 95% interval "
    "over pairs; n: pairs.",
}


def text_table(outcome: Outcome) -> Table:
    """A row per subset, dimension and precision, with the measures that are shown of its task."""
    task = outcome.benchmark.task
    columns = [*shown("graded" if task == "retrieval" else "pairs"), *_chosen(outcome)]
    partial = " · partial: not the benchmark's number" if outcome.partial else ""
    title = f"{outcome.benchmark.title} · {outcome.model}{partial}"
    table = empty_table(title, CAPTIONS[task])
    # Names of subsets are people's own, and may be long.
    table.add_column("", overflow="fold")
    table.add_column("dim", justify="right", no_wrap=True)
    for name in columns:
        table.add_column(name, no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for subset, subset_scores in outcome.scores.items():
        for score in subset_scores:
            values = [percent(score.values[name]) for name in columns]
            table.add_row(escape(subset), _dim(score), *values, _count(score))
    return table


def _chosen(outcome: Outcome) -> list[str]:
    """The measures that were asked for by name: all but those that every record has."""
    first = next(iter(outcome.scores.values()))[0]
    return [name for name in first.values if name not in {*GRADED, *shown("pairs")}]


def _dim(score: Scores) -> str:
    return str(score.dim) if score.precision == "float32" else f"{score.dim} {score.precision}"


def _count(score: Scores) -> str:
    # Pairs are compared with each other, and search nothing.
    n = len(score.query_ids)
    return f"{n}/{score.n_gallery}" if score.n_gallery else str(n)
