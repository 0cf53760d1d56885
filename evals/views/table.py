"""A table that shrinks in a stated order where the terminal is narrow, rather than break a word.

1. The intervals of shares of the full width leave their cells.
2. The columns of EARLY leave: they tell less than an interval.
3. All intervals leave their cells.
4. The columns of OPTIONAL leave, one by one, in that order.

What left is named below the table; `--json` and files have all. A table that is still too wide
keeps its lines whole, and the terminal breaks them. Files and pipes only lose what the first step
takes: a script reads the same from any terminal.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

EARLY = ("wins/losses", "build s")
# A column that a reader misses least comes first.
OPTIONAL = (
    "data",
    "ties",
    "n",
    "95% interval",
    "neighbours",
    "bytes/doc",
    "detects",
    "Holm",
    "design effect",
    "power now",
    "queries",
    "old",
    "A",
    "diff.",
    "norm A",
    "norm B",
    "number",
    "deviation",
    "0.1",
    "0.9",
)
# ` [39.9,46.4]` behind a value, dim or not; the bracket is escaped: to rich it begins markup.
INTERVAL = re.compile(r" (?:\[dim\])?\\?\[[-+−\d., ]+\](?:\[/dim\])?")
HEAD = " [95%]"
SHARES = "kept"


class Column(NamedTuple):
    """The head of a column and how it is laid out, as rich's `add_column` takes them."""

    header: str
    options: dict[str, Any]


class Row(NamedTuple):
    """The cells of a line, and its style; without cells it is a blank line between two parts."""

    cells: tuple[str, ...]
    options: dict[str, Any]


class FittingTable(Table):
    """rich's table, which becomes narrower by the order above when it is printed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._options = options
        self.heads: list[Column] = []
        self.lines: list[Row] = []

    def add_column(self, header: Any = "", *args: Any, **options: Any) -> None:
        self.heads.append(Column(str(header), options))
        super().add_column(header, *args, **options)

    def add_row(self, *cells: Any, **options: Any) -> None:
        self.lines.append(Row(cells, options))
        super().add_row(*cells, **options)

    def add_section(self) -> None:
        self.lines.append(Row((), {}))
        super().add_section()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        width = options.max_width
        gap = self._options["padding"][1]
        for form in _forms(self, console.is_terminal):
            least = _least_width(form, console, gap)
            if least <= width:
                break
        body = _plain(form, self._options, console, width)
        if self.title:
            yield from _wrapped(str(self.title), "table.title", console, width)
        # Wider than the terminal: it breaks lines, and nothing is lost.
        rendered = console.render(body, options.update(max_width=max(least, width)))
        for line in Segment.split_lines(rendered):
            yield from _without_trailing_spaces(line)
            yield Segment.line()
        if form.lost and console.is_terminal:
            lost = ", ".join(form.lost)
            note = f"Too narrow a terminal for {lost}; --json has all."
            yield from _wrapped(note, "dim", console, width)
        if self.caption:
            yield from _wrapped(str(self.caption), "table.caption", console, width)


def _without_trailing_spaces(line: Sequence[Segment]) -> list[Segment]:
    """A line as it is seen: rich fills its last cell with spaces, which copies and diffs would have."""
    kept = list(line)
    while kept:
        last = kept.pop()
        text = last.text.rstrip()
        if text:
            return [*kept, Segment(text, last.style, last.control)]
    return kept


def _wrapped(text: str, style: str, console: Console, width: int) -> Iterator[Text]:
    """Lines of markup, broken between words."""
    for line in console.render_str(text, style=style, highlight=False).wrap(console, width):
        line.rstrip()
        yield line


class Form(NamedTuple):
    """A table's columns and rows after some steps, and what they took."""

    heads: Sequence[Column]
    lines: Sequence[Row]
    lost: Sequence[str]


def _forms(table: FittingTable, terminal: bool) -> Iterator[Form]:
    """The table as it is, then narrower and narrower."""
    form = Form(table.heads, table.lines, [])
    yield form
    without = _without_intervals(form, lambda head: head == SHARES, f"the intervals of {SHARES}")
    yield without
    # A file takes any width: it has all but these.
    if not terminal:
        return
    narrower = [without, *_without_columns(without, EARLY)]
    yield from narrower[1:]
    form = _without_intervals(narrower[-1], lambda head: True, "intervals")
    yield form
    yield from _without_columns(form, OPTIONAL)


def _without_columns(form: Form, names: Sequence[str]) -> Iterator[Form]:
    """The form without the first of these columns, without the first two …, as far as it has them."""
    for name in names:
        if any(head.header == name for head in form.heads):
            form = _without_column(form, name)
            yield form


def _without_intervals(form: Form, applies: Callable[[str], bool], what: str) -> Form:
    heads = [head._replace(header=head.header.removesuffix(HEAD)) for head in form.heads]
    lines = []
    for line in form.lines:
        cells = []
        for head, cell in zip(form.heads, line.cells, strict=False):
            is_text = isinstance(cell, str) and applies(head.header)
            cells.append(INTERVAL.sub("", cell) if is_text else cell)
        lines.append(line._replace(cells=tuple(cells)))
    if lines == list(form.lines):
        return Form(heads, lines, form.lost)
    # "intervals" says all of them.
    lost = [name for name in form.lost if not name.startswith("the intervals")]
    return Form(heads, lines, [*lost, what])


def _without_column(form: Form, name: str) -> Form:
    places = [i for i, head in enumerate(form.heads) if head.header != name]
    lines = []
    for line in form.lines:
        cells = tuple(line.cells[i] for i in places if i < len(line.cells))
        lines.append(line._replace(cells=cells))
    return Form([form.heads[i] for i in places], lines, [*form.lost, name])


def _least_width(form: Form, console: Console, gap: int) -> int:
    widths = _least_widths(form, console)
    return sum(widths) + gap * (len(widths) - 1)


def _least_widths(form: Form, console: Console) -> list[int]:
    """Room for every word of each column, and for each line of one that does not wrap."""
    widths = []
    for place, head in enumerate(form.heads):
        cells = [line.cells[place] for line in form.lines if place < len(line.cells)]
        wraps = not head.options.get("no_wrap")
        widths.append(max(_width(cell, wraps, console) for cell in [head.header, *cells]))
    return widths


def _fitting_widths(form: Form, console: Console, limit: int) -> list[int]:
    """The least widths, and for columns that wrap what is left of `limit`, the narrowest first.

    rich would take from all columns that wrap alike, also from one that has a long word.
    """
    widths = _least_widths(form, console)
    natural = _least_widths(_without_wrapping(form), console)
    spare = max(limit - sum(widths), 0)
    for place in sorted(range(len(widths)), key=lambda place: natural[place]):
        extra = min(natural[place] - widths[place], spare)
        widths[place] += extra
        spare -= extra
    return widths


def _without_wrapping(form: Form) -> Form:
    heads = [head._replace(options=head.options | {"no_wrap": True}) for head in form.heads]
    return form._replace(heads=heads)


def _width(cell: Any, wraps: bool, console: Console) -> int:
    wide = console.options.update(max_width=10_000)
    # What is no text, such as a bar, says itself how wide it is.
    measure = Measurement.get(console, wide, cell)
    return measure.minimum if wraps else measure.maximum


def _plain(form: Form, options: dict[str, Any], console: Console, limit: int) -> Table:
    """rich's table of a form, without title and caption: those take the terminal's width."""
    bare = {
        key: value for key, value in options.items() if not key.startswith(("title", "caption"))
    }
    table = Table(**bare)
    widths = _fitting_widths(form, console, limit - options["padding"][1] * (len(form.heads) - 1))
    for head, width in zip(form.heads, widths, strict=True):
        wraps = not head.options.get("no_wrap") and "ratio" not in head.options
        table.add_column(head.header, **head.options, width=width if wraps else None)
    for line in form.lines:
        if line.cells:
            table.add_row(*line.cells, **line.options)
        else:
            table.add_section()
    return table
