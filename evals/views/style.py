"""One look for everything that is shown: the terminal's width, one table, one way to write a value, one palette."""

import sys

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from evals.tasks.scores import Value
from evals.views.console import VisibleConsole

WIDTH = 84  # what a table needs; a narrower terminal wraps lines rather than lose a column

# Okabe and Ito's palette, told apart by all kinds of colour vision
BLUE, GREEN, ORANGE, PINK, RED, GREY = (
    "#0072B2",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#D55E00",
    "#555555",
)


def console() -> Console:
    """The terminal; a file or a pipe gets the same width whatever it is."""
    width = Console().width if sys.stdout.isatty() else WIDTH
    return VisibleConsole(width=max(width, WIDTH), emoji=False)


def empty_table(title: str, caption: str) -> Table:
    """A plain table without columns: title above, what it shows below."""
    return Table(
        title=escape(title),
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )


def print_whole(out: Console, table: Table) -> None:
    """Print a table with all of its columns: where it is wider than the console, lines wrap rather than lose one."""
    wide = out.options.update(max_width=1000)
    out.width = max(out.width, Measurement.get(out, wide, table).maximum)
    out.print(table)


def percent(value: Value, digits: int = 1) -> str:
    """`43.2 [39.9,46.4]`: per cent, with the interval when there is one."""
    number = f"{100 * value.value:.{digits}f}"
    if value.interval is None:
        return number
    return f"{number} [dim]\\[{100 * value.interval.low:.{digits}f},{100 * value.interval.high:.{digits}f}][/dim]"
