"""Draws a table as a PNG, in its published layout."""

import textwrap
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.escape import visible
from evals.report.verdicts import Judged, Result, Verdict
from evals.report.words import below, marks, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS: dict[Verdict, str] = {
    "exact": "#d9f0dd",
    "reproduced": "#eef6d8",
    "deviates": "#f9d9d3",
    "not run": "#f4f4f4",
}
SECTION = "#e4e4ea"
# inches per line of text
LINE = 0.22
# inches per column
LABEL, COLUMN = 2.6, 1.7
# inches on the left and on the right
MARGIN = 0.2
# what such a column holds at 8 points
LABEL_CHARACTERS, COLUMN_CHARACTERS = 36, 22
CHARACTERS_PER_INCH = 15


class Grid(NamedTuple):
    """The text and colour of each cell, and how many lines of text each row needs."""

    texts: list[list[str]]
    colours: list[list[str]]
    heights: list[int]


def png(judged: Judged, dpi: int = 120) -> bytes:
    """The picture as the bytes of a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grid = _grid(judged)
    table_width = LABEL + COLUMN * len(judged.table.row.columns)
    lines = _below(judged, table_width)
    width = table_width + 2 * MARGIN
    body = LINE * sum(grid.heights)
    # a line for the title, and air around the three parts
    height = body + LINE * (len(lines) + 4)
    figure = Figure(figsize=(width, height), dpi=dpi)
    # not pyplot: it keeps figures in a global list, and looks for a display
    FigureCanvasAgg(figure)
    edge = LINE * (len(lines) + 1.5)
    box = MARGIN / width, edge / height, table_width / width, body / height
    _draw(figure, grid, box, table_width)
    # `$x$` is text, not a formula
    plain: dict[str, Any] = {"parse_math": False}
    x, top = MARGIN / width, 1 - LINE / height
    title = visible(judged.table.row.title)
    figure.text(x, top, title, weight="bold", va="center", **plain)
    bottom = LINE * (len(lines) + 1) / height
    figure.text(x, bottom, "\n".join(lines), size=8, va="top", linespacing=1.5, **plain)
    out = BytesIO()
    with warnings.catch_warnings():
        # the font draws a box for what it lacks, which is honest
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure.savefig(out, format="png")
    return out.getvalue()


def _draw(
    figure: "Figure", grid: Grid, box: tuple[float, float, float, float], width: float
) -> None:
    """Draw the table into `box` (left, bottom, width, height as shares of the figure)."""
    from matplotlib.transforms import Bbox

    axes = figure.add_axes(box)
    axes.axis("off")
    columns = len(grid.texts[0]) - 1
    table = axes.table(
        grid.texts,
        cellColours=grid.colours,
        colWidths=[LABEL / width, *[COLUMN / width] * columns],
        cellLoc="left",
        bbox=Bbox.unit(),
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    for (line, column), cell in table.get_celld().items():
        # matplotlib gives all rows one height, whatever their lines of text.
        cell.set_height(grid.heights[line] / sum(grid.heights))
        cell.set_linewidth(0.3)
        cell.get_text().set_parse_math(False)
        if line == 0 or column == 0:
            cell.get_text().set_fontweight("bold")


def _below(judged: Judged, width: float) -> list[str]:
    """The lines of text below the table."""
    first, *rest = below(judged)
    legend = "Per cent. Each cell: measured, verdict (published, difference); – was not run."
    texts = [first, legend, *rest]
    lines = []
    for text in texts:
        lines += textwrap.wrap(visible(text), max(30, int(width * CHARACTERS_PER_INCH)))
    return lines


def _grid(judged: Judged) -> Grid:
    columns = judged.table.row.columns
    labels = [column.label + marks(judged, column.footnotes) for column in columns]
    texts = [["", *(_wrapped(label, COLUMN_CHARACTERS) for label in labels)]]
    colours = [["white"] * (len(columns) + 1)]
    for section in judged.sections:
        if section.title:
            title = section.title + marks(judged, section.footnotes)
            texts.append([_wrapped(title, LABEL_CHARACTERS), *[""] * len(columns)])
            colours.append([SECTION] * (len(columns) + 1))
        for line, results in section.lines:
            label = _wrapped(line.label + marks(judged, line.footnotes), LABEL_CHARACTERS)
            texts.append([label, *(_text(judged, result) for result in results)])
            colours.append(["white", *map(_colour, results)])
    heights = [max(text.count("\n") for text in row) + 1 for row in texts]
    return Grid(texts, colours, heights)


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(visible(text), width))


def _colour(result: Result | None) -> str:
    return COLOURS[result.verdict] if result else "white"


def _text(judged: Judged, result: Result | None) -> str:
    """`89.10 reproduced` above `(89.02, +0.08)`."""
    if result is None:
        return ""
    text = words(judged, result)
    verdict = text.verdict if text.difference else ""
    first = f"{text.measured}{text.mark} {verdict}".strip()
    lines = first, text.interval, text.in_brackets, text.coverage
    return "\n".join(visible(line) for line in lines if line)
