"""One look for everything that is shown: width, table, the way to write a value, palette."""

import sys

from rich.console import Console
from rich.markup import escape

from evals.tasks.scores import Value
from evals.views.console import VisibleConsole
from evals.views.table import FittingTable

WIDTH = 84  # of files and pipes
NARROWEST = 40  # a terminal that says less is taken for this

# Okabe & Ito 2008, Color Universal Design: told apart by all kinds of colour vision.
BLUE = "#0072B2"
GREEN = "#009E73"
ORANGE = "#E69F00"
PINK = "#CC79A7"
RED = "#D55E00"
GREY = "#555555"


def console() -> Console:
    """The terminal as wide as it is; a file or a pipe gets the same width whatever it is."""
    # Without a terminal rich would take 80 columns, or COLUMNS: output that a script keeps would
    # depend on who ran it.
    width = max(Console().width, NARROWEST) if sys.stdout.isatty() else WIDTH
    return VisibleConsole(width=width, emoji=False)


def empty_table(title: str, caption: str) -> FittingTable:
    """A plain table without columns: title above, what it shows below. It fits the terminal."""
    return FittingTable(
        title=escape(title),
        caption=caption,
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )


def verdict_line(word: str, text: str, *, good: bool) -> str:
    """`whole results/runs/…: 3 files`, in the markup of rich: the word is green, or red if not `good`."""
    color = "green" if good else "red"
    return f"[{color}]{word}[/{color}] {escape(text)}"


def in_percent(share: float | None, digits: int = 1) -> str:
    """`43.2`: a share in per cent, without the sign; a dash for None."""
    return "–" if share is None else f"{100 * share:.{digits}f}"


def in_points(change: float, digits: int = 1) -> str:
    """`+1.5`: a change of a share in points."""
    return f"{100 * change:+.{digits}f}"


def percent(value: Value, digits: int = 1) -> str:
    """`43.2 [39.9,46.4]`: per cent, with the interval when there is one."""
    number = in_percent(value.value, digits)
    if value.interval is None:
        return number
    low, high = (in_percent(end, digits) for end in value.interval)
    # The bracket is escaped: to rich, text in brackets is markup.
    return f"{number} [dim]\\[{low},{high}][/dim]"
