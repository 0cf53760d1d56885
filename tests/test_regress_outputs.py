"""What a verdict looks like to people and machines, and that no name or message in it is ever more than text."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from evals.escape import visible
from evals.records.record import read_run
from evals.regress.gates import Gate
from evals.regress.judging import judge
from evals.regress.outputs import as_badge, as_json, as_junit, as_markdown, page_rows
from evals.regress.table import print_baseline, print_verdict
from evals.regress.verdict import Problem, Verdict
from tests.regress_records import record, scores

HOSTILE = [
    "<script>alert(1)</script>",
    "a|b|c",
    "=HYPERLINK(1)",
    "[x](http://evil)",
    "`code` **bold** @everyone #1",
    "עברית عربية",
    "a\u202eb\x00c\x1b[31md\ud800e\nf",
    "]]>&amp;",
    "![i](//x)",
]
GATES = [Gate(name="toy", match="*", floor=0.003, primary=("R@1",))]


def verdict_of(
    tmp_path: Path, subset: str = "en", model: str = "m", lost: int = 20, **manifest: object
) -> Verdict:
    paths = [
        record(
            tmp_path / str(i), {subset: [scores([50] * n + [0] * (1000 - n))]}, model=model, **told
        )
        for i, (n, told) in enumerate(((0, {}), (lost, manifest)))
    ]
    return judge("b", [read_run(paths[0])], lambda record: read_run(paths[1]), GATES)


def tags_of(page: str) -> list[str]:
    """The HTML tags that a Markdown library makes of a page; images and links are among them."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(page)
    inner = [child for token in tokens for child in token.children or []]
    text = {"text", "text_special", "softbreak", "inline"}
    return [token.tag for token in [*tokens, *inner] if token.type not in text]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_everywhere(tmp_path, name):
    safe = name.replace("\ud800", "")  # no UTF-8 file can hold it; messages may
    verdict = verdict_of(tmp_path / "hostile", subset=safe, model=safe, host={safe: safe})
    verdict.problems.append(Problem("invalid", name, name, name))
    page = as_markdown(verdict)
    harmless = verdict_of(tmp_path / "harmless", subset="name", model="name", host={"name": "name"})
    harmless.problems.append(Problem("invalid", "name", "name", "name"))
    assert tags_of(page) == tags_of(as_markdown(harmless))
    assert "@everyone" not in page
    rows = [line for line in page.split("\n") if line.startswith("| toy")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows if "R@1" in row} == {9}
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\ud800]", page)

    root = ElementTree.fromstring(as_junit(verdict))  # noqa: S314 - our own
    assert {case.get("classname") for case in root.iter("testcase")} == {
        visible(f"toy.{safe}"),
        visible(f"{name}.{name}"),
    }
    told = json.loads(json.dumps(as_json(verdict), allow_nan=False))
    assert told["metrics"][0]["subset"] == safe and told["problems"][0]["message"] == name

    out = io.StringIO()
    print_verdict(verdict, Console(file=out, width=300))
    assert (
        visible(name) in out.getvalue()
        and "\x1b" not in out.getvalue()
        and "\u202e" not in out.getvalue()
    )


def test_the_table_says_old_new_difference_and_verdict(tmp_path):
    verdict = verdict_of(tmp_path)
    (row,) = [
        line
        for line in as_markdown(verdict).split("\n")
        if line.startswith("| toy") and "regressed" in line
    ]
    change = next(c for c in verdict.changes if c.metric == "R@1")
    low, high = change.difference.interval or (0, 0)
    assert row == (
        f"| toy | m | en t2i, dim 8 | R@1 | 100.00 | 98.00 | -2.00 [{100 * low:+.2f},{100 * high:+.2f}] | 🔴 regressed |"
    )


def test_unchanged_metrics_are_counted_in_one_line_and_not_listed(tmp_path):
    same = verdict_of(tmp_path / "same", lost=0)
    out = io.StringIO()
    print_verdict(same, Console(file=out, width=300))
    for text in (out.getvalue(), as_markdown(same)):
        assert "Unchanged metrics are counted but not listed; --csv FILE has them." in text
        assert "passed: 7 unchanged of 7 metrics" in text
        assert "toy" not in text and "100.00" not in text
    fallen = verdict_of(tmp_path / "fallen")
    assert "unchanged" not in {change.judgement for change in fallen.listed()}
    assert "regressed" in {change.judgement for change in fallen.listed()}


def test_a_comment_stays_within_what_github_takes(tmp_path):
    verdict = verdict_of(tmp_path, host={f"p{i}": "x" * 100 for i in range(2000)})
    verdict.changes.extend(verdict.changes * 500)
    verdict.problems.extend(Problem("missing", "b", "m", "x" * 300) for _ in range(2000))
    assert len(as_markdown(verdict)) < 65_536


def test_a_comment_names_only_what_can_have_moved_a_number(tmp_path):
    verdict = verdict_of(tmp_path, packages={"torch": "3", "mteb": "1"}, host={"python": "3.13"})
    listed = re.findall(r"\| (packages\.\S+|host\.\S+) \|", as_markdown(verdict))
    assert listed == ["packages.torch", "host.python"]
    everything = as_json(verdict)["compared"][0]["environment"]
    assert {"what": "packages.mteb", "before": "none", "after": "1"} in everything


def test_junit_counts_failures_and_errors(tmp_path):
    verdict = verdict_of(tmp_path)
    verdict.problems.append(Problem("missing", "flickr", "m", "nothing there"))
    root = ElementTree.fromstring(as_junit(verdict))  # noqa: S314 - our own
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("8", "1", "1")
    assert len(list(root.iter("testcase"))) == 8
    assert [e.get("type") for e in root.iter("error")] == ["missing"] and len(
        list(root.iter("failure"))
    ) == 1


@pytest.mark.parametrize(
    ("lost", "problem", "message"),
    [(0, False, "passed"), (20, False, "regressed"), (20, True, "invalid")],
)
def test_the_badge_is_an_endpoint_of_shields(tmp_path, lost, problem, message):
    verdict = verdict_of(tmp_path, lost=lost)
    if problem:
        verdict.problems.append(Problem("missing", "b", "m", "x"))
    badge = json.loads(as_badge(verdict))
    assert (
        badge["message"] == message
        and badge["schemaVersion"] == 1
        and set(badge) == {"schemaVersion", "label", "message", "color"}
    )


def test_a_verdict_begins_with_a_sentence(tmp_path):
    """In the terminal, the comment and the JSON."""
    verdict = verdict_of(tmp_path, lost=20)
    fell = verdict.headline()
    assert re.fullmatch(
        r"\d of \d+ metrics regressed against the baseline b, most of all toy en t2i, dim 8, R@1\.",
        fell,
    )
    page = io.StringIO()
    print_verdict(verdict, Console(file=page, width=120))
    assert page.getvalue().startswith(fell)
    assert f"**{fell}**" in as_markdown(verdict).replace("&#8203;", "")
    assert as_json(verdict)["sentence"] == fell
    same = verdict_of(tmp_path / "same", lost=0)
    assert re.fullmatch(r"None of \d+ metrics regressed against the baseline b\.", same.headline())
    same.problems.append(Problem("missing", "b", "m", "x"))
    assert same.headline() == "No verdict against the baseline b: b by m could not be compared."


def test_the_first_sentence_says_what_the_rows_say_where_all_is_only_suspicious(tmp_path):
    verdict = verdict_of(tmp_path, lost=20)
    changes = [
        change._replace(judgement="suspicious" if change.metric == "R@1" else "passed")
        for change in verdict.changes
    ]
    doubtful = replace(verdict, changes=changes)
    assert doubtful.outcome == "passed"
    assert doubtful.headline() == (
        f"None of {len(changes)} metrics regressed against the baseline b, but 1 is suspicious, "
        "most of all toy en t2i, dim 8, R@1."
    )


def test_a_problem_is_told_once_on_the_terminal_and_in_the_comment(tmp_path):
    verdict = verdict_of(tmp_path)
    verdict.problems.append(Problem("missing", "toy", "m", "2 cells of the baseline are missing"))
    page = io.StringIO()
    print_verdict(verdict, Console(file=page, width=120))
    for text in (page.getvalue(), as_markdown(verdict)):
        assert text.count("2 cells of the baseline are missing") == 1
    assert page.getvalue().rstrip().endswith("invalid: 1 problem, and so no verdict")


def test_an_incomplete_result_outranks_an_incomparable_one_and_that_a_regression(tmp_path):
    verdict = verdict_of(tmp_path)
    codes = [verdict.exit_code]
    for kind in ("not comparable", "missing"):
        verdict.problems.append(Problem(kind, "b", "m", "x"))
        codes.append(verdict.exit_code)
    assert codes == [1, 4, 3]


def test_ranks_are_no_percentages(tmp_path):
    from evals.regress.outputs import number

    verdict = verdict_of(tmp_path)
    change = next(c for c in verdict.changes if c.metric == "mean_rank")
    assert number(change, change.new) == "2.00"


def test_a_value_that_is_cut_says_so(tmp_path):
    verdict = verdict_of(tmp_path, host={"processor": "x" * 40, "machine": "y" * 20})
    out = io.StringIO()
    print_verdict(verdict, Console(file=out, width=300))
    assert f"→ {'x' * 20}…\n" in out.getvalue()
    assert f"→ {'y' * 20}\n" in out.getvalue()


def test_the_first_record_of_a_baseline_takes_the_place_of_none():
    moved = {"when": "2026-01-01T00:00:00Z", "who": "me", "benchmark": "toy", "model": "m"}
    history = [
        moved | {"old": None, "new": "a", "why": "x"},
        moved | {"old": "a", "new": "b", "why": "y"},
    ]
    out = io.StringIO()
    print_baseline([], history, Console(file=out, width=300))
    assert "toy · m: first a: x\n" in out.getvalue()
    assert "toy · m: a → b: y\n" in out.getvalue()


def test_a_page_begins_with_what_fell_and_its_verdict(tmp_path):
    verdict = verdict_of(tmp_path)
    rows = page_rows(verdict)
    names = list(rows[0])
    assert names[names.index("metric") + 1] == "judgement"
    assert [row["judgement"] for row in rows] == [c.judgement for c in verdict.worst_first()]
    assert rows[0]["judgement"] == "regressed"
