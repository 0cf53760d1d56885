"""Pages that commands write: on a phone a table wider than the window says that it scrolls, in light and dark."""

import shutil
from pathlib import Path

import pytest

from evals.views.page import Table, page

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: the extra `dev` has it"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"
)
FIGURE = b"""<svg xmlns="http://www.w3.org/2000/svg" width="1000" height="300">
<rect width="1000" height="300" fill="white"/><rect width="300" height="300" fill="black"/></svg>"""
HEADS = [f"head {number}" for number in range(12)]
EDGE = 4  # pixels at the right end of the box


def edge_of(browser, file: Path, scheme: str, scrolled: bool) -> tuple[int, int, int]:
    """The colour at the right edge of the box, below its last row's text."""
    from io import BytesIO

    from PIL import Image

    context = browser.new_context(viewport={"width": 390, "height": 700}, color_scheme=scheme)
    window = context.new_page()
    window.goto(file.as_uri())
    box = window.locator(".wide")
    if scrolled:
        box.evaluate("box => { box.scrollLeft = box.scrollWidth }")
        # drawn in the frame after the next
        window.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
    image = Image.open(BytesIO(box.screenshot())).convert("RGB")
    context.close()
    return image.getpixel((image.width - EDGE, 3))


@pytest.mark.parametrize(("scheme", "paper"), [("light", 255), ("dark", 22)])
def test_a_box_that_scrolls_has_a_shadow_where_more_is_hidden(tmp_path, scheme, paper):
    wide = tmp_path / "wide.html"
    wide.write_text(
        page("Title", tables=[Table(HEADS, [["a long value"] * 12])], notes=[]), encoding="utf-8"
    )
    narrow = tmp_path / "narrow.html"
    narrow.write_text(page("Title", tables=[Table(HEADS[:1], [["a"]])], notes=[]), encoding="utf-8")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shadow = edge_of(browser, wide, scheme, scrolled=False)
        at_the_end = edge_of(browser, wide, scheme, scrolled=True)
        without = edge_of(browser, narrow, scheme, scrolled=False)
        browser.close()
    assert shadow != (paper,) * 3
    assert at_the_end == without == (paper,) * 3


def test_on_paper_nothing_is_hidden_in_a_box_that_scrolls(tmp_path):
    file = tmp_path / "wide.html"
    file.write_text(
        page("Title", tables=[Table(HEADS, [["a long value"] * 12])], notes=[]), encoding="utf-8"
    )
    style = "one => getComputedStyle(one).overflowX"
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 390, "height": 700})
        window.goto(file.as_uri())
        on_screen = window.locator(".wide").evaluate(style)
        window.emulate_media(media="print")
        on_paper = window.locator(".wide").evaluate(style)
        browser.close()
    assert (on_screen, on_paper) == ("auto", "visible")


@pytest.mark.parametrize(("scheme", "paper", "ink"), [("light", 255, 0), ("dark", 22, 233)])
def test_a_figure_has_the_pages_own_paper_in_light_and_dark(tmp_path, scheme, paper, ink):
    from io import BytesIO

    from PIL import Image

    file = tmp_path / "figure.html"
    file.write_text(page("Title", image=FIGURE, tables=[], notes=[]), encoding="utf-8")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 1024, "height": 700}, color_scheme=scheme)
        window.goto(file.as_uri())
        image = Image.open(BytesIO(window.locator(".figure").screenshot())).convert("RGB")
        browser.close()
    assert image.getpixel((image.width - 20, 20)) == (paper,) * 3
    assert image.getpixel((20, 20)) == (ink,) * 3
