"""Prints reports on a terminal: one line per cell, or one line per table."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from evals.escape import visible
from evals.report.verdicts import VERDICTS, Judged, Verdict
from evals.report.words import DASH, below, overview, words
from evals.views.table import FittingTable

PLAIN: dict[str, Any] = {
    "box": None,
    "pad_edge": False,
    "padding": (0, 1, 0, 0),
    "header_style": "bold",
}
STYLES: dict[Verdict, str] = {
    "exact": "green",
    "reproduced": "green",
    "deviates": "bold red",
    "not run": "dim",
}


def print_table(judged: Judged, out: Console) -> None:
    """Print one table, one line per cell."""
    placed = judged.results
    # most tables are of means, which have no intervals: no empty column for them
    intervals = any(cell.result.low is not None for cell in placed)
    grid = _grid(judged, intervals)
    section, row = "", ""
    for cell in placed:
        if cell.section != section:
            grid.add_row(f"[bold]{escape(visible(cell.section))}[/bold]")
        # a label that is that of the line above stays empty
        label = "" if (cell.section, cell.row) == (section, row) else cell.row
        text = words(judged, cell.result)
        measured = f"{text.measured}{text.mark}"
        texts = [label, cell.column, text.published, measured, text.difference]
        if intervals:
            texts.append(text.interval)
        verdict = f"[{STYLES[cell.result.verdict]}]{cell.result.verdict}[/]"
        grid.add_row(*(escape(visible(part)) for part in texts), verdict)
        if text.coverage:
            grid.add_row("", f"[dim]{escape(text.coverage)}[/dim]")
        section, row = cell.section, cell.row
    out.print(grid)
    for line in below(judged):
        out.print(escape(visible(line)), highlight=False)
    out.print()


NOTHING_MEASURED = (
    "No record of yours measures what these tables publish. make reproduce-v1 and make reproduce-v2 "
    "evaluate all that they need."
)


def print_summary(tables: Sequence[Judged], out: Console) -> None:
    """Print the tables measured in a sentence, then which verdicts each has, one line per table."""
    out.print(f"[bold]{overview([judged.counts for judged in tables])}[/bold]", highlight=False)
    out.print()
    grid = FittingTable(**PLAIN)
    grid.add_column("table", no_wrap=True)
    for verdict in VERDICTS:
        grid.add_column(verdict, justify="right")
    for judged in tables:
        # A dash for 0, so that the cells that have a verdict stand out.
        counts = (str(n) if n else DASH for n in judged.counts.values())
        grid.add_row(escape(judged.table.row.name), *counts)
    out.print(grid)
    if not any(
        n for judged in tables for verdict, n in judged.counts.items() if verdict != "not run"
    ):
        # Whoever sees nothing but dashes has not evaluated anything yet.
        out.print(NOTHING_MEASURED, highlight=False)
    stand_ins = dict.fromkeys(note for judged in tables for note in judged.stand_ins)
    for note in stand_ins:
        out.print(escape(visible(f"{note}.")), highlight=False)


def _grid(judged: Judged, intervals: bool) -> FittingTable:
    title = escape(visible(judged.table.row.title))
    grid = FittingTable(title=title, **PLAIN)
    grid.add_column("")
    grid.add_column("")
    for name in ("published", "measured", "diff."):
        grid.add_column(name, justify="right", no_wrap=True)
    if intervals:
        grid.add_column("95% interval", no_wrap=True)
    grid.add_column("verdict", no_wrap=True)
    return grid
