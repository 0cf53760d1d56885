"""A page of a verdict, a figure, tables and notes, which loads nothing and runs nothing."""

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from evals.escape import visible_page

STYLE = Path(__file__).with_name("page.css")
WIDE = Path(__file__).with_name("wide.css")
TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'sha256-{{ digest }}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
{% if verdict %}<p class="answer">{{ verdict }}</p>{% endif %}
{% if facts %}<dl>{% for name, value in facts %}<div><dt>{{ name }}</dt> \
<dd><bdi>{{ value }}</bdi></dd></div>{% endfor %}</dl>{% endif %}
{% if image %}
<div class="wide" tabindex="0" role="region" aria-label="Figure">
<img class="figure" src="data:image/svg+xml;base64,{{ image }}" alt="{{ alt }}">
</div>
{% endif %}
{% for table in tables %}
{% if table.title %}<h2>{{ table.title }}</h2>{% endif %}
<div class="wide" tabindex="0" role="region" aria-label="Table: {{ table.title or title }}">
<table>
<thead><tr>{% for head in table.heads %}<th scope="col"{% if loop.index0 in table.numbers() %} class="number"{% endif %}>\
{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}
<tr>{% for cell in row %}<td{% if loop.index0 in table.numbers() %} class="number"{% endif %}>\
<bdi>{{ cell }}</bdi></td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% endfor %}
{% for note in notes %}<p class="note">{{ note }}</p>{% endfor %}
</main>
</body>
</html>
"""
NUMBER = re.compile(r"[<+−-]?\d[\d,.]*(?:e[+-]\d+)?|–?")


class Table(NamedTuple):
    """A table of a page: `heads` say what the cells below them are, with their unit."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""

    def numbers(self) -> set[int]:
        """The places of the columns of plain numbers: those stand with their last digits in line."""
        columns = zip(*self.rows, strict=True)
        return {
            place
            for place, cells in enumerate(columns)
            if any(cells) and all(map(NUMBER.fullmatch, cells))
        }


def styles(*files: Path) -> str:
    """These style sheets, and that of what is wider than a window, as one."""
    return "\n".join([*(path.read_text(encoding="utf-8").strip() for path in files), wide()])


def wide() -> str:
    """The style of boxes that scroll sideways and say so."""
    return WIDE.read_text(encoding="utf-8").strip()


def page(
    title: str,
    *,
    verdict: str = "",
    image: bytes | None = None,
    alt: str = "",
    facts: Sequence[tuple[str, str]] = (),
    tables: Sequence[Table],
    notes: Sequence[str],
) -> str:
    """The page; `verdict` is its first sentence, `image` SVG, `facts` names with values that hold for all rows.

    All text is escaped, and only the style is allowed, by its hash.
    """
    from jinja2 import Environment, StrictUndefined

    style = styles(STYLE)
    text = (
        Environment(autoescape=True, undefined=StrictUndefined)
        .from_string(TEMPLATE)
        .render(
            title=title,
            verdict=verdict,
            image=base64.b64encode(image or b"").decode(),
            alt=alt,
            facts=facts,
            tables=tables,
            notes=notes,
            style=style,
            digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        )
    )
    # A name could turn the direction of what stands after it.
    return visible_page(text)
