"""Writes reports as Markdown: tables in their published layout, any text in them as text."""

from collections.abc import Iterable, Sequence

from evals.escape import markdown_text, visible
from evals.report.verdicts import Judged
from evals.report.words import LEGEND, below, marks, words


def page(tables: Sequence[Judged], head: Sequence[str]) -> str:
    """One document: the lines of the head, the legend, then the tables."""
    parts = ["# Published tables, measured", *map(escape, head), escape(LEGEND)]
    parts += [f"## {_title(judged)}\n\n{block(judged)}" for judged in tables]
    return "\n\n".join(parts) + "\n"


def block(judged: Judged) -> str:
    """A table with its verdicts, tolerance and footnotes."""
    row = judged.table.row
    labels = [escape(c.label + marks(judged, c.footnotes)) for c in row.columns]
    # the first column holds the labels of the rows
    lines = [_line(["", *labels]), _line(["---"] * (len(labels) + 1))]
    for section in judged.sections:
        if section.title:
            heading = f"**{escape(section.title)}**{escape(marks(judged, section.footnotes))}"
            lines.append(_line([heading, *[""] * len(labels)]))
        for line, results in section.lines:
            label = escape(line.label + marks(judged, line.footnotes))
            cells = (escape(str(words(judged, result))) if result else "" for result in results)
            lines.append(_line([label, *cells]))
    # two spaces at the end of a line make a line break
    return "\n".join(lines) + "\n\n" + "  \n".join(map(escape, below(judged)))


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return markdown_text(visible(text))


def _title(judged: Judged) -> str:
    return f"{escape(judged.table.row.title)} ({escape(judged.table.row.name)})"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
