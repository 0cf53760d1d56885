"""The pages that judge: published numbers against measured ones, and the newest runs against their baselines."""

from collections.abc import Sequence

from evals.dashboard.parts import Column, Page, Row, Table
from evals.dashboard.rows import WHAT, WHERE

NO_TABLE = "No table has been reproduced yet."
NO_BASELINE = "No baseline is set: `python -m evals.regress baseline set NAME --why …` sets one."
WORST_FIRST = ("invalid", "missing", "not comparable", "regressed", "suspicious", "improved", "passed", "unchanged", "untested")


def reproduction(rows: Sequence[Row]) -> Page:
    """Published against measured, a row a cell of a published table.

    The fields of a row: table, model, benchmark, subset, direction, metric, dim, published, value (measured) with low and high,
    difference and verdict; None where nothing was measured.
    """
    columns = (
        Column("table", "Table"),
        *WHAT,
        Column("published", "Published, %", "percent"),
        Column("value", "Measured, %", "percent", ("low", "high")),
        Column("difference", "Difference, points", "points"),
        Column("verdict", "Verdict", "chip"),
        *WHERE,
        Column("dim", "Dimension", "number"),
    )
    return Page(
        "reproduction",
        "Reproduction",
        "Published numbers beside what was measured here. A cell that was not run has no measured value.",
        [Table("reproduction", "Published and measured", columns, rows, NO_TABLE)],
        single=("table",),
        notes=["`python -m evals.report` writes the tables in their own layout, with footnotes."],
    )


def gates(rows: Sequence[Row]) -> Page:
    """The verdict of the regression gate on each metric of each baseline, and why there is none.

    The fields of a row: baseline, benchmark, model, subset, direction, metric, dim, before, value, difference with low and high,
    verdict and message.
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


def worst(rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """The worst verdict on each benchmark and model."""
    found: dict[tuple[str, str], str] = {}
    for row in sorted(rows, key=_place):
        found.setdefault((row["benchmark"], row["model"]), row["verdict"])
    return found


def _place(row: Row) -> int:
    return WORST_FIRST.index(row["verdict"])
