"""A comparison begins with one sentence: what was found, or how small a difference would have been found."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.analysis.comparison import compare
from evals.analysis.finding import Finding, finding
from evals.analysis.planning import Choice, plan_pairs
from evals.compare import app
from evals.records.selection import matched, operand
from evals.stats.sample_size import Design
from evals.views.finding import sentence
from tests import records

Pairs = Any


def pairs_of(root: Path, hits_of_a: list[int], hits_of_b: list[int]) -> Pairs:
    """Two records of one caption per image; a hit is at rank 1."""
    paths = []
    for model, hits in (("a", hits_of_a), ("b", hits_of_b)):
        n = len(hits)
        table = records.queries(
            n,
            better=[1 - hit for hit in hits],
            group_id=[f"i{i}" for i in range(n)],
        )
        lines = [records.line(name, n_queries=n) for name in ("R@1", "R@5")]
        config = {"dims": [8], "row": {"task": "image_text"}}
        paths.append(records.write(root, lines, table, model=model, config=config))
    return matched(*map(operand, map(str, paths)), root)


def finding_of(pairs: Pairs) -> Finding:
    return finding(pairs, compare(pairs))


def test_without_a_difference_it_says_what_would_have_been_seen_as_evals_plan_does(
    tmp_path: Path,
) -> None:
    # 30 of 300 images change, as many to the better as to the worse
    pairs = pairs_of(tmp_path, [1] * 15 + [0] * 15 + [1] * 270, [0] * 15 + [1] * 15 + [1] * 270)
    facts = finding_of(pairs)
    assert (facts.outcome, facts.n, facts.unit, facts.tests) == ("no difference", 300, "images", 2)
    # two tests: Holm asks 2.5% of the first
    [plan] = plan_pairs(pairs, [], Design(alpha=0.025), Choice(metric="R@1"))
    assert facts.seen == plan.seen_now
    assert sentence(facts, "a@8", "b@8") == (
        "No difference found between a@8 and b@8 on 300 images of toy; a difference of "
        f"{100 * (plan.seen_now or 0):.2f} points at R@1 would have been seen in 80 of 100 such "
        "comparisons."
    )


def test_a_difference_is_told_with_its_size_and_direction(tmp_path: Path) -> None:
    facts = finding_of(pairs_of(tmp_path, [1] * 100, [0] * 40 + [1] * 60))
    assert facts.outcome == "worse" and [c.metric for c in facts.changes] == ["R@1"]
    text = sentence(facts, "a", "b")
    assert text.startswith("b is worse than a in 1 of 2 tests on 100 images of toy: t2i R@1 -40.00")
    assert finding_of(pairs_of(tmp_path, [0] * 40 + [1] * 60, [1] * 100)).outcome == "better"


def test_few_queries_that_differ_do_not_promise_what_no_test_can_show(tmp_path: Path) -> None:
    """One image of 300 differs. Seven, all in one direction, are the least that has p below 2.5%."""
    facts = finding_of(pairs_of(tmp_path, [1] * 300, [0] + [1] * 299))
    assert facts.outcome == "no difference"
    assert facts.seen == pytest.approx(7 / 300) and 2 / 2**7 <= 0.025 < 2 / 2**6


def both_directions(root: Path, t2i: list[tuple[int, int]], i2t: list[tuple[int, int]]) -> Pairs:
    """Two records of one caption per image; per query of a direction its ranks, counted from 0."""
    paths = []
    for model in (0, 1):
        better = [ranks[model] for ranks in (*t2i, *i2t)]
        names = [f"i{i}" for i in range(len(t2i))]
        table = records.queries(
            len(better),
            better=better,
            group_id=names * 2,
            query_id=names * 2,
            direction=["t2i"] * len(t2i) + ["i2t"] * len(i2t),
        )
        lines = [
            records.line(name, n_queries=len(t2i), direction=direction)
            for direction in ("t2i", "i2t")
            for name in ("R@1", "R@5")
        ]
        config = {"dims": [8], "row": {"task": "image_text"}}
        paths.append(records.write(root, lines, table, model="ab"[model], config=config))
    return matched(*map(operand, map(str, paths)), root)


def test_where_the_first_metric_is_equal_for_all_the_sentence_is_about_what_differs(
    tmp_path: Path,
) -> None:
    # nobody is first in either: R@1 is equal, and R@5 differs, both ways, in t2i alone
    changed = [(1, 9)] * 15 + [(9, 1)] * 15
    pairs = both_directions(tmp_path, changed + [(1, 1)] * 270, [(1, 1)] * 300)
    facts = finding_of(pairs)
    assert facts.outcome == "no difference" and facts.metric == "t2i R@5"
    [plan] = plan_pairs(
        pairs, [], Design(alpha=0.05 / facts.tests), Choice(metric="R@5", directions=["t2i"])
    )
    assert facts.seen == plan.seen_now
    assert "points at t2i R@5 would have been seen" in sentence(facts, "a", "b")


def test_results_that_are_equal_are_called_so(tmp_path: Path) -> None:
    facts = finding_of(pairs_of(tmp_path, [1, 0, 1], [1, 0, 1]))
    assert facts.outcome == "equal" and facts.seen is None
    assert "have the same R@1 and R@5 for every query on 3 images of toy." in sentence(
        facts, "a", "b"
    )


def test_two_labels_that_are_equal_are_called_a_and_b(tmp_path: Path) -> None:
    facts = finding_of(pairs_of(tmp_path, [1, 0, 1, 1], [1, 0, 1, 0]))
    assert "between A and B on 4 images" in sentence(facts, "m@8", "m@8")


def test_the_sentence_comes_first_and_its_facts_are_in_the_json(scenes_run: Path) -> None:
    arguments = [str(scenes_run), f"{scenes_run}@64", "--no-figures"]
    printed = CliRunner().invoke(app, arguments).stdout
    machine = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    facts = machine["finding"]
    assert " ".join(printed.split()).startswith(facts["sentence"])
    assert facts["alpha"] == 0.05 and facts["power"] == 0.8 and facts["tests"] == 4
    by_name = {(c["direction"], c["metric"]): c for c in machine["changes"] if c["primary"]}
    for difference in facts["differences"]:
        change = by_name[difference["direction"], difference["metric"]]
        assert difference["difference"] == change["difference"] and change["p_holm"] <= 0.05
