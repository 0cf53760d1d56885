"""The site of the docs: each page in it, each link checked, nothing fetched from elsewhere, the reference up to date."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import pytest
import yaml

from evals.__main__ import COMMANDS
from tests.reference import PAGE, page

ROOT = Path(__file__).parents[1]
# What a browser loads by itself, without a click.
LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?([^\s\">]+)|<link\b([^>]*)>")


def test_no_page_holds_what_a_merge_left():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    marked = [
        path.name
        for path in pages
        if re.search(r"(?m)^(<{7}|>{7}) ", path.read_text(encoding="utf-8"))
    ]
    assert len(pages) > 30 and not marked


def test_the_reference_is_what_the_commands_say():
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "An option changed. Run: python -m tests.reference --write"
    )


def test_the_reference_has_every_command_and_every_option():
    text = PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^#{2,} (.+)$", text, re.MULTILINE)
    assert set(COMMANDS) <= set(headings)
    assert {"regress baseline set", "regress baseline show"} <= set(headings)
    assert "`--log TRACKER[:PROJECT]`" in text


def test_the_reference_has_no_quotes_of_a_broken_docstring():
    assert '" "' not in PAGE.read_text(encoding="utf-8")


def test_the_reference_names_no_place_of_a_machine():
    assert not re.search(r"[\s\"]/\w", PAGE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("docs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_each_page_is_in_the_site_and_found_by_its_search(site):
    pages = {path.with_suffix(".html").name for path in (ROOT / "docs").glob("*.md")}
    pages |= {"index.html", "changelog.html", "contributing.html", "security.html"}
    assert pages <= {path.name for path in site.glob("*.html")}
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    assert pages <= {entry["location"].partition("#")[0] for entry in index["docs"]}


def test_each_page_is_in_the_list_of_pages(site):
    first = (site / "index.html").read_text(encoding="utf-8")
    for path in (ROOT / "docs").glob("*.md"):
        assert f'href="{path.stem}.html"' in first, path.name


def test_a_browser_loads_nothing_from_elsewhere(site):
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        # it would be drawn by a script from a CDN
        assert 'class="mermaid"' not in text
        for source, link in LOADED.findall(text):
            assert not re.match(r"(https?:)?//", source), (path.name, source)
            assert not re.search(r"href=\"?(https?:)?//", link), (path.name, link)


def test_files_that_pages_link_to_go_along(site):
    for name in ("configs/gates.yaml", "github/workflows/ci.yml"):
        assert (site / "files" / name).is_file()
    assert not (site / "site_hooks.py").exists()


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["title"], citation["version"]) == (project["name"], project["version"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_code_stand_out_and_links_are_no_matter_of_colour(site, scheme):
    """axe, on the first page and on one with code and numbers; what the theme's script makes is not ours."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js")
    rules = ["color-contrast", "link-in-text-block"]
    options = {"runOnly": rules, "resultTypes": ["violations"], "preload": False}
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        window = browser.new_context(color_scheme=scheme).new_page()
        for name in ("index", "own-data"):
            window.goto((site / f"{name}.html").as_uri())
            window.evaluate(axe.read_text(encoding="utf-8"))
            faults = window.evaluate("options => axe.run(document, options)", options)["violations"]
            assert not [(fault["id"], fault["nodes"][0]["html"]) for fault in faults], name
        browser.close()
