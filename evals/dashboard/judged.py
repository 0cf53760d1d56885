"""The pages that judge: published numbers against measured ones, and the newest runs against their baselines."""

from collections.abc import Sequence

from evals.dashboard.parts import Column, Page, Row, Table
from evals.dashboard.rows import WHAT, WHERE

NO_BASELINE = "No baseline is set: `python -m evals.regress baseline set NAME --why …` sets one."
WORST_FIRST = (
    "invalid",
    "missing",
    "not comparable",
    "regressed",
    "suspicious",
    "improved",
    "passed",
    "unchanged",
    "untested",
)
REPRODUCED = ("exact", "reproduced", "deviates", "not run", "invalid")


def reproduction(rows: Sequence[Row]) -> Page:
    """Published against measured, a row a cell of a published table, and how many cells got which verdict.

    The fields of a row: table, row, column, model, benchmark, subset, direction, metric, dim,
    published, value (measured) with low and high, difference, verdict, coverage, message; None
    where nothing was measured.
    """
    columns = (
        Column("table", "Table"),
        Column("row", "Row"),
        Column("column", "Column"),
        Column("published", "Published, %", "percent", digits=2),
        Column("value", "Measured, %", "percent", ("low", "high"), 2),
        Column("difference", "Difference, points", "points"),
        Column("verdict", "Verdict", "chip"),
        Column("coverage", "Members"),
        Column("message", "Why not"),
        *WHAT,
        *WHERE,
        Column("dim", "Dimension", "number"),
    )
    tables = dict.fromkeys(row["table"] for row in rows)
    counts = [
        {"name": name} | _counts([row for row in rows if row["table"] == name]) for name in tables
    ]
    head = (
        Column("name", "Table"),
        *(Column(verdict, verdict.capitalize(), "number") for verdict in REPRODUCED),
    )
    return Page(
        "reproduction",
        "Reproduction",
        "Published numbers beside what was measured here. A cell that was not run has no measured value.",
        [
            Table(
                "reproduction",
                "Published and measured",
                columns,
                rows,
                "There is no published table.",
            ),
            Table("tables", "Verdicts by table", head, counts, "None."),
        ],
        single=("table",),
        notes=["`python -m evals.report` writes the tables in their own layout, with footnotes."],
    )


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    return {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in REPRODUCED}


def gates(rows: Sequence[Row]) -> Page:
    """The verdict of the regression gate on what moved and on each primary metric, and why there is none.

    The fields of a row: baseline, benchmark, model, subset, direction, metric, dim, before, value,
    difference with low and high, verdict and message.
    """
    columns = (
        Column("baseline", "Baseline"),
        *WHAT,
        Column("verdict", "Verdict", "chip"),
        Column("difference", "Change, points", "points", ("low", "high")),
        Column("before", "Baseline, %", "percent"),
        Column("value", "Newest, %", "percent"),
        *WHERE,
        Column("dim", "Dimension", "number"),
        Column("message", "Why"),
    )
    return Page(
        "gates",
        "Gates",
        "The newest run of each baseline's benchmark and model, held against that baseline.",
        [Table("gates", "Verdicts", columns, sorted(rows, key=_place), NO_BASELINE)],
        single=("baseline",),
        notes=["`python -m evals.regress --baseline NAME` gives the same verdict as an exit code."],
    )


def worst(rows: Sequence[Row]) -> dict[tuple[str | None, str | None], str]:
    """The worst verdict on each benchmark and model."""
    found: dict[tuple[str | None, str | None], str] = {}
    for row in sorted(rows, key=_place):
        found.setdefault((row["benchmark"], row["model"]), row["verdict"])
    return found


def _place(row: Row) -> int:
    return WORST_FIRST.index(row["verdict"])
