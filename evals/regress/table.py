"""Prints a verdict and a baseline on the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from evals.escape import visible
from evals.records.record import Run
from evals.regress.environment import can_move_a_number
from evals.regress.outputs import moved, number
from evals.regress.verdict import Change, Judgement, Moved, Verdict
from evals.views.table import FittingTable

STYLES: dict[Judgement, str] = {
    "regressed": "bold red",
    "suspicious": "yellow",
    "improved": "green",
    "passed": "",
    "unchanged": "dim",
    "untested": "dim",
}
# lines of it shown; the JSON has all
ENVIRONMENT = 12
# characters of a value of the environment, such as a hash
WIDE = 20


def print_verdict(verdict: Verdict, out: Console) -> None:
    """Print the verdict in a sentence, what changed around the runs, all that moved, and the counts."""
    _line(f"[bold]{escape(visible(verdict.headline()))}[/bold]", out)
    out.print()
    for pair in verdict.compared:
        print_environment([m for m in pair.environment if can_move_a_number(m)], out)
    for sentence in verdict.stand_ins:
        _line(f"{escape(visible(sentence))}.", out)
    rows = verdict.listed()
    if rows:
        # the model is named only where it tells rows apart
        several = len({pair.model for pair in verdict.compared}) > 1
        out.print(_table(rows, several))
        _line("In per cent; 95% intervals of the change: paired bootstrap over images.", out)
    if verdict.unlisted():
        _line(verdict.unlisted(), out)
    if rows or verdict.unlisted():
        out.print()
    # what blocks stands last, where a terminal stops scrolling
    for cell in verdict.deviating:
        numbers = f"published {cell.published:.2f}, measured {cell.measured:.2f}"
        text = f"{cell.table} · {cell.where}: {numbers}, {cell.difference:+.2f}"
        _line(f"[bold red]deviates[/bold red] {escape(visible(text))}", out)
    for problem in verdict.problems:
        where = escape(visible(f"{problem.where}: {problem.message}"))
        _line(f"[bold red]{problem.kind}[/bold red] {where}", out)
    _line(f"[bold]{escape(visible(verdict.sentence()))}[/bold]", out)


def print_environment(rows: Sequence[Moved], out: Console) -> None:
    """Print what is not the same around the two runs, one line each."""
    if not rows:
        return
    out.print("environment changed:", highlight=False)
    for row in rows[:ENVIRONMENT]:
        text = f"  {row.what}: {_shortened(row.before)} → {_shortened(row.after)}"
        _line(escape(visible(text)), out)
    if len(rows) > ENVIRONMENT:
        _line(f"  … and {len(rows) - ENVIRONMENT} more in the JSON", out)
    out.print()


def print_baseline(records: Sequence[Run], history: Sequence[dict[str, Any]], out: Console) -> None:
    """Print the records of a baseline and how it came to be, newest last."""
    for run in records:
        source = run.manifest.source
        changed = ", changed since" if source and source.dirty else ""
        commit = source.commit[:12] if source else "unknown"
        _line(escape(visible(f"{run.path} · commit {commit}{changed}")), out)
    for line in history:
        # The first record of a baseline takes nobody's place.
        since = f"{line['old']} → " if line["old"] else "first "
        move = f"{line['benchmark']} · {line['model']}: {since}{line['new']}"
        text = f"{line['when']} · {line['who']} · {move}: {line['why']}"
        _line(escape(visible(text)), out)


def _shortened(value: str) -> str:
    return value if len(value) <= WIDE else f"{value[:WIDE]}…"


def _table(rows: Sequence[Change], several_models: bool) -> FittingTable:
    table = FittingTable(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("benchmark", "where", "metric"):
        table.add_column(name, overflow="fold")
    for name in ("old", "new"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("difference [95%]", "verdict"):
        table.add_column(name, no_wrap=True)
    for change in rows:
        model = f" · {change.model}" if several_models else ""
        names = f"{change.benchmark}{model}", change.where, change.metric
        numbers = number(change, change.old), number(change, change.new), escape(moved(change))
        style = STYLES[change.judgement]
        judgement = f"[{style}]{change.judgement}[/{style}]" if style else change.judgement
        table.add_row(*(escape(visible(name)) for name in names), *numbers, judgement)
    return table


def _line(text: str, out: Console) -> None:
    """One line of markup; a path in it must not be broken in two."""
    out.print(text, highlight=False, soft_wrap=True)
