"""The page that compares: on each benchmark the newest two models, query by query."""

from collections.abc import Iterator
from typing import Any

from evals.analysis.comparison import Change
from evals.analysis.comparison import compare as compared
from evals.dashboard import charts
from evals.dashboard.model import History, points
from evals.dashboard.parts import Chart, Column, Page, Row, Table
from evals.dashboard.rows import WHERE
from evals.records.record import Run
from evals.records.selection import Measured
from evals.schema import InvalidError, NotComparableError

LEVEL = 0.05


def compare(history: History) -> Page:
    """Differences between the newest runs of the last two models of each benchmark, and what cannot be compared."""
    rows: list[Row] = []
    refused: list[Row] = []
    for benchmark, a, b in _pairs(history):
        try:
            changes = compared([(_at_full_width(a), _at_full_width(b))])
        except (InvalidError, NotComparableError) as error:
            refused.append({**_names(benchmark, a, b), "message": str(error)})
        else:
            rows.extend({**_names(benchmark, a, b), **_row(change)} for change in changes)
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
        Table("refused", "Not comparable", (*names, Column("message", "Why")), refused, "None."),
    ]
    about = "B less A with 95% intervals; an interval that reaches zero leaves the direction open."
    return Page(
        "compare",
        "Compare",
        "The newest two models of each benchmark at full width, paired by query and clustered by image.",
        tables,
        [Chart("forest", "B less A", about, charts.forest("differences"))] if rows else [],
        ("benchmark", "metric"),
        [
            f"Better or worse: p, adjusted by Holm over the primary rows of a benchmark, is below {LEVEL}. Of several languages "
            "their mean is primary. “Would see” is the drop that the comparison finds with 80% power.",
            "`python -m evals.compare` compares any two runs.",
        ],
    )


def _pairs(history: History) -> Iterator[tuple[str, Run, Run]]:
    """The newest runs of the two models that ran last, the older one first."""
    found: dict[str, list[Run]] = {}
    for run in sorted(history.newest(), key=lambda run: str(run.manifest["written"])):
        found.setdefault(run.manifest["benchmark"], []).append(run)
    yield from (
        (benchmark, *every[-2:]) for benchmark, every in sorted(found.items()) if len(every) > 1
    )  # type: ignore[misc]


def _at_full_width(run: Run) -> Measured:
    widest = points(run)
    if not widest:
        raise NotComparableError(f"{run.path}: the record holds no metric.")
    return Measured(run, widest[0].dim, widest[0].precision)


def _names(benchmark: str, a: Run, b: Run) -> dict[str, Any]:
    return {"benchmark": benchmark, "a": a.manifest["model"], "b": b.manifest["model"]}


def _row(change: Change) -> dict[str, Any]:
    found = change.difference
    low, high = found.interval or (None, None)
    return {
        "subset": change.subset,
        "direction": change.direction,
        "metric": change.metric,
        "cell": f"{change.subset} {change.direction}",
        "difference": found.value,
        "low": low,
        "high": high,
        "verdict": _verdict(change),
        "p": found.p,
        "holm": change.p_holm,
        "wins": found.wins,
        "losses": found.losses,
        "detectable": found.detectable,
    }


def _verdict(change: Change) -> str | None:
    """None for what is not primary, as a single language of several."""
    if change.p_holm is None:
        return None
    if change.p_holm >= LEVEL:
        return "no difference found"
    return "better" if change.difference.value > 0 else "worse"
