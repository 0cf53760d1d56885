"""The first line of a comparison: a sentence that can be repeated without any statistics."""

from collections.abc import Sequence
from typing import Any

from evals.analysis.comparison import Change
from evals.analysis.finding import Finding
from evals.views.style import in_points

MOST = 3  # differences that a sentence names


def sentence(finding: Finding, a: str, b: str) -> str:
    """What was found of B against A; `a` and `b` are their labels, which may be equal."""
    name_a, name_b = ("A", "B") if a == b else (a, b)
    where = _where(finding)
    if finding.outcome == "equal":
        metrics = _listed(finding.metrics)
        return f"{name_a} and {name_b} have the same {metrics} for every query {where}."
    if finding.outcome == "untested":
        return f"{name_a} and {name_b} could not be tested {where}: too little varies there."
    if finding.outcome == "no difference":
        return f"No difference found between {name_a} and {name_b} {where}{_seen(finding)}."
    listed = "; ".join(_change(change, finding) for change in finding.changes[:MOST])
    rest = len(finding.changes) - MOST
    beyond = f"; {rest} more below" if rest > 0 else ""
    return f"{_verdict(finding, name_a, name_b)} {where}: {listed}{beyond}."


def as_json(finding: Finding, a: str, b: str) -> dict[str, Any]:
    """The facts of the sentence; differences are shares in [0, 1]."""
    facts = finding._asdict()
    differences = []
    for change in facts.pop("changes"):
        names = {"benchmark": change.benchmark, "subset": change.subset}
        names |= {"direction": change.direction, "metric": change.metric}
        differences.append(names | {"difference": change.difference.value, "p_holm": change.p_holm})
    return {"sentence": sentence(finding, a, b), **facts, "differences": differences}


def _verdict(finding: Finding, a: str, b: str) -> str:
    """`B is worse than A in 2 of 4 tests`."""
    differing, tests = len(finding.changes), finding.tests
    if finding.outcome != "mixed":
        return f"{b} is {finding.outcome} than {a} in {differing} of {tests} tests"
    rose = sum(change.difference.value > 0 for change in finding.changes)
    fell = differing - rose
    return f"{b} is better than {a} in {rose} and worse in {fell} of {tests} tests"


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    if not first:
        return last
    return f"{', '.join(first)} and {last}"


def _where(finding: Finding) -> str:
    counted = f"{finding.n:,} {finding.unit}"
    if len(finding.benchmarks) == 1:
        return f"on {counted} of {finding.benchmarks[0]}"
    return f"on {counted} of {len(finding.benchmarks)} benchmarks"


def _seen(finding: Finding) -> str:
    if finding.seen is None:
        return f"; {finding.n:,} {finding.unit} are too few to say how small a one would have been seen"
    points = f"{100 * finding.seen:.2f}".removesuffix("0")
    return (
        f"; a difference of {points} points at {finding.metric} would have been seen in "
        f"{round(100 * finding.power)} of 100 such comparisons"
    )


def _change(change: Change, finding: Finding) -> str:
    """`t2i R@1 -1.2 points [-2.0,-0.4]`, with the benchmark where there are several."""
    names = [change.benchmark] if len(finding.benchmarks) > 1 else []
    names += [name for name in (change.direction, change.metric) if name]
    interval = change.difference.interval
    between = ""
    if interval:
        low, high = (in_points(end, 2) for end in interval)
        between = f" [{low},{high}]"
    return f"{' '.join(names)} {in_points(change.difference.value, 2)} points{between}"
