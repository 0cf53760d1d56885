"""What the report does with foreign text, with many runs, with documents, and with the data it stands on."""

import csv
import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from evals.config.catalog import benchmarks
from evals.config.suites import suites
from evals.escape import spreadsheet_text, visible_page
from evals.report.__main__ import app
from evals.report.names import Place, quantities
from evals.report.published_csv import published
from evals.report.tables import footnotes, table, table_names
from evals.report.words import overview
from tests.commands import calls
from tests.conftest import SHARED
from tests.published_toys import write_record

ROOT = Path(__file__).parents[1]
T2I = Place("flickr-quoted", None, "en", "t2i", "R@5", None)


def run(*args: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(arg) for arg in args])
    return done.exit_code, done.stdout, done.stderr


class Reader(HTMLParser):
    """Which tags a page has, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.shown = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.add(tag)
        self.tags |= {name for name, _ in attrs if name.startswith("on")}

    def handle_data(self, data: str) -> None:
        self.shown += data


EVIL = "<script>alert(1)</script>|=1+1|$x^2$|<img src=x onerror=alert(1)>|نموذج\u202e|`a`_b_"


def test_foreign_text_stays_text_in_every_format(tmp_path):
    """Labels and titles of another configs folder, and a stand-in's name."""
    configs = shutil.copytree(
        ROOT / "configs", tmp_path / "configs", ignore=shutil.ignore_patterns("tiny")
    )
    quoted = json.dumps(EVIL, ensure_ascii=True)
    later = configs / "tables/later.yaml"
    told = later.read_text().replace(
        '{label: "Avg", benchmark: "ViDoRe', f'{{label: {quoted}, benchmark: "ViDoRe'
    )
    later.write_text(
        told.replace('rows: ["jina-clip-v2"]', 'rows: [{label: "=cmd()", model: "jina-clip-v2"}]')
    )
    command = [
        sys.executable,
        "-m",
        "evals.report",
        "-t",
        "jev4paper-a3",
        "--as",
        f"jina-clip-v2={EVIL}",
    ]
    command += [
        "--format",
        "md,html,csv,latex,png",
        "--out",
        tmp_path,
        "--results",
        tmp_path / "runs",
    ]
    environment = {"EVALS_CONFIGS": str(configs), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout
    reader = Reader()
    page = (tmp_path / "jev4paper-a3.html").read_text()
    reader.feed(page)
    assert (
        reader.tags.isdisjoint({"script", "img", "onerror"})
        and reader.shown.count(visible_page(EVIL)) == 2
    )
    assert "default-src 'none'; style-src 'sha256-" in page
    markdown = (tmp_path / "jev4paper-a3.md").read_text()
    assert "<script" not in markdown and "<img" not in markdown and "\u202e" not in markdown
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\|=1+1\|\$x^2\$\|" in markdown
    lines = list(csv.reader(StringIO((tmp_path / "jev4paper-a3.csv").read_text())))
    assert {line[2] for line in lines[1:]} == {"'=cmd()"} and lines[1][3] == EVIL
    latex = (tmp_path / "jev4paper-a3.tex").read_text()
    assert r"\textless{}script\textgreater{}" in latex and r"\$x\textasciicircum{}2\$" in latex
    assert (tmp_path / "jev4paper-a3.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("=1", "'=1"), (" +1", "' +1"), ("@a", "'@a"), ("-1", "'-1"), ("a=1", "a=1"), ("", "")],
)
def test_csv_text_is_never_a_formula(given, kept):
    assert spreadsheet_text(given) == kept


def test_another_record_costs_the_report_some_1800_calls_and_no_torch(tmp_path):
    places = {
        cell.selector.groups[0][0]
        for name in table_names()
        for _, cell in table(name).cells
        if cell.selector.groups
    }
    with patch("os.fsync"):
        write_record(tmp_path / "one", T2I.keys[0], "jina-clip-v2", {T2I: 0.5})
        for number in range(500):
            place = sorted(places, key=str)[number % len(places)] if number < 350 else T2I
            write_record(tmp_path / "many", place.keys[0], "jina-clip-v2", {place: 0.5})
    code = "import sys; from evals.report.__main__ import app; app(standalone_mode=False); print('torch' in sys.modules)"
    one, many = (
        ["--all", "--results", str(tmp_path / name), "--out", str(tmp_path / f"{name}-out")]
        for name in ("one", "many")
    )
    command = [sys.executable, "-c", code, *many]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.endswith("False\n"), done.stderr
    assert "500 records" in (tmp_path / "many-out/report.md").read_text()
    more = calls("evals.report", *many, cwd=ROOT) - calls("evals.report", *one, cwd=ROOT)
    assert more / 499 < 2100


def test_blocks_in_docs_are_checked_and_refreshed(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    page = docs / "a.md"
    page.write_text(
        "before\n<!-- report v1paper-t12 from records -->\nold\n<!-- /report -->\nafter\n"
    )
    assert run("--check", "--root", tmp_path)[0] == 1
    assert page.read_text().count("old") == 1
    assert run("--write", "--root", tmp_path)[0] == 0
    assert run("--check", "--root", tmp_path)[0] == 0
    new = page.read_text()
    assert (
        "old" not in new
        and "| SummEval | – (30.49) |" in new
        and new.startswith("before")
        and new.endswith("after\n")
    )
    place = dict(table("v1paper-t12").cells)["SummEval / JinaCLIP"].selector.groups[0][0]
    write_record(tmp_path / "records", "mteb.SummEval", "jina-clip-v1", {place: 0.3049}, width=768)
    assert run("--check", "--root", tmp_path)[0] == 1
    page.write_text("<!-- report v1paper-t12 from records -->\n")
    assert run("--check", "--root", tmp_path)[0] == 3


def test_the_tables_in_readme_and_docs_are_true():
    assert run("--check")[0] == 0


def test_every_footnote_is_told_in_the_docs_and_used_by_a_table():
    told = (ROOT / "docs/literature.md").read_text(encoding="utf-8")
    assert [name for name in footnotes() if f"`{name}`" not in told] == []
    assert {name for each in table_names() for name in table(each).footnotes} == set(footnotes())


@pytest.mark.skipif(
    not (SHARED.parent / "published/published.csv").is_file(),
    reason="the source is not on this machine",
)
def test_no_published_number_was_lost():
    ours = [number for every in published().values() for number in every]
    key = (
        "model",
        "table",
        "benchmark",
        "direction",
        "metric",
        "language",
        "dim",
        "score",
        "printed",
        "printed_label",
    )
    with (SHARED.parent / "published/published.csv").open(encoding="utf-8", newline="") as file:
        source = [tuple(line[name] for name in key) for line in csv.DictReader(file)]
    assert len(source) == 1412
    assert sorted(source) == sorted(tuple(getattr(number, name) for name in key) for number in ours)


def test_selectors_name_rows_that_there_are():
    rows = benchmarks()
    members = {
        member
        for row in quantities().values()
        for member in row.of
        if not member.startswith("mteb:")
    }
    for name, _, subset in (member.partition("/") for member in members):
        assert subset in rows[name].subsets if subset else len(rows[name].subsets) == 1, name


@pytest.mark.parametrize(
    ("quantity", "suite", "average"),
    [
        ("crossmodal3600", "paper-v2", "Crossmodal-3600 (26 languages)"),
        ("multilingual_mscoco", "paper-v2", "Multilingual MS COCO (10 languages)"),
        ("xtd10", "paper-v2", "XTD200 (27 languages)"),
        ("average-37-datasets", "classification-37", None),
        ("mteb-retrieval", "mteb-eng-retrieval", "15 tasks"),
        ("mteb-sts", "mteb-eng-sts", "10 tasks"),
        ("mteb-sts-multilingual", "mteb-multilingual-sts", "13 tasks"),
        ("vidore-10-tasks", "vidore", "10 tasks"),
    ],
)
def test_averages_have_the_members_that_the_suites_have(quantity, suite, average):
    means = suites()[suite].averages
    ours = {_without_subset(member) for member in quantities()[quantity].of}
    assert ours == {_without_subset(member) for member in means[average or next(iter(means))].of}


def _without_subset(member: str) -> str:
    """Suites limit the subsets of mteb's tasks apart from the list, and name the only subset of a row."""
    if member.startswith("mteb:"):
        return "/".join(member.split("/")[:2])
    return (
        member.removesuffix("/en")
        if "/" in member and member.split("/")[0] not in ("xm3600-first", "xtd", "xtd200")
        else member
    )


def test_records_read_only_what_cells_ask_for(tmp_path):
    """A broken record that no cell needs does not matter."""
    path = write_record(tmp_path, "scenes", "tiny", {T2I._replace(benchmark="scenes"): 0.5})
    (path / "metrics.jsonl").write_text("{}")
    assert run("--table", "v2post-flickr30k", "--results", tmp_path)[0] == 0


def test_a_report_begins_with_how_many_tables_are_measured_and_deviate():
    whole = {"exact": 2, "reproduced": 1, "deviates": 0, "not run": 0}
    part = {"exact": 1, "reproduced": 0, "deviates": 2, "not run": 3}
    nothing = {"exact": 0, "reproduced": 0, "deviates": 0, "not run": 4}
    assert overview([whole, part, nothing]) == (
        "2 of 3 tables measured, 1 of them in part; 1 deviates, in 2 cells."
    )
    assert overview([whole, whole]) == "2 of 2 tables measured; none deviates."
    assert overview([nothing, nothing]) == "0 of 2 tables measured."


def test_a_report_of_one_table_counts_its_cells():
    counts = {"exact": 1, "reproduced": 1, "deviates": 2, "not run": 8}
    assert overview([counts]) == "4 of 12 cells measured; 2 deviate."
    assert overview([counts | {"deviates": 1}]) == "3 of 11 cells measured; 1 deviates."
    assert overview([counts | {"deviates": 0}]) == "2 of 10 cells measured; none deviates."
    nothing = dict.fromkeys(counts, 0) | {"not run": 1}
    assert overview([nothing]) == "0 of 1 cell measured."


def test_the_page_of_a_report_begins_with_its_sentence(tmp_path):
    page = tmp_path / "report.html"
    assert run("--all", "--html", page, "--results", tmp_path, "--format", "")[0] == 0
    first = page.read_text().partition("<h1>")[2].partition("<p")[2].partition("</p>")[0]
    assert first.endswith(f'class="answer">0 of {len(table_names())} tables measured.')
