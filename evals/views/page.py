"""One page of a figure (if there is one), a table and notes, which loads nothing and runs nothing."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

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
{% if image %}<img src="data:image/svg+xml;base64,{{ image }}" alt="{{ alt }}">{% endif %}
<div class="wide">
<table>
<thead><tr>{% for head in heads %}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr>{% for cell in row %}<td><bdi>{{ cell }}</bdi></td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% for note in notes %}<p class="note">{{ note }}</p>{% endfor %}
</main>
</body>
</html>
"""


def styles(*files: Path) -> str:
    """These style sheets, and that of what is wider than a window, as one."""
    return "\n".join([*(path.read_text(encoding="utf-8").strip() for path in files), wide()])


def wide() -> str:
    """The style of boxes that scroll sideways and say so."""
    return WIDE.read_text(encoding="utf-8").strip()


def page(
    title: str,
    *,
    image: bytes | None = None,
    alt: str = "",
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
) -> str:
    """The page; `image` is SVG, and may be absent. All text is escaped, and only the style is allowed, by its hash."""
    from jinja2 import Environment, StrictUndefined

    style = styles(STYLE)
    text = (
        Environment(autoescape=True, undefined=StrictUndefined)
        .from_string(TEMPLATE)
        .render(
            title=title,
            image=base64.b64encode(image or b"").decode(),
            alt=alt,
            heads=heads,
            rows=rows,
            notes=notes,
            style=style,
            digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        )
    )
    # A name could turn the direction of what stands after it.
    return visible_page(text)
