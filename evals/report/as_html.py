"""Writes reports as one HTML file that loads nothing and runs nothing."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.escape import visible_page
from evals.report.verdicts import Judged, JudgedLine, Result
from evals.report.words import LEGEND, marks, notes, provenance, summary, tolerance, words
from evals.views.page import wide

TEMPLATE = Path(__file__).with_name("page.html")
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0; background: light-dark(#fff, #161616); }
main { max-width: 78rem; margin: 0 auto; padding: 1rem; }
.answer { font-size: 1.25rem; line-height: 1.4; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: start; vertical-align: top; border-bottom: 1px solid #8884; }
th[dir], td { unicode-bidi: isolate; }
.section { padding-top: .8rem; }
.published, .coverage { color: light-dark(#595959, #b4b4b4); }
.verdict { font-weight: 600; }
.exact .verdict, .reproduced .verdict { color: light-dark(#17692c, #7fd694); }
.deviates .verdict { color: light-dark(#a11b1b, #ff9a8f); }
.notes { font-size: .9em; }
"""


def page(tables: Sequence[Judged], head: Sequence[str]) -> str:
    """One document. All text is escaped; only the style is allowed, by its hash."""
    from jinja2 import Environment, StrictUndefined, select_autoescape

    # an unknown name in the template is an error, not an empty string
    environment = Environment(
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
    )
    # Content-Security-Policy allows this style by its hash, and nothing else at all
    style = f"{STYLE.strip()}\n{wide()}"
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    text = template.render(
        head=head,
        legend=LEGEND,
        style=style,
        style_hash=f"sha256-{digest}",
        tables=[_view(judged) for judged in tables],
    )
    return visible_page(text)


def _view(judged: Judged) -> dict[str, Any]:
    row = judged.table.row
    sections = []
    for section in judged.sections:
        rows = [_row(judged, line) for line in section.lines]
        sections.append((section.title, marks(judged, section.footnotes), rows))
    return {
        "name": row.name,
        "title": row.title,
        "summary": summary(judged),
        "tolerance": tolerance(judged),
        "marks": marks(judged, row.footnotes),
        "notes": notes(judged),
        "provenance": provenance(judged),
        "columns": [(column.label, marks(judged, column.footnotes)) for column in row.columns],
        "sections": sections,
    }


def _row(judged: Judged, row: JudgedLine) -> tuple[str, str, list[dict[str, str] | None]]:
    """The label of a row, its footnotes, and its cells."""
    cells = [_cell(judged, result) for result in row.results]
    return row.line.label, marks(judged, row.line.footnotes), cells


def _cell(judged: Judged, result: Result | None) -> dict[str, str] | None:
    if result is None:
        return None
    published = result.cell.published
    # In the cell's title: where a number was printed is wanted of one cell at a time.
    hint = ". ".join(filter(None, (result.why, published.source, published.note)))
    return words(judged, result)._asdict() | {"hint": hint}
