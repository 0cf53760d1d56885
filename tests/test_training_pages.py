"""Watched training runs on the site: the sentence, the curve's numbers, and journals that are none."""

import re

import pytest

from evals.dashboard.history import read_history
from evals.dashboard.site import Verdicts, build
from evals.dashboard.training_chart import training_curve
from evals.dashboard.watched import of_trainings, watched_pages
from evals.watch.training_runs import headline, outcome, read_training_runs
from tests.site_records import SCRIPT
from tests.test_dashboard import Page
from tests.training_journals import RULE, judged, steps_of, watched_example, write_training


def training(tmp_path, steps, rule=RULE):
    write_training(tmp_path / "runs", "birds", steps, rule)
    [run] = read_training_runs(tmp_path / "runs").runs
    return run


def test_a_fall_is_told_with_its_size_its_p_and_the_alpha_it_was_held_against(tmp_path):
    run = training(tmp_path, steps_of(0.001, -0.02, -0.03))
    assert run.outcome == "fell"
    assert headline(run) == (
        "Step 1,000 fell: t2i/R@1 is 58.00%, 2.00 points below the baseline (95% interval -2.40 to "
        "-1.60, p 1e-05; 0.0025 or less is called a fall). So did step 1,500."
    )
    assert run.spent == pytest.approx(0.0075)


def test_of_two_metrics_that_fell_the_larger_drop_is_told(tmp_path):
    [step] = steps_of(-0.02)
    larger = judged(-0.03, metric="i2t/R@1", low=None, high=None)
    run = training(tmp_path, [step._replace(judged=[*step.judged, larger])])
    assert headline(run).startswith(
        "Step 500 fell: i2t/R@1 is 57.00%, 3.00 points below the baseline (p 1e-05;"
    )


def test_a_fall_that_was_trained_away_stays_one_and_its_end_is_told(tmp_path):
    run = training(tmp_path, steps_of(-0.02, *[-0.03] * 8, 0.0))
    assert run.outcome == "fell"
    assert headline(run).endswith(
        " So did steps 1,000, 1,500, 2,000, 2,500, 3,000, 3,500 and 2 more. "
        "At the last, step 5,000, no fall was seen."
    )


def test_no_fall_is_told_with_the_drop_that_would_have_been_seen(tmp_path):
    run = training(tmp_path, steps_of(0.0, 0.001))
    assert headline(run) == (
        "No fall seen in 2 checkpoints; at the last, a drop of 0.80 points would be called in four "
        "of five cases."
    )


@pytest.mark.parametrize("seen", [None, 0.001])
def test_no_drop_is_promised_where_nobody_knows_it_or_the_floor_would_hide_it(tmp_path, seen):
    [step] = steps_of(0.0)
    run = training(tmp_path, [step._replace(judged=[judged(0.0, seen=seen)])])
    assert headline(run) == "No fall seen in 1 checkpoint."


def test_what_came_when_no_alpha_was_left_is_untested_and_no_pass(tmp_path):
    first, late = steps_of(0.0, -0.5)
    untested = judged(-0.5, alpha=0.0, seen=None, fell=False)
    run = training(tmp_path, [first, late._replace(judged=[untested])])
    assert [outcome(step) for step in run.journal.steps] == ["no fall seen", "untested"]
    assert headline(run).endswith("; 1 checkpoint came when no alpha was left, untested.")


def test_a_first_checkpoint_that_is_the_baseline_is_no_test(tmp_path):
    [step] = steps_of(0.0)
    run = training(tmp_path, [step._replace(judged=[])])
    assert (run.outcome, run.spent) == ("untested", 0)
    assert headline(run) == "Nothing is tested yet: there is only the baseline itself."


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trainings")
    watched_example(folder / "runs")
    [step] = steps_of(-0.02)
    hostile = step._replace(judged=[judged(-0.02, metric=SCRIPT)])
    write_training(folder / "runs", "fish/second.in-training", [hostile])
    build(read_history(folder / "runs"), Verdicts(), folder / "site")
    return folder / "site"


def test_the_menu_and_the_overview_lead_to_watched_runs(site):
    overview = Page(site / "index.html")
    assert ("a", {"href": "watched.html"}) in overview.tags
    text = " ".join("".join(overview.text).split())
    assert "birds: Step 1,000 fell: t2i/R@1 is 58.00%" in text
    assert "fish/second (in training): Step 500 fell" in text


def test_each_watched_run_has_a_page_with_a_row_per_step(site):
    [birds, fish] = Page(site / "watched.html").rows("watched")
    assert [birds[key] for key in ("training", "benchmark", "baseline", "verdict")] == [
        "birds",
        "trained",
        "tiny",
        "fell",
    ]
    assert [birds[key] for key in ("first_fall", "last", "tested", "change", "alpha")] == [
        1000,
        1000,
        2,
        -0.02,
        0.01,
    ]
    # Its records are gone: the names are those of their folders, and there is nothing to link to.
    assert (fish["benchmark"], fish["baseline"]) == ("multi", "tiny")
    assert Page(site / fish["href"]).rows("steps")[0]["href"] is None
    page = Page(site / birds["href"])
    rows = page.rows("steps")
    assert [(row["step"], row["change"], row["verdict"], row["alpha"]) for row in rows] == [
        (500, 0.002, "no fall seen", 0.0025),
        (1000, -0.02, "fell", 0.0025),
    ]
    for row in rows:
        assert ((site / birds["href"]).parent / row["href"]).resolve().is_file()
    assert page.rows("steps")[1]["written"].startswith("2026-01-22")


def test_a_curve_per_metric_has_the_baseline_and_its_floor(tmp_path):
    [step] = steps_of(-0.02)
    both = [*step.judged, judged(0.01, metric="i2t/R@1", value=0.76)]
    write_training(tmp_path / "runs", "birds", [step._replace(judged=both)])
    [(_, page)] = of_trainings(read_history(tmp_path / "runs"))
    assert [chart.title for chart in page.charts] == ["t2i/R@1 by step", "i2t/R@1 by step"]
    for chart, baseline in zip(page.charts, (0.6, 0.75), strict=True):
        band, rule = chart.spec["layer"][:2]
        assert rule["encoding"]["y"]["datum"] == pytest.approx(baseline)
        assert band["encoding"]["y2"]["datum"] == pytest.approx(baseline - RULE.floor)


def test_only_a_step_that_fell_gets_a_mark_of_its_metric():
    layers = training_curve("steps", "R@1", 0.5, 0.003)["layer"]
    [triangle] = (layer for layer in layers if layer["mark"].get("shape") == "triangle-down")
    assert triangle["transform"] == [
        {"filter": {"field": "tested", "equal": "R@1"}},
        {"filter": {"field": "verdict", "equal": "fell"}},
    ]


def test_hostile_names_of_a_journal_are_data_and_never_markup(site):
    for name in ("index", "watched"):
        text = (site / f"{name}.html").read_text(encoding="utf-8")
        assert SCRIPT not in text
        assert f"{SCRIPT} is 58.00%" in "".join(Page(site / f"{name}.html").text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"step": 1000', '"step": "1000"', "line 2: step: .*Put back the journal as it was"),
        ('"step": 1000', '"step": 500', "line 2: step 500 comes after step 500"),
        ('"step": 1000', '"speed": 1, "step": 1000', "line 2: speed: .*move it away"),
        ('"change": -0.02', '"change": NaN', "line 2: NaN is no number of JSON"),
        ("0.003]", "0.004]", "line 2: was judged by another rule than the lines before it"),
        (None, "", "holds no step. Remove the file."),
    ],
)
def test_a_journal_that_is_none_is_told_and_takes_no_page_with_it(tmp_path, old, new, message):
    file = write_training(tmp_path / "runs", "birds", steps_of(0.002, -0.02))
    write_training(tmp_path / "runs", "sound", steps_of(0.0))
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + lines[1].replace(old, new) if old else new)
    history = read_history(tmp_path / "runs")
    [problem] = history.broken
    assert problem.path == file and str(file) in problem.message
    assert re.search(message, problem.message)
    [page] = watched_pages(history)
    assert [row["training"] for row in page.tables[0].rows] == ["sound"]


def test_without_a_watched_run_there_is_no_page(tmp_path):
    history = read_history(tmp_path / "runs")
    assert watched_pages(history) == [] and list(of_trainings(history)) == []
