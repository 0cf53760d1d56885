"""A comparison as one page for those who know no statistics: sentence, picture, and queries that moved."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from evals.analysis.comparison import Change
from evals.analysis.movers import Movers
from evals.analysis.searched import Shown, picture
from evals.escape import visible_page
from evals.os_errors import as_eval_error
from evals.schema import EvalError, ImageText
from evals.views.comparison import HEAD, LEGEND, Title, cells
from evals.views.forest import forest_image
from evals.views.page import styles
from evals.views.thumbnails import thumbnail

TEMPLATE = Path(__file__).with_name("comparison.html.jinja")
STYLES = (Path(__file__).with_name("page.css"), Path(__file__).with_name("comparison.css"))
GUIDE = (
    "Each line is one score; 1 point is one query in 100. The dot shows by how many points the new "
    "model scored better (right of the line at 0) or worse (left of it). The bar is the 95% interval: "
    "the range in which the true difference plausibly lies. If it crosses 0, this data does not show "
    "which model is better. R@1 counts the queries whose right answer ranks first, R@5 those where it "
    "is among the first five. t2i: texts search for images; i2t: images search for texts. The scores "
    "in bold decide the sentence above."
)
LICENCE = (
    "The pictures are small copies of the data set's images, under their licence: look before you "
    "pass this page on."
)


def as_html(
    title: Title, changes: Sequence[Change], answer: str, movers: Movers | None, note: str = ""
) -> str:
    """One page without a script that loads nothing, the images inside it.

    `note` says why there are no movers, where there are none.
    """
    from jinja2 import Environment, StrictUndefined

    style = styles(*STYLES)
    more_notes = movers.notes if movers else [note]
    notes = [line for line in (*title.notes, *more_notes) if line]
    # It adds to the notes while the page is made, above whose end they stand.
    pictures = _pictures(movers, notes)
    if movers and isinstance(movers.data, ImageText):
        shown = [*movers.worse, *movers.better]
        if shown:
            notes.append(LICENCE)
    rows = [[change.benchmark, *cells(change)] for change in changes]
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        a=title.a,
        b=title.b,
        answer=answer,
        guide=GUIDE,
        forest=base64.b64encode(forest_image(title, changes, "svg")).decode(),
        heads=["benchmark", "subset", "direction", *HEAD[2:]],
        rows=rows,
        legend=LEGEND,
        movers=movers,
        image_of=pictures,
        place_of=lambda rank: f"{rank:,.1f}".removesuffix(".0"),
        notes=notes,
        style=style,
        # The page's Content-Security-Policy allows this style by its hash.
        digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )
    # A name could turn the direction of what stands after it.
    return visible_page(text)


def _pictures(movers: Movers | None, notes: list[str]) -> Callable[[Shown], str | None]:
    """The thumbnail of an item that is shown as an image, each scaled once.

    One that cannot be opened any more is named in the notes.
    """
    cache: dict[tuple[bool, int], str | None] = {}

    def image_of(one: Shown) -> str | None:
        if movers is None or movers.data is None or one.kind != "image":
            return None
        key = one.score is None, one.place  # queries and documents may both be images
        if key not in cache:
            try:
                cache[key] = thumbnail(picture(movers.data, one))
            except (EvalError, OSError) as error:
                cache[key] = None
                notes.append(str(as_eval_error(error)))
        return cache[key]

    return image_of
