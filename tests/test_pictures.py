"""Pictures of the docs are small, are shown, and say in words what is on them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
SHOWN = re.compile(
    r'<img src="(?:docs/)?images/([\w.-]+)"[^>]*alt="[^"]{20,}"|!\[[^\]]{20,}\]\(images/([\w.-]+)\)'
)


@pytest.mark.parametrize(
    "picture", sorted((ROOT / "docs" / "images").iterdir()), ids=lambda path: path.name
)
def test_a_picture_is_small_and_some_page_shows_it_and_describes_it(picture: Path) -> None:
    shown = {name for page in PAGES for names in SHOWN.findall(page.read_text()) for name in names}
    assert picture.name in shown
    assert picture.stat().st_size < 100_000
