"""Reports on a terminal: a line a cell, or a line a table."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evals.report.verdicts import VERDICTS, Judged
from evals.report.words import DASH, notes, summary, tolerance, visible, words

PLAIN: dict[str, Any] = {
    "box": None,
    "pad_edge": False,
    "padding": (0, 1, 0, 0),
    "header_style": "bold",
}
STYLES = {"exact": "green", "reproduced": "green", "deviates": "bold red", "not run": "dim"}


def print_table(judged: Judged, out: Console) -> None:
    """One table, a line a cell."""
    intervals = any(result.low is not None for *_, result in judged.results)
    shown = Table(title=escape(visible(judged.table.row.title)), title_justify="left", **PLAIN)
    shown.add_column("", overflow="fold", ratio=1)
    shown.add_column("", overflow="fold", ratio=1)
    for name in ("published", "measured", "diff."):
        shown.add_column(name, justify="right", no_wrap=True)
    if intervals:
        shown.add_column("95% interval", no_wrap=True)
    shown.add_column("verdict", no_wrap=True)
    before: tuple[str, str] = ("", "")
    for section, row, column, result in judged.results:
        if section != before[0]:
            shown.add_row(f"[bold]{escape(visible(section))}[/bold]")
        told = words(result)
        label = "" if (section, row) == before else row
        texts = [
            label,
            column,
            told.published,
            told.measured,
            told.difference,
            *([told.interval] if intervals else []),
        ]
        verdict = f"[{STYLES[result.verdict]}]{result.verdict}[/]"
        shown.add_row(*(escape(visible(text)) for text in texts), verdict)
        if told.coverage:
            shown.add_row("", f"[dim]{escape(told.coverage)}[/dim]")
        before = section, row
    out.print(shown)
    out.print(escape(visible(f"{summary(judged)}. {tolerance(judged)}")), highlight=False)
    for _, text in notes(judged):
        out.print(f"- {escape(visible(text))}", highlight=False)
    out.print()


def print_summary(tables: Sequence[Judged], out: Console) -> None:
    """A line a table: how many cells got which verdict."""
    shown = Table(**PLAIN)
    shown.add_column("table", no_wrap=True)
    for verdict in VERDICTS:
        shown.add_column(verdict, justify="right")
    for judged in tables:
        shown.add_row(
            escape(judged.table.row.name), *(str(n) if n else DASH for n in judged.counts.values())
        )
    out.print(shown)
