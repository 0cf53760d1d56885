"""The page that compares: on each benchmark the newest two models, query by query."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from evals.analysis.comparison import Change
from evals.analysis.comparison import compare as compared
from evals.analysis.finding import finding
from evals.dashboard import charts
from evals.dashboard.history import History, points
from evals.dashboard.parts import Chart, Column, Page, Row, Sentence, Table
from evals.dashboard.rows import WHERE
from evals.natural import natural
from evals.records.record import Run
from evals.records.selection import Measured
from evals.schema import InvalidError, NotComparableError
from evals.views.finding import sentence

LEVEL = 0.05  # of Holm's adjusted p
OUTCOMES = {"no difference": "no difference found"}  # not "equal", which is another outcome


class _Pair(NamedTuple):
    """Two runs of one benchmark."""

    benchmark: str
    a: Run
    b: Run


def compare(history: History) -> Page:
    """Differences between the newest two models of each benchmark, and what cannot be compared."""
    rows: list[Row] = []
    refused: list[Row] = []
    sentences = []
    for pair in _pairs(history):
        # A benchmark at a time: what cannot be compared takes no other one off the page.
        try:
            sides = (_at_full_width(pair.a), _at_full_width(pair.b))
            changes = compared([sides])
        except (InvalidError, NotComparableError) as error:
            refused.append({**_names(pair), "message": str(error)})
        else:
            answer = finding([sides], changes)
            outcome = OUTCOMES.get(answer.outcome, answer.outcome)
            words = sentence(answer, pair.a.model, pair.b.model)
            sentences.append(Sentence(outcome, words, "compare"))
            rows += [{**_names(pair), **_row(change)} for change in changes]
    names = (Column("benchmark", "Benchmark"), Column("a", "A"), Column("b", "B"))
    columns = (
        *names,
        *WHERE,
        Column("difference", "B − A, points", "points", ("low", "high")),
        Column("verdict", "B is", "chip"),
        Column("p", "p", "decimal"),
        Column("holm", "p, Holm", "decimal"),
        Column("wins", "B wins", "number"),
        Column("losses", "B loses", "number"),
        Column("detectable", "Would see, points", "points"),
    )
    tables = [
        Table(
            "differences",
            "Differences",
            columns,
            rows,
            "No benchmark has been run by two models yet.",
            more=("cell",),
        ),
        Table(
            "refused",
            "Not comparable",
            (*names, Column("message", "Why")),
            refused,
            "None.",
        ),
    ]
    about = "The difference, B − A, with 95% intervals; an interval that reaches zero leaves the direction open."
    return Page(
        "compare",
        "Compare",
        "The newest two models of each benchmark at full width, paired by query and clustered by "
        "image.",
        tables,
        [Chart("forest", "Difference, B − A", about, charts.forest("differences"))] if rows else [],
        ("benchmark", "metric"),
        [
            "Better or worse: p, adjusted by Holm over the primary rows of a benchmark, is below "
            f"{LEVEL}. Of several languages their mean is primary. “Would see” is the drop that the "
            "comparison finds with 80% power.",
            "`python -m evals.compare` compares any two runs.",
        ],
        sentences=sentences,
    )


def _pairs(history: History) -> Iterator[_Pair]:
    """The newest runs of the two models that ran last, the older one first."""
    by_benchmark: dict[str, list[Run]] = {}
    for run in sorted(history.newest(), key=lambda run: run.manifest.written):
        by_benchmark.setdefault(run.manifest.benchmark, []).append(run)
    for benchmark in sorted(by_benchmark, key=natural):
        runs = by_benchmark[benchmark]
        # Two of any number: all pairs of ten models would be 45 comparisons that nobody asked for.
        if len(runs) > 1:
            yield _Pair(benchmark, runs[-2], runs[-1])


def _at_full_width(run: Run) -> Measured:
    widest = points(run)
    if not widest:
        # Said as any other refusal: on the page, beside the pair that it keeps from being compared.
        raise NotComparableError(f"{run.path}: the record holds no metric.")
    return Measured(run, widest[0].dim, widest[0].precision)


def _names(pair: _Pair) -> dict[str, Any]:
    return {
        "benchmark": pair.benchmark,
        "a": pair.a.model,
        "b": pair.b.model,
    }


def _row(change: Change) -> dict[str, Any]:
    difference = change.difference
    low, high = difference.interval or (None, None)
    return {
        "subset": change.subset,
        "direction": change.direction,
        "metric": change.metric,
        "cell": f"{change.subset} {change.direction}",
        "difference": difference.value,
        "low": low,
        "high": high,
        "verdict": _verdict(change),
        "p": difference.p,
        "holm": change.p_holm,
        "wins": difference.wins,
        "losses": difference.losses,
        "detectable": difference.detectable,
    }


def _verdict(change: Change) -> str | None:
    """None for what is not primary, as a single language of several."""
    if change.p_holm is None:
        return None
    # Not "equal": the data may be too few to see a difference that is there.
    if change.p_holm >= LEVEL:
        return "no difference found"
    return "better" if change.difference.value > 0 else "worse"
