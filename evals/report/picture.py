"""A table as a PNG, in its own layout."""

import textwrap
import warnings
from io import BytesIO

from evals.report.verdicts import Judged, Result
from evals.report.words import marks, notes, summary, tolerance, visible, words

COLOURS = {"exact": "#d9f0dd", "reproduced": "#eef6d8", "deviates": "#f9d9d3", "not run": "#f4f4f4"}
LINE = 0.22  # inches a line of text
LABEL, COLUMN = 2.6, 1.7  # inches a column


def png(judged: Judged, dpi: int = 120) -> bytes:
    """The picture as the bytes of a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    cells, colours, heights = _grid(judged)
    width = LABEL + COLUMN * len(judged.table.row.columns)
    below = [f"{summary(judged)}. {tolerance(judged)}{marks(judged, judged.table.row.footnotes)}"]
    below.append("Per cent. Each cell: measured, verdict (published, difference); – was not run.")
    below += [f"[{i}] {text}" for i, (_, text) in enumerate(notes(judged), 1)]
    told = [
        part for text in below for part in textwrap.wrap(visible(text), max(30, int(width * 15)))
    ]
    body = LINE * sum(heights)
    height = body + LINE * (len(told) + 4)
    figure = Figure(figsize=(width + 0.4, height), dpi=dpi)
    FigureCanvasAgg(figure)
    axes = figure.add_axes(
        (
            0.2 / (width + 0.4),
            LINE * (len(told) + 1.5) / height,
            width / (width + 0.4),
            body / height,
        )
    )
    axes.axis("off")
    shares = [LABEL / width, *[COLUMN / width] * len(judged.table.row.columns)]
    drawn = axes.table(
        cells, cellColours=colours, colWidths=shares, cellLoc="left", bbox=Bbox.unit()
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8)
    for (line, column), cell in drawn.get_celld().items():
        cell.set_height(heights[line] / sum(heights))
        cell.set_linewidth(0.3)
        cell.get_text().set_parse_math(False)
        if line == 0 or column == 0:
            cell.get_text().set_fontweight("bold")
    figure.text(
        0.2 / (width + 0.4),
        1 - LINE / height,
        visible(judged.table.row.title),
        weight="bold",
        va="center",
        parse_math=False,
    )
    figure.text(
        0.2 / (width + 0.4),
        LINE * (len(told) + 1) / height,
        "\n".join(told),
        size=8,
        va="top",
        linespacing=1.5,
        parse_math=False,
    )
    out = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing", category=UserWarning
        )  # it draws a box, which is honest
        figure.savefig(out, format="png")
    return out.getvalue()


def _grid(judged: Judged) -> tuple[list[list[str]], list[list[str]], list[int]]:
    """The text and the colour of every cell, and how many lines of text each row needs."""
    columns = judged.table.row.columns
    texts = [
        ["", *(_wrapped(column.label + marks(judged, column.footnotes), 22) for column in columns)]
    ]
    colours = [["white"] * (len(columns) + 1)]
    for title, names, rows in judged.sections:
        if title:
            texts.append([_wrapped(title + marks(judged, names), 36), *[""] * len(columns)])
            colours.append(["#e4e4ea"] * (len(columns) + 1))
        for line, results in rows:
            texts.append(
                [_wrapped(line.label + marks(judged, line.footnotes), 36), *map(_text, results)]
            )
            colours.append(
                ["white", *(COLOURS[result.verdict] if result else "white" for result in results)]
            )
    return texts, colours, [max(text.count("\n") for text in row) + 1 for row in texts]


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(visible(text), width))


def _text(result: Result | None) -> str:
    """`89.10 reproduced` above `(89.02, +0.08)`."""
    if result is None:
        return ""
    told = words(result)
    verdict = told.verdict if told.difference else ""
    below = f"({', '.join(filter(None, (told.published, told.difference)))})"
    lines = (f"{told.measured} {verdict}".strip(), told.interval, below, told.coverage)
    return "\n".join(filter(None, map(visible, lines)))
