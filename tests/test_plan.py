"""A plan says how many images show a difference: by the textbook's form, and by simulation."""

import csv
import json
import math
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import nct, t

from evals.analysis.paired_values import PairedBenchmark, PairedPart
from evals.analysis.planning import Choice, plan_alone, plan_pair, plan_pairs
from evals.records.entrants import measurements
from evals.records.selection import matched, operand
from evals.schema import NotComparableError
from evals.stats.sample_size import Design, difference_seen, images_needed, power_of
from evals.views.plan import notes, rows
from tests import simulation_plan
from tests.commands import run
from tests.test_compare import record as swept_record
from tests.test_rank import record


def power_of_t(variance: float, difference: float, n: int, alpha: float = 0.05) -> float:
    """The power of a two-sided t test, from the noncentral distribution."""
    shift = difference / math.sqrt(variance / n)
    threshold = t.ppf(1 - alpha / 2, n - 1)
    return float(nct.sf(threshold, n - 1, shift) + nct.cdf(-threshold, n - 1, shift))


@pytest.mark.parametrize("difference", [0.05, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_images_needed_are_those_of_a_t_test(difference: float, power: float) -> None:
    variance = 0.2
    n = images_needed(variance, difference, Design(power=power))
    exact = next(
        size for size in range(2, 10_000) if power_of_t(variance, difference, size) >= power
    )
    assert abs(n - exact) <= 1
    assert power_of(variance, difference, n) == pytest.approx(
        power_of_t(variance, difference, n), abs=0.02
    )


def test_what_is_seen_and_what_is_needed_are_inverse() -> None:
    for n in (10, 500, 5000):
        seen = difference_seen(0.3, n)
        assert seen is not None
        assert images_needed(0.3, seen * (1 + 1e-9)) == n
        assert power_of(0.3, seen, n) == pytest.approx(0.8, abs=1e-4)


def test_too_few_images_show_nothing_and_a_change_without_variance_is_seen() -> None:
    assert difference_seen(0.3, 1) is None and power_of(0.3, 0.5, 1) == 0
    assert power_of(0.0, 0.1, 10) == 1 and images_needed(0.0, 0.1) == 2
    with pytest.raises(ValueError, match="difference of 0"):
        images_needed(0.3, 0.0)


def one_part(values: np.ndarray, groups: np.ndarray) -> PairedBenchmark:
    part = PairedPart("t2i", "en", 1.0, values, groups)
    return PairedBenchmark("toy", "R@1", [part], int(groups.max()) + 1)


def test_free_hits_need_as_many_queries_as_mcnemars_test() -> None:
    """Connor 1987: of pairs that differ in a share `apart`, by `drop` more one way than the other."""
    rng = np.random.default_rng(0)
    n, lost, gained = 40_000, 0.06, 0.04
    kind = rng.choice(4, size=n, p=[lost, gained, 0.5, 0.4])
    values = np.stack([np.isin(kind, [0, 2]), np.isin(kind, [1, 2])], axis=1).astype(float)
    plan = plan_pair(one_part(values, np.arange(n)), [0.02], Design())
    z_alpha, z_power = NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(0.8)
    apart, drop = lost + gained, lost - gained
    connor = (z_alpha * apart**0.5 + z_power * (apart - drop**2) ** 0.5) ** 2 / drop**2
    assert plan.answers[0].images == pytest.approx(connor, rel=0.02)
    assert plan.design_effect == pytest.approx(1, abs=1e-3)


def test_queries_of_an_image_that_agree_have_a_design_effect() -> None:
    rng = np.random.default_rng(1)
    hits = (rng.random((2000, 2)) < 0.5).astype(float)
    values, groups = np.repeat(hits, 5, axis=0), np.repeat(np.arange(2000), 5)
    agree = plan_pair(one_part(values, groups), [0.02], Design())
    assert agree.design_effect == pytest.approx(5, rel=0.01)
    alone = plan_pair(one_part(hits, np.arange(2000)), [0.02], Design())
    assert agree.answers[0].images == alone.answers[0].images
    assert agree.answers[0].queries == 5 * alone.answers[0].images


def test_one_record_plans_as_two_do_of_its_own_correlation(scenes_run: Path) -> None:
    pairs = matched(operand(str(scenes_run)), operand(f"{scenes_run}@64"), scenes_run)
    design = Design()
    for two in plan_pairs(pairs, [0.01], design):
        (one,) = plan_alone(
            measurements(str(scenes_run), scenes_run),
            [0.01],
            design,
            Choice(directions=[two.direction]),
            correlations=[two.correlation],
        )
        assert 0.5 < two.correlation < 1 and not two.assumed and one.assumed
        # the narrower one varies a little otherwise
        assert one.answers[0].images == pytest.approx(two.answers[0].images, rel=0.1)


def test_the_difference_seen_is_near_the_one_that_compare_detects(scenes_run: Path) -> None:
    pairs = matched(operand(str(scenes_run)), operand(f"{scenes_run}@64"), scenes_run)
    plan = plan_pairs(pairs, [0.01], Design(alpha=0.1), Choice(directions=["t2i"]))[0]
    done = run(
        scenes_run, f"{scenes_run}@64", "--no-figures", "--json",
        cwd=scenes_run, module="evals.compare",
    )  # fmt: skip
    changes = json.loads(done.stdout)["changes"]
    key = ("mean", "t2i", "R@1")
    change = next(c for c in changes if (c["subset"], c["direction"], c["metric"]) == key)
    # one-sided at 5% is two-sided at 10%; the bootstrap's error has 2% of noise
    assert plan.seen_now == pytest.approx(change["detectable"], rel=0.06)


@pytest.mark.parametrize("case", [simulation_plan.CASES[1], simulation_plan.CASES[4]])
def test_the_planned_images_show_the_difference_as_often_as_planned(case) -> None:
    images = simulation_plan.pilot(case, 2000).answers[0].images
    share = simulation_plan.found(case, images, 400, resamples=400)
    assert share == pytest.approx(case.power, abs=0.07)


@pytest.mark.slow
@pytest.mark.parametrize("case", simulation_plan.CASES, ids=str)
def test_at_full_size_the_power_is_as_planned(case) -> None:
    images = simulation_plan.pilot(case, 40_000).answers[0].images
    # A permutation that reaches just the same sum counts against the difference, and sums of hits
    # are often equal: with half of them counted 49% are found in place of 46%.
    assert -0.05 <= simulation_plan.found(case, images, 3000) - case.power <= 0.03


def test_the_command_prints_writes_and_gives_json(tmp_path: Path) -> None:
    for model, share in (("a", 0.5), ("b", 0.4)):
        record(tmp_path, model, share)

    def command(*arguments: object):
        return run(*arguments, "--results", tmp_path, cwd=tmp_path, module="evals.plan")

    files = ("--markdown", "plan.md", "--csv", "plan.csv", "--parquet", "plan.parquet")
    done = command("a", "b", "--points", "5,10", *files)
    assert done.returncode == 0, done.stderr
    assert "toy t2i R@1" in done.stdout
    lines = list(csv.DictReader((tmp_path / "plan.csv").read_text().splitlines()))
    assert [line["difference"] for line in lines] == ["0.05", "0.1"]
    assert int(lines[0]["images"]) > int(lines[1]["images"])
    # the images that are there beside those that are needed, under one set of names
    table = pq.read_table(tmp_path / "plan.parquet")
    assert set(table.column_names) == set(lines[0])
    for name in ("images_now", "images", "queries_now", "queries"):
        assert table[name].to_pylist() == [int(line[name]) for line in lines]
    assert "| toy | t2i | R@1 |" in (tmp_path / "plan.md").read_text()
    answer = json.loads(command("a", "--points", "5", "--json").stdout)
    assert [plan["correlation"] for plan in answer["plans"]] == [0, 0.5, 0.8, 0.9, 0.95]
    assert all(plan["assumed"] for plan in answer["plans"]) and len(answer["records"]) == 1


def test_benchmarks_that_a_model_was_not_scored_so_on_are_named(tmp_path: Path) -> None:
    hits = [*[1, 0, 0, 1] * 7, 1, 1, 1, 0]
    swept_record(tmp_path, hits, dim=[4] * 32, day=1)
    swept_record(tmp_path, hits, benchmark="plain")
    done = run("m@4", "--results", tmp_path, cwd=tmp_path, module="evals.plan")
    assert done.returncode == 0, done.stderr
    assert "plain is left out: m@4: no record of plain was scored at that" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--points", "0"),
        ("--points", "101"),
        ("--points", "nan"),
        ("--points", "x"),
        ("--correlations", "1"),
        ("--correlations", "-0.1"),
        ("--power", "0.04"),
    ],
)
def test_what_cannot_be_planned_is_refused(tmp_path: Path, options: tuple[str, str]) -> None:
    record(tmp_path, "a", 0.5)
    done = run("a", *options, "--results", tmp_path, cwd=tmp_path, module="evals.plan")
    assert done.returncode == 2 and options[0] in done.stderr


def test_a_refused_number_is_told_its_bounds(tmp_path: Path) -> None:
    record(tmp_path, "a", 0.5)
    for option, bounds in {
        "--points": "above 0 and up to 100",
        "--correlations": "from 0 on",
    }.items():
        arguments = ("a", option, "-1", "--results", tmp_path)
        done = run(*arguments, cwd=tmp_path, module="evals.plan")
        assert f"'-1' is no number {bounds}" in done.stderr


def test_correlations_mean_nothing_beside_a_second_model(tmp_path: Path) -> None:
    for model in ("a", "b"):
        record(tmp_path, model, 0.5)
    arguments = ("a", "b", "--correlations", "0.5", "--results", tmp_path)
    done = run(*arguments, cwd=tmp_path, module="evals.plan")
    assert done.returncode == 2 and "means nothing beside B" in done.stderr


def test_queries_that_all_hang_together_cannot_be_planned(tmp_path: Path) -> None:
    values = np.array([[0.0], [1.0], [1.0]])
    with pytest.raises(NotComparableError, match="hang together"):
        plan_pair(one_part(np.hstack([values, values]), np.zeros(3, int)), [0.01], Design())


def test_images_that_all_count_alike_plan_nothing(tmp_path: Path) -> None:
    # Two images would "show" any difference, by the formula, with certainty.
    record(tmp_path, "a", 1.0)
    record(tmp_path, "b", 1.0)
    for names in (("a",), ("a", "b")):
        done = run(*names, "--results", tmp_path, cwd=tmp_path, module="evals.plan")
        assert done.returncode == 4 and "every image counts alike" in done.stderr
    values = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    equal = one_part(np.ones((4, 2)), np.arange(4))
    plan = plan_pair(equal, [0.01], Design())
    assert (plan.answers, plan.seen_now, plan.variance) == ([], None, 0.0)
    some = plan_pair(one_part(values, np.arange(4)), [0.01], Design())
    assert notes([plan, some])[0].endswith("every image counts alike, so nothing can be planned.")
    assert len(rows([plan, some])) == 1


def test_two_models_that_score_each_query_alike_are_said_to(tmp_path: Path) -> None:
    """Not that the benchmark is too easy: half of its queries are missed, by both."""
    for model in ("a", "b"):
        record(tmp_path, model, 0.5)
    done = run("a", "b", "--results", tmp_path, cwd=tmp_path, module="evals.plan")
    assert done.returncode == 4 and not done.stdout
    assert (
        "toy t2i R@1: both models score each of 60 queries alike, so there is no difference to "
        "plan for. Are they one model under two names? evals.parity A B tells."
    ) in done.stderr
    # beside a benchmark where they differ it is a note
    record(tmp_path, "a", 0.5, benchmark="other")
    record(tmp_path, "b", 0.4, benchmark="other")
    arguments = ("a", "b", "--results", tmp_path)
    done = run(*arguments, cwd=tmp_path, module="evals.plan")
    assert done.returncode == 0 and "toy t2i R@1: both models score each of" in done.stdout
    answer = json.loads(run(*arguments, "--json", cwd=tmp_path, module="evals.plan").stdout)
    assert [plan["identical"] for plan in answer["plans"]] == [False, True]
