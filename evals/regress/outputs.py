"""Writes a verdict for machines and pages: JSON, Markdown, JUnit XML, and a badge for shields.io."""

import json
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree

from evals.escape import markdown_text, visible
from evals.regress.environment import can_move_a_number
from evals.regress.verdict import (
    Change,
    Compared,
    Judgement,
    Outcome,
    Problem,
    PublishedCell,
    Verdict,
)

# lines of each part in Markdown: a comment on GitHub holds 65,536 characters
LIMIT = 60
COLORS: dict[Outcome, str] = {
    "passed": "brightgreen",
    "regressed": "red",
    "deviates": "red",
    # neither good nor bad: nothing could be judged
    "invalid": "lightgrey",
    "not comparable": "orange",
}
MARKS: dict[Judgement, str] = {"regressed": "🔴", "suspicious": "🟡", "improved": "🟢"}
# the heads of the Markdown tables
CHANGES = ("benchmark", "model", "where", "metric", "old", "new", "difference [95%]", "verdict")
PUBLISHED = ("published table", "where", "published", "measured", "difference", "verdict")
ENVIRONMENT = ("benchmark", "model", "", "before", "after")


def as_json(verdict: Verdict, written: Sequence[str] = ()) -> dict[str, Any]:
    """The machine output: fractions, all metrics, and each reason for there being no verdict."""
    return {
        "schema_version": 1,
        "sentence": verdict.headline(),
        "verdict": verdict.outcome,
        "exit_code": verdict.exit_code,
        "baseline": verdict.baseline,
        "compared": [_compared(pair) for pair in verdict.compared],
        "problems": [problem._asdict() for problem in verdict.problems],
        "metrics": [_metric(change) for change in verdict.changes],
        "published": [cell._asdict() for cell in verdict.published],
        "written": list(written),
    }


def _compared(pair: Compared) -> dict[str, Any]:
    return pair._asdict() | {
        "environment": [moved._asdict() for moved in pair.environment],
        "baseline_model": vars(pair.baseline_model),
        "run_model": vars(pair.run_model) if pair.run_model else None,
    }


def _metric(change: Change) -> dict[str, Any]:
    """The fields of a change, those of its `difference` beside them."""
    fields = change._asdict()
    difference = fields.pop("difference")
    low, high = difference.interval or (None, None)
    bounds = {
        "difference": difference.value,
        "ci_low": low,
        "ci_high": high,
        "upper": difference.upper,
        "lower": difference.lower,
    }
    counts = {
        "wins": difference.wins,
        "losses": difference.losses,
        "ties": difference.ties,
        "detectable": difference.detectable,
    }
    return fields | bounds | counts


def page_rows(verdict: Verdict) -> list[dict[str, Any]]:
    """The metrics for people, in the terminal's order: the verdict stands before the numbers that it rests on."""
    rows = []
    for fields in map(_metric, verdict.worst_first()):
        judgement = fields.pop("judgement")
        row: dict[str, Any] = {}
        for name, value in fields.items():
            row[name] = value
            if name == "metric":
                row["judgement"] = judgement
        rows.append(row)
    return rows


def as_markdown(verdict: Verdict) -> str:
    """The verdict as a comment: problems, changes, published cells, and what else can have moved a number."""
    title = (
        f"### Retrieval against the baseline {markdown_text(verdict.baseline)}: {verdict.outcome}"
    )
    parts = [title, "", f"**{markdown_text(verdict.headline())}**", ""]
    for sentence in verdict.stand_ins:
        parts += [f"{markdown_text(sentence)}.", ""]
    if verdict.problems:
        parts += _first([_problem(problem) for problem in verdict.problems])
        parts += ["", "A missing, unreadable or incomplete result is never a pass.", ""]
    rows = verdict.listed()
    if rows:
        parts += [_line(CHANGES), "|---|---|---|---|--:|--:|--:|---|"]
        parts += [*_first([_change(change) for change in rows]), ""]
        parts += ["In per cent; intervals: paired bootstrap over images.", ""]
    if verdict.changes:
        sentences = [verdict.unlisted(), f"{verdict.sentence()}."]
        parts += [markdown_text(" ".join(sentences).strip()), ""]
    if verdict.published:
        # a comment is cut at LIMIT: what deviates must stand before the cut
        worst_first = sorted(verdict.published, key=lambda cell: cell.verdict != "deviates")
        parts += [_line(PUBLISHED), "|---|---|--:|--:|--:|---|"]
        parts += [*_first([_published(cell) for cell in worst_first]), ""]
    moved = _environment(verdict)
    if moved:
        parts += [f"<details><summary>environment changed ({len(moved)})</summary>", ""]
        parts += [_line(ENVIRONMENT), "|---|---|---|---|---|", *_first(moved), "", "</details>", ""]
    return "\n".join(parts)


def _problem(problem: Problem) -> str:
    texts = map(markdown_text, (problem.where, problem.message))
    return f"- **{problem.kind}** · {' · '.join(texts)}"


def _environment(verdict: Verdict) -> list[str]:
    """One row of the table per thing that changed."""
    lines: list[str] = []
    for pair in verdict.compared:
        causes = filter(can_move_a_number, pair.environment)
        rows = ((pair.benchmark, pair.model, *moved) for moved in causes)
        lines += [_line(map(markdown_text, row)) for row in rows]
    return lines


def _first(lines: list[str]) -> list[str]:
    """At most LIMIT lines, and how many there are beyond."""
    if len(lines) <= LIMIT:
        return lines
    return [*lines[:LIMIT], "", f"… and {len(lines) - LIMIT} more in the JSON verdict."]


def _change(change: Change) -> str:
    names = map(markdown_text, (change.benchmark, change.model, change.where, change.metric))
    numbers = number(change, change.old), number(change, change.new), moved(change)
    mark = MARKS.get(change.judgement, "")
    return _line([*names, *numbers, f"{mark} {change.judgement}".strip()])


def _published(cell: PublishedCell) -> str:
    names = markdown_text(cell.table), markdown_text(cell.where)
    numbers = f"{cell.published:.2f}", f"{cell.measured:.2f}", f"{cell.difference:+.2f}"
    mark = "🔴 " if cell.verdict == "deviates" else ""
    return _line([*names, *numbers, mark + cell.verdict])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def number(change: Change, value: float) -> str:
    """A value as people read it: per cent, but ranks as they are."""
    return f"{value:.2f}" if change.metric.endswith("_rank") else f"{100 * value:.2f}"


def moved(change: Change) -> str:
    """`-0.50 [-0.90,-0.10]`, or 0 for what is unchanged."""
    if change.judgement == "unchanged":
        return "0"
    # a rank is no share
    scale = 1 if change.metric.endswith("_rank") else 100
    text = f"{scale * change.difference.value:+.2f}"
    interval = change.difference.interval
    if interval is None:
        return text
    return f"{text} [{scale * interval.low:+.2f},{scale * interval.high:+.2f}]"


def as_junit(verdict: Verdict) -> bytes:
    """A test case per metric, failed when it regressed, and an errored one per problem."""
    failures = verdict.count("regressed") + len(verdict.deviating)
    errors = len(verdict.problems)
    totals = {
        "tests": str(
            len(verdict.stand_ins) + len(verdict.changes) + len(verdict.published) + errors
        ),
        "failures": str(failures),
        "errors": str(errors),
    }
    root = ElementTree.Element("testsuites", totals)
    # readers of JUnit differ in which of the two they ask for the totals: both have them
    name = visible(f"regress {verdict.baseline}")
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **totals})
    for sentence in verdict.stand_ins:
        case = _case(suite, "models", verdict.baseline, "stand-in")
        ElementTree.SubElement(case, "system-out").text = visible(sentence)
    for change in verdict.changes:
        case = _case(suite, change.benchmark, change.model, f"{change.where} {change.metric}")
        numbers = f"{number(change, change.old)} to {number(change, change.new)}"
        _judged(case, change.judgement, f"{numbers}, {moved(change)}")
    for cell in verdict.published:
        case = _case(suite, "published", cell.table, cell.where)
        numbers = f"published {cell.published:.2f}, measured {cell.measured:.2f}"
        _judged(case, cell.verdict, f"{numbers}, {cell.difference:+.2f}")
    for problem in verdict.problems:
        case = _case(suite, problem.benchmark, problem.model, problem.message)
        attributes = {"message": visible(problem.message), "type": problem.kind}
        # in JUnit a failure is a check that ran and said no, an error one that could not run
        ElementTree.SubElement(case, "error", attributes)
    # ElementTree would name the encoding in capitals and quote with apostrophes
    declaration = b'<?xml version="1.0" encoding="utf-8"?>\n'
    return declaration + ElementTree.tostring(root, encoding="unicode").encode()


def _judged(case: ElementTree.Element, judgement: str, numbers: str) -> None:
    """What a test case says: a failure, or the judgement as its output."""
    text = visible(f"{judgement}: {numbers}")
    if judgement in ("regressed", "deviates"):
        ElementTree.SubElement(case, "failure", {"message": text, "type": judgement})
    else:
        ElementTree.SubElement(case, "system-out").text = text


def _case(suite: ElementTree.Element, benchmark: str, model: str, name: str) -> ElementTree.Element:
    """A test case, which CI lists by class (benchmark and model) and name."""
    attributes = {"classname": visible(f"{benchmark}.{model}"), "name": visible(name)}
    return ElementTree.SubElement(suite, "testcase", attributes)


def as_badge(verdict: Verdict) -> bytes:
    """The JSON that https://shields.io/badges/endpoint-badge reads."""
    badge = {
        "schemaVersion": 1,
        "label": "recall",
        "message": verdict.outcome,
        "color": COLORS[verdict.outcome],
    }
    return (json.dumps(badge) + "\n").encode()
