"""Mistakes as people and programs read them: a table, markdown, one self-contained page, JSON."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from evals.analysis.mistakes import Mistake, Mistakes
from evals.analysis.searched import Shown, picture
from evals.escape import markdown_text, visible_page
from evals.records.queries import cell_name
from evals.views.page import styles
from evals.views.thumbnails import thumbnail

TEMPLATE = Path(__file__).with_name("mistakes.html.jinja")
STYLE = Path(__file__).with_name("mistakes.css")
LICENCE = (
    "The thumbnails are copies of the data set's images, under their licence: look before you "
    "publish this page."
)


def heading(page: Mistakes) -> str:
    """What the mistakes are of."""
    manifest = page.run.manifest
    return f"Worst queries of {manifest.model} on {manifest.benchmark}, {cell_name(page.cell)}"


def summary(page: Mistakes) -> str:
    """How many queries are wrong, and what is shown."""
    return (
        f"For {page.wrong:,} of {page.queries:,} queries, no right answer is certain to rank first. "
        f"The {len(page.mistakes):,} worst are shown, each with up to five wrong answers that rank "
        "above the right one. Rank: the mean over random orders of equal scores. An image is shown "
        "by its first caption."
    )


def print_table(page: Mistakes) -> None:
    """A row a query: its rank, its own document and the best of those preferred."""
    from rich.markup import escape

    from evals.views.style import console
    from evals.views.table import FittingTable

    table = FittingTable(
        title=escape(heading(page)),
        box=None,
        pad_edge=False,
        padding=(0, 1, 1, 0),
    )
    table.add_column("rank", justify="right", no_wrap=True)
    for name in ("query", "right answer", "ranked first"):
        table.add_column(name, overflow="fold", ratio=1)
    for mistake in page.mistakes:
        shown = (mistake.query, mistake.gold, *mistake.preferred[:1])
        # A caption in brackets would be markup to rich.
        table.add_row(_rank(mistake), *(escape(_in_words(item)) for item in shown))
    out = console()
    out.print(table)
    out.print(summary(page), style="dim", highlight=False)


def as_json(page: Mistakes) -> dict[str, Any]:
    """The machine output."""
    return {
        "schema_version": 1,
        "record": str(page.run.path),
        **page.cell._asdict(),
        "queries": page.queries,
        "wrong": page.wrong,
        "mistakes": [_mistake_json(mistake) for mistake in page.mistakes],
    }


def _mistake_json(mistake: Mistake) -> dict[str, Any]:
    return {
        "rank": mistake.rank,
        "query": _entry(mistake.query),
        "gold": _entry(mistake.gold),
        "preferred": [_entry(shown) for shown in mistake.preferred],
    }


def as_markdown(page: Mistakes) -> str:
    """A table, as GitHub reads it; captions stay text."""
    lines = [
        f"# {markdown_text(heading(page))}",
        "",
        summary(page),
        "",
        "| rank | query | right answer | ranked above it |",
        "|--:|---|---|---|",
    ]
    for mistake in page.mistakes:
        query, gold = (_as_markdown(shown) for shown in (mistake.query, mistake.gold))
        # A line break inside a cell is HTML: markdown's tables have none.
        preferred = "<br>".join(_as_markdown(shown) for shown in mistake.preferred)
        lines.append(f"| {_rank(mistake)} | {query} | {gold} | {preferred} |")
    return "\n".join([*lines, "", f"Record: {markdown_text(str(page.run.path))}"]) + "\n"


def as_html(page: Mistakes, *, thumbnails: bool) -> str:
    """One page without a script that loads nothing; with `thumbnails` the images are in it."""
    from jinja2 import Environment, StrictUndefined

    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        TEMPLATE.read_text(encoding="utf-8")
    )
    style = styles(STYLE)
    # The page's Content-Security-Policy allows this style by its hash, and images that are in the
    # page: a caption that got past the escaping could still load and run nothing.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    # An image may be preferred by many queries, and is scaled once.
    cache: dict[tuple[bool, int], str] = {}

    def image_of(shown: Shown) -> str | None:
        if not thumbnails or shown.kind != "image":
            return None
        key = shown.score is None, shown.place  # queries and documents may both be images
        if key not in cache:
            cache[key] = thumbnail(picture(page.data, shown))
        return cache[key]

    text = template.render(
        heading=heading(page),
        summary=summary(page),
        licence=LICENCE if thumbnails else None,
        mistakes=page.mistakes,
        record=str(page.run.path),
        image_of=image_of,
        rank_of=_rank,
        style=style,
        style_digest=digest,
    )
    # A caption could turn the direction of what stands after it.
    return visible_page(text)


def _as_markdown(shown: Shown) -> str:
    return markdown_text(_in_words(shown))


def _in_words(shown: Shown) -> str:
    score = f"{shown.score:.3f} " if shown.score is not None else ""
    return f"{score}{shown.text} ({shown.id})"


def _entry(shown: Shown) -> dict[str, Any]:
    return {"kind": shown.kind, "id": shown.id, "text": shown.text, "score": shown.score}


def _rank(mistake: Mistake) -> str:
    return f"{mistake.rank:,.1f}".removesuffix(".0")
