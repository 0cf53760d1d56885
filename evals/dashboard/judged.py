"""The pages that judge: published numbers against measured ones, newest runs against baselines."""

from collections.abc import Sequence

from evals.dashboard.parts import Column, Page, Row, Sentence, Table
from evals.dashboard.rows import WHAT, WHERE

NO_BASELINE = "No baseline is set: `python -m evals.regress baseline set NAME --why …` sets one."
# What could not be judged comes before what fell: a gate that is blind is worse than one that is red.
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
# The verdicts of a published cell, from the best to those that say nothing of the number.
REPRODUCED = ("exact", "reproduced", "deviates", "not run", "invalid")


def reproduction(rows: Sequence[Row]) -> Page:
    """Published against measured, one row per cell of a published table, and a count of the verdicts.

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
    rows_by_table: dict[str, list[Row]] = {}
    for row in rows:
        rows_by_table.setdefault(row["table"], []).append(row)
    counts = [{"name": name} | _counts(part) for name, part in rows_by_table.items()]
    verdicts = [Column(verdict, verdict.capitalize(), "number") for verdict in REPRODUCED]
    return Page(
        "reproduction",
        "Reproduction",
        "Published numbers beside what was measured here. A cell that was not run has no measured "
        "value.",
        [
            Table(
                "reproduction",
                "Published and measured",
                columns,
                rows,
                "There is no published table.",
            ),
            Table(
                "tables",
                "Verdicts by table",
                (Column("name", "Table"), *verdicts),
                counts,
                "None.",
            ),
        ],
        single=("table",),
        notes=["`python -m evals.report` writes the tables in their own layout, with footnotes."],
    )


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    return {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in REPRODUCED}


def gates(rows: Sequence[Row], sentences: Sequence[Sentence] = ()) -> Page:
    """The verdict of the regression gate on what moved and on each primary metric, and why there is none.

    `sentences` say it per baseline.

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
        sentences=sentences,
        notes=[
            "Regressed: a primary metric fell by more than the floor and by more than chance explains, "
            "all primary metrics tested together; this blocks. Suspicious: a metric fell by more than "
            "the floor or its 95% bound is below 0, and that is not enough to block. Improved: the "
            "lower bound is above 0 and the gain exceeds the floor.",
            "`python -m evals.regress --baseline NAME` gives the same verdict as an exit code.",
        ],
    )


def worst(rows: Sequence[Row]) -> dict[tuple[str | None, str | None], str]:
    """The worst verdict on each benchmark and model."""
    verdicts: dict[tuple[str | None, str | None], str] = {}
    for row in sorted(rows, key=_place):
        # The first of a model is its worst: setdefault keeps it.
        verdicts.setdefault((row["benchmark"], row["model"]), row["verdict"])
    return verdicts


def _place(row: Row) -> int:
    return WORST_FIRST.index(row["verdict"])
