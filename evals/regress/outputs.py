"""A verdict for machines and pages: JSON, Markdown, JUnit XML, and the badge that shields.io reads from an address."""

import json
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from evals.regress.escape import markdown, plain
from evals.regress.verdict import Change, Outcome, PublishedCell, Verdict

LIMIT = 60  # lines of each part in Markdown: a comment on GitHub holds 65,536 characters
COLORS: dict[Outcome, str] = {
    "passed": "brightgreen",
    "regressed": "red",
    "deviates": "red",
    "invalid": "lightgrey",
    "not comparable": "orange",
}
MARKS = {"regressed": "🔴", "suspicious": "🟡", "improved": "🟢"}


def as_json(verdict: Verdict, written: Sequence[str] = ()) -> dict[str, Any]:
    """The machine output: fractions, all metrics, and every reason for there being no verdict."""
    return {
        "schema_version": 1,
        "verdict": verdict.outcome,
        "exit_code": verdict.exit_code,
        "baseline": verdict.baseline,
        "compared": [
            each._asdict()
            | {
                "environment": [
                    dict(zip(("what", "before", "after"), row, strict=True))
                    for row in each.environment
                ]
            }
            for each in verdict.compared
        ],
        "problems": [problem._asdict() for problem in verdict.problems],
        "metrics": [_metric(change) for change in verdict.changes],
        "published": [cell._asdict() for cell in verdict.published],
        "written": list(written),
    }


def _metric(change: Change) -> dict[str, Any]:
    found = change.difference
    low, high = found.interval or (None, None)
    bounds = {
        "difference": found.value,
        "ci_low": low,
        "ci_high": high,
        "upper": found.upper,
        "lower": found.lower,
    }
    counts = {
        "wins": found.wins,
        "losses": found.losses,
        "ties": found.ties,
        "detectable": found.detectable,
    }
    return (
        {key: value for key, value in change._asdict().items() if key != "difference"}
        | bounds
        | counts
    )


def as_markdown(verdict: Verdict) -> str:
    """The verdict as a comment: a sentence, what has no verdict, old/new/difference, and what changed around the runs."""
    parts = [
        f"### Retrieval against the baseline {markdown(verdict.baseline)}: {verdict.outcome}",
        "",
    ]
    if verdict.problems:
        told = [
            f"- **{p.kind}** · {' · '.join(map(markdown, (p.benchmark, p.model, p.message)))}"
            for p in verdict.problems
        ]
        parts += [
            *_first(told),
            "",
            "A missing, unreadable or incomplete result is never a pass.",
            "",
        ]
    if rows := verdict.worst_first():
        parts += ["| benchmark | model | where | metric | old | new | difference [95%] | verdict |"]
        parts += ["|---|---|---|---|--:|--:|--:|---|"]
        parts += [*_first([_row(change) for change in rows]), ""]
        parts += [
            f"{markdown(verdict.told())}. In per cent; intervals: paired bootstrap over images.",
            "",
        ]
    if verdict.published:
        told = [
            _published(cell)
            for cell in sorted(verdict.published, key=lambda cell: cell.verdict != "deviates")
        ]
        parts += [
            "| published table | where | published | measured | difference | verdict |",
            "|---|---|--:|--:|--:|---|",
        ]
        parts += [*_first(told), ""]
    moved = [(each, row) for each in verdict.compared for row in each.environment]
    if moved:
        told = [
            f"| {' | '.join(map(markdown, (each.benchmark, each.model, *row)))} |"
            for each, row in moved
        ]
        parts += [f"<details><summary>environment changed ({len(moved)})</summary>", ""]
        parts += [
            "| benchmark | model | | before | after |",
            "|---|---|---|---|---|",
            *_first(told),
            "",
            "</details>",
            "",
        ]
    return "\n".join(parts)


def _first(lines: list[str]) -> list[str]:
    return (
        lines
        if len(lines) <= LIMIT
        else [*lines[:LIMIT], "", f"… and {len(lines) - LIMIT} more in the JSON verdict."]
    )


def _row(change: Change) -> str:
    mark = MARKS.get(change.judgement, "")
    names = (change.benchmark, change.model, change.where, change.metric)
    cells = [
        *map(markdown, names),
        number(change, change.old),
        number(change, change.new),
        moved(change),
    ]
    return "| " + " | ".join([*cells, f"{mark} {change.judgement}".strip()]) + " |"


def _published(cell: PublishedCell) -> str:
    numbers = f"{cell.published:.2f}", f"{cell.measured:.2f}", f"{cell.difference:+.2f}"
    mark = "🔴 " if cell.verdict == "deviates" else ""
    return (
        "| "
        + " | ".join([markdown(cell.table), markdown(cell.where), *numbers, mark + cell.verdict])
        + " |"
    )


def number(change: Change, value: float) -> str:
    """A value as people read it: per cent, but ranks as they are."""
    return f"{value:.2f}" if change.metric.endswith("_rank") else f"{100 * value:.2f}"


def moved(change: Change) -> str:
    """`-0.50 [-0.90,-0.10]`, or 0 for what is unchanged."""
    if change.judgement == "unchanged":
        return "0"
    scale, ends = 1 if change.metric.endswith("_rank") else 100, change.difference.interval
    tail = f" [{scale * ends.low:+.2f},{scale * ends.high:+.2f}]" if ends else ""
    return f"{scale * change.difference.value:+.2f}{tail}"


def as_junit(verdict: Verdict) -> bytes:
    """A test case a metric, failed when it regressed, and an errored one for each thing without a verdict."""
    failed, errors = verdict.count("regressed") + len(verdict.deviating), len(verdict.problems)
    totals = {
        "tests": str(len(verdict.changes) + len(verdict.published) + errors),
        "failures": str(failed),
        "errors": str(errors),
    }
    root = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": plain(f"regress {verdict.baseline}"), **totals}
    )
    for change in verdict.changes:
        case = _case(suite, change.benchmark, change.model, f"{change.where} {change.metric}")
        _judged(
            case,
            change.judgement,
            f"{number(change, change.old)} to {number(change, change.new)}, {moved(change)}",
        )
    for cell in verdict.published:
        case = _case(suite, "published", cell.table, cell.where)
        _judged(
            case,
            cell.verdict,
            f"published {cell.published:.2f}, measured {cell.measured:.2f}, {cell.difference:+.2f}",
        )
    for problem in verdict.problems:
        case = _case(suite, problem.benchmark, problem.model, problem.message)
        ElementTree.SubElement(
            case, "error", {"message": plain(problem.message), "type": problem.kind}
        )
    return (
        b'<?xml version="1.0" encoding="utf-8"?>\n'
        + ElementTree.tostring(root, encoding="unicode").encode()
    )


def _judged(case: ElementTree.Element, judgement: str, told: str) -> None:
    text = plain(f"{judgement}: {told}")
    if judgement in ("regressed", "deviates"):
        ElementTree.SubElement(case, "failure", {"message": text, "type": judgement})
    else:
        ElementTree.SubElement(case, "system-out").text = text


def _case(suite: ElementTree.Element, benchmark: str, model: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", {"classname": plain(f"{benchmark}.{model}"), "name": plain(name)}
    )


def as_badge(verdict: Verdict) -> bytes:
    """What https://shields.io/badges/endpoint-badge reads."""
    badge = {
        "schemaVersion": 1,
        "label": "recall",
        "message": verdict.outcome,
        "color": COLORS[verdict.outcome],
    }
    return (json.dumps(badge) + "\n").encode()
