"""Reports as one HTML file that loads nothing and runs nothing."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.report.verdicts import Judged, Result
from evals.report.words import LEGEND, marks, notes, summary, tolerance, words

TEMPLATE = Path(__file__).with_name("page.html")
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0; }
main { max-width: 78rem; margin: 0 auto; padding: 1rem; }
.wide { overflow-x: auto; }
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
    """One document; every text is escaped, the style is allowed by its hash and nothing else is allowed."""
    from jinja2 import Environment, StrictUndefined, select_autoescape

    environment = Environment(
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
    )
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        head=head,
        legend=LEGEND,
        style=STYLE,
        style_hash=f"sha256-{digest}",
        tables=[_view(judged) for judged in tables],
    )


def _view(judged: Judged) -> dict[str, Any]:
    row = judged.table.row
    return {
        "name": row.name,
        "title": row.title,
        "summary": summary(judged),
        "tolerance": tolerance(judged),
        "marks": marks(judged, row.footnotes),
        "notes": [text for _, text in notes(judged)],
        "columns": [(column.label, marks(judged, column.footnotes)) for column in row.columns],
        "sections": [
            (
                title,
                marks(judged, names),
                [
                    (line.label, marks(judged, line.footnotes), list(map(_cell, cells)))
                    for line, cells in rows
                ],
            )
            for title, names, rows in judged.sections
        ],
    }


def _cell(result: Result | None) -> dict[str, str] | None:
    if result is None:
        return None
    told = ". ".join(
        filter(None, (result.why, result.cell.published.source, result.cell.published.note))
    )
    return words(result)._asdict() | {"told": told}
