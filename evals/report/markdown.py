"""Reports as Markdown: tables in their own layout, any text in them as text."""

from collections.abc import Iterable, Sequence

from evals.escape import markdown_text
from evals.report.verdicts import Judged
from evals.report.words import LEGEND, marks, notes, summary, tolerance, visible, words


def page(tables: Sequence[Judged], head: Sequence[str]) -> str:
    """One document: the head's lines, the legend, then the tables."""
    parts = [
        "# Published tables, measured",
        *map(escape, head),
        escape(LEGEND),
        *(f"## {_title(t)}\n\n{block(t)}" for t in tables),
    ]
    return "\n\n".join(parts) + "\n"


def block(judged: Judged) -> str:
    """A table with its verdicts, tolerance and footnotes."""
    columns = [
        "",
        *(
            f"{escape(c.label)}{escape(marks(judged, c.footnotes))}"
            for c in judged.table.row.columns
        ),
    ]
    lines = [_line(columns), _line(["---"] * len(columns))]
    for title, names, rows in judged.sections:
        if title:
            lines.append(
                _line(
                    [
                        f"**{escape(title)}**{escape(marks(judged, names))}",
                        *[""] * (len(columns) - 1),
                    ]
                )
            )
        for line, results in rows:
            cells = (escape(str(words(result))) if result else "" for result in results)
            lines.append(
                _line([escape(line.label) + escape(marks(judged, line.footnotes)), *cells])
            )
    told = [
        f"{escape(summary(judged))}. {escape(tolerance(judged))}{escape(marks(judged, judged.table.row.footnotes))}"
    ]
    told += [f"{escape(f'[{i}]')} {escape(text)}" for i, (_, text) in enumerate(notes(judged), 1)]
    return "\n".join(lines) + "\n\n" + "  \n".join(told)


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return markdown_text(visible(text))


def _title(judged: Judged) -> str:
    return f"{escape(judged.table.row.title)} ({escape(judged.table.row.name)})"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
