"""The gate: what regressed fails, what held passes, and what is incomplete is never a pass."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from evals.records.record import METRICS, read_run
from evals.regress.gates import Gate, read_gates
from evals.regress.judging import judge
from evals.regress.verdict import Change, Verdict
from evals.schema import ConfigError
from tests import records
from tests.regress_records import lost, record, scores
from tests.test_records import rewrite_metrics

RULES = [Gate(name="toy", match="*", floor=0.003, primary=("R@1",))]


def compare(old: Path, new: Path, gates: list[Gate] = RULES) -> Verdict:
    return judge("test", [read_run(old)], lambda record: read_run(new), gates)


def only(verdict: Verdict, metric: str = "R@1", subset: str = "en", dim: int = 8) -> Change:
    (found,) = [c for c in verdict.changes if (c.metric, c.subset, c.dim) == (metric, subset, dim)]
    return found


# --- judgements


def test_the_same_numbers_are_unchanged(tmp_path):
    old, new = (record(tmp_path / name, {"en": [scores(lost(3))]}) for name in "ab")
    verdict = compare(old, new)
    assert {change.judgement for change in verdict.changes} == {
        "unchanged"
    } and verdict.outcome == "passed"
    assert (verdict.exit_code, len(verdict.changes)) == (0, 7)


@pytest.mark.parametrize(
    ("before", "after", "judgement"),
    [
        (0, 20, "regressed"),  # sure and far
        (
            0,
            3,
            "passed",
        ),  # 0.3 points are not more than the floor of 0.3: bootstrap misses all three with a chance of 5.0%
        (0, 4, "suspicious"),  # four tails: 1 in 16
        (0, 5, "regressed"),  # five tails: 1 in 32
        (20, 0, "improved"),
        (3, 1, "passed"),
    ],
)
def test_a_drop_must_be_sure_and_exceed_the_floor(tmp_path, before, after, judgement):
    old, new = (
        record(tmp_path / str(i), {"en": [scores(lost(n))]}) for i, n in enumerate((before, after))
    )
    verdict = compare(old, new)
    assert only(verdict).judgement == judgement
    assert verdict.exit_code == (1 if judgement == "regressed" else 0)
    assert only(verdict).difference.value == pytest.approx((before - after) / 1000)


def test_only_one_of_the_two_conditions_is_suspicious_and_passes(tmp_path):
    """20 lost and 12 won of 1,000: 0.8 points that chance makes too. And 5 of 10,000 lost: sure, and below the floor."""
    swapped = lost(20)
    won = np.zeros(1000, dtype=np.int64)
    won[500:524:2] = 50
    unsure = compare(
        record(tmp_path / "a", {"en": [scores(won)]}),
        record(tmp_path / "b", {"en": [scores(swapped)]}),
    )
    small = compare(
        record(tmp_path / "c", {"en": [scores(lost(0, 10_000))]}),
        record(tmp_path / "d", {"en": [scores(lost(5, 10_000))]}),
    )
    for verdict in (unsure, small):
        assert only(verdict).judgement == "suspicious" and verdict.exit_code == 0
    assert only(unsure).difference.upper > 0 and only(small).difference.upper < 0


def test_what_is_not_primary_never_blocks(tmp_path):
    old, new = (record(tmp_path / str(n), {"en": [scores(lost(n))]}) for n in (0, 20))
    verdict = compare(old, new, [Gate(name="x", match="*", floor=0.003, primary=("R@1",))])
    assert (
        only(verdict, "R@5").judgement == "suspicious"
        and only(verdict, "R@1").judgement == "regressed"
    )
    assert (
        only(verdict, "median_rank").judgement == "unchanged"
        and only(verdict, "mean_rank").judgement == "untested"
    )


def test_one_language_among_many_that_move_by_chance_must_fall_further(tmp_path):
    """Seven captions lost in one language of 20, and six lost and six won in each of the others."""

    def misses(i: int, run: int) -> np.ndarray:
        if i == 0:
            return lost(7 * run)
        return np.roll(lost(6), 24 * i + 12 * run)

    names = [f"l{i:02}" for i in range(20)]
    old, new = (
        record(
            tmp_path / f"{run}", {name: [scores(misses(i, run))] for i, name in enumerate(names)}
        )
        for run in (0, 1)
    )
    one_of_old, one_of_new = (
        record(tmp_path / f"alone{run}", {"l00": [scores(misses(0, run))]}) for run in (0, 1)
    )
    alone, among = compare(one_of_old, one_of_new), compare(old, new)
    assert only(alone, subset="l00").judgement == "regressed" and alone.exit_code == 1
    assert only(alone, subset="l00").p_family == pytest.approx(0.5**7, rel=0.5)  # seven tails
    assert only(among, subset="l00").judgement == "suspicious" and among.exit_code == 0
    assert only(among, subset="l00").p == pytest.approx(0.5**7, rel=0.5)
    assert only(among, subset="l00").p_family > 0.05


def test_metrics_that_did_not_move_cost_nothing(tmp_path):
    """Where no other query changed, five captions of one language in 20 are five tails, and found."""
    names = [f"l{i:02}" for i in range(20)]
    old = record(tmp_path / "a", {name: [scores(lost(0))] for name in names})
    cells = {name: [scores(lost(5 if name == "l00" else 0))] for name in names}
    verdict = compare(old, record(tmp_path / "b", cells))
    assert only(verdict, subset="l00").judgement == "regressed"
    assert only(verdict, subset="l00").p_family == pytest.approx(0.5**5, rel=0.3)


def test_half_a_point_in_every_language_shows_in_the_mean(tmp_path):
    names = [f"l{i:02}" for i in range(36)]
    old = record(tmp_path / "a", {name: [scores(lost(0))] for name in names})
    cells = {}
    for i, name in enumerate(names):  # other captions in each
        cells[name] = [scores(np.roll(lost(5), 10 * i))]
    verdict = compare(old, record(tmp_path / "b", cells))
    assert only(verdict, subset="mean").judgement == "regressed"
    assert only(verdict, subset="mean").difference.value == pytest.approx(-0.005)


def test_every_dimension_is_judged(tmp_path):
    old = record(tmp_path / "a", {"en": [scores(lost(0), dim=8), scores(lost(0), dim=4)]})
    new = record(tmp_path / "b", {"en": [scores(lost(0), dim=8), scores(lost(20), dim=4)]})
    verdict = compare(old, new)
    assert (only(verdict, dim=8).judgement, only(verdict, dim=4).judgement) == (
        "unchanged",
        "regressed",
    )


def test_queries_are_paired_by_id_whatever_their_order(tmp_path):
    forward = scores(lost(20))
    order = np.random.default_rng(0).permutation(1000)
    shuffled = forward._replace(
        columns={name: column[order] for name, column in forward.columns.items()},
        query_ids=[forward.query_ids[i] for i in order],
        group_ids=[forward.group_ids[i] for i in order],
    )
    verdict = compare(
        record(tmp_path / "a", {"en": [forward]}), record(tmp_path / "b", {"en": [shuffled]})
    )
    assert {change.judgement for change in verdict.changes} == {"unchanged"}


def test_what_changed_around_the_runs_is_listed(tmp_path):
    old = record(tmp_path / "a", {"en": [scores(lost(0))]})
    new = record(
        tmp_path / "b",
        {"en": [scores(lost(0))]},
        packages={"torch": "3", "mteb": "1"},
        encoder=records.encoder(weights="other"),
    )
    (compared,) = compare(old, new).compared
    assert compared.environment == [
        ("packages.mteb", "none", "1"),
        ("packages.torch", "2.9.0", "3"),
        ("encoder.fingerprint.weights", "a" * 64, "other"),
    ]


def test_a_correlation_over_pairs_is_judged_by_the_floor_alone(tmp_path):
    table = records.values(3, score=[0.1, 0.2, 0.3], gold=[0.0, 0.5, 1.0])

    def sts(name: str, value: float) -> Path:
        line = records.line("cosine_spearman", value, direction="test", n_queries=3, n_gallery=0)
        task = {"query_metric": None}
        return records.write(tmp_path / name, [line], table, benchmark="mteb:STS", mteb=task)

    rules = read_gates()
    assert compare(sts("a", 0.80), sts("b", 0.79), rules).exit_code == 1
    assert compare(sts("c", 0.80), sts("d", 0.798), rules).exit_code == 0


# --- never a pass


@pytest.mark.parametrize(
    ("manifest", "code", "message"),
    [
        ({"data": {"en": {"content": "other"}}}, 4, "the data of en is not that of"),
        ({"partial": {"limit": 10}}, 3, "a partial run"),
        ({"status": "running"}, 3, "its status is"),
    ],
)
def test_other_data_and_partial_runs_are_refused(tmp_path, manifest, code, message):
    old = record(tmp_path / "a", {"en": [scores(lost(0))]})
    new = record(tmp_path / "b", {"en": [scores(lost(0))]}, **manifest)
    verdict = compare(old, new)
    assert (verdict.exit_code, verdict.changes) == (code, []) and message in verdict.problems[
        0
    ].message


def test_other_queries_are_not_comparable(tmp_path):
    old = record(tmp_path / "a", {"en": [scores(lost(0))]})
    new = record(tmp_path / "b", {"en": [scores(lost(0), prefix="other")]})
    assert compare(old, new).exit_code == 4


def test_a_missing_language_dimension_or_metric_is_no_pass(tmp_path):
    both = {"en": [scores(lost(0)), scores(lost(0), dim=4)], "de": [scores(lost(0))]}
    old = record(tmp_path / "a", both)
    for name, cells in {
        "b": {"en": both["en"]},
        "c": {"en": both["en"][:1], "de": both["de"]},
    }.items():
        verdict = compare(old, record(tmp_path / name, cells))
        assert verdict.exit_code == 3 and verdict.problems[0].kind == "missing"
    fewer = both["de"][0]
    fewer = fewer._replace(values={k: v for k, v in fewer.values.items() if k != "R@10"})
    assert compare(old, record(tmp_path / "d", both | {"de": [fewer]})).exit_code == 3


def test_a_gate_without_a_primary_metric_is_no_pass(tmp_path):
    path = record(tmp_path / "a", {"en": [scores(lost(0))]})
    rules = [Gate(name="x", match="*", floor=0.003, primary=("acc@1",))]
    assert compare(path, path, rules).exit_code == 3


@pytest.mark.parametrize("metric", ["R@1", "MRR"])
def test_a_metric_that_its_queries_do_not_make_is_found(tmp_path, metric):
    path = record(tmp_path / "a", {"en": [scores(lost(20))]})
    new = shutil.copytree(path, tmp_path / "b" / "toy" / "m" / path.name)
    lines = [json.loads(line) for line in (new / METRICS).read_text().splitlines()]
    for line in lines:
        if metric.startswith(line["metric"]) and line["k"] in (None, 1):
            line["value"], line["ci_high"] = 1.0, 1.0
    rewrite_metrics(new, "".join(json.dumps(line) + "\n" for line in lines))
    verdict = compare(path, new)
    assert verdict.exit_code == 3 and "queries make" in verdict.problems[0].message


def test_ranks_below_chance_are_found(tmp_path):
    """A flipped sign: the document is always last. In a random order its mean rank would be 50.5."""
    path = record(tmp_path / "a", {"en": [scores(np.full(1000, 99))]})
    assert "worse than chance" in compare(path, path).problems[0].message


def test_a_model_at_chance_is_sound(tmp_path):
    """Not one of 1,000 queries is first, and that is no fault: one was to be expected."""
    better = np.random.default_rng(0).integers(1, 100, 1000)
    path = record(tmp_path / "a", {"en": [scores(better)]})
    assert compare(path, path).exit_code == 0


def test_a_sweep_that_disagrees_with_its_plain_run_is_found(tmp_path):
    record(tmp_path, {"en": [scores(lost(20)), scores(lost(30), dim=4)]}, config={"dims": [8, 4]})
    plain = record(tmp_path, {"en": [scores(lost(0))]})
    assert "in " + str(tmp_path) in compare(plain, plain).problems[0].message
    agreed = record(tmp_path / "b", {"en": [scores(lost(20))]})
    record(
        tmp_path / "b", {"en": [scores(lost(20)), scores(lost(30), dim=4)]}, config={"dims": [8, 4]}
    )
    assert compare(agreed, agreed).exit_code == 0


def test_a_gate_on_what_is_better_when_lower_is_refused(tmp_path):
    file = tmp_path / "gates.yaml"
    file.write_text('"all": {match: "*", floor: 0.003, primary: ["mean_rank"]}\n')
    with pytest.raises(ConfigError, match="mean_rank is better when it is lower"):
        read_gates(file)
