"""A verdict on the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evals.records.record import Run
from evals.regress.escape import plain
from evals.regress.outputs import moved, number
from evals.regress.verdict import Verdict

STYLES = {
    "regressed": "bold red",
    "suspicious": "yellow",
    "improved": "green",
    "passed": "",
    "unchanged": "dim",
    "untested": "dim",
}
ENVIRONMENT = 12  # lines of it shown; the JSON has all


def print_verdict(verdict: Verdict, out: Console) -> None:
    """What has no verdict, the primary metrics and all that moved, what changed around the runs, and the verdict."""
    for each in verdict.compared:
        print_environment(each.environment, out)
    if rows := verdict.worst_first():
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for name in ("benchmark", "where", "metric"):
            table.add_column(name, overflow="fold")
        for name in ("old", "new"):
            table.add_column(name, justify="right", no_wrap=True)
        for name in ("difference [95%]", "verdict"):
            table.add_column(name, no_wrap=True)
        several = len({each.model for each in verdict.compared}) > 1
        for change in rows:
            name = f"{change.benchmark} · {change.model}" if several else change.benchmark
            style = STYLES[change.judgement]
            judgement = f"[{style}]{change.judgement}[/{style}]" if style else change.judgement
            numbers = number(change, change.old), number(change, change.new), escape(moved(change))
            table.add_row(
                *(escape(plain(text)) for text in (name, change.where, change.metric)),
                *numbers,
                judgement,
            )
        out.print(table)
        out.print(
            "In per cent; 95% intervals of the change: paired bootstrap over images.\n",
            highlight=False,
        )
    for cell in verdict.deviating:
        told = (
            f"{cell.table} · {cell.where}: published {cell.published:.2f}, measured {cell.measured:.2f}, "
            f"{cell.difference:+.2f}"
        )
        out.print(
            f"[bold red]deviates[/bold red] {escape(plain(told))}", highlight=False, soft_wrap=True
        )
    for problem in verdict.problems:
        where = escape(plain(f"{problem.benchmark} · {problem.model}: {problem.message}"))
        out.print(f"[bold red]{problem.kind}[/bold red] {where}", highlight=False, soft_wrap=True)
    out.print(f"[bold]{escape(plain(verdict.told()))}[/bold]", highlight=False, soft_wrap=True)


def print_environment(rows: list[tuple[str, str, str]], out: Console) -> None:
    """What is not the same around the two runs, a line each."""
    if not rows:
        return
    out.print("environment changed:", highlight=False)
    for what, before, after in rows[:ENVIRONMENT]:
        out.print(
            escape(plain(f"  {what}: {before[:24]} → {after[:24]}")),
            highlight=False,
            soft_wrap=True,
        )
    if len(rows) > ENVIRONMENT:
        out.print(f"  … and {len(rows) - ENVIRONMENT} more in the JSON", highlight=False)
    out.print()


def print_baseline(records: Sequence[Run], history: Sequence[dict[str, Any]], out: Console) -> None:
    """The records of a baseline and how it came to be, newest last."""
    for run in records:
        source = run.manifest.get("source") or {}
        state = f"commit {source.get('commit', 'unknown')[:12]}{', changed since' if source.get('dirty') else ''}"
        out.print(f"{escape(plain(run.path))} · {state}", highlight=False, soft_wrap=True)
    for line in history:
        what = f"{line['benchmark']} · {line['model']}: {line['old']} → {line['new']}"
        out.print(
            escape(plain(f"{line['when']} · {line['who']} · {what}: {line['why']}")),
            highlight=False,
            soft_wrap=True,
        )
