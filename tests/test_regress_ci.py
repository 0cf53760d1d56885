"""The gate on the committed baseline, by its command: exit codes, what is never a pass, baselines and speed."""

import json
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from evals.paths import baseline_folders
from evals.records.manifest import MANIFEST
from evals.records.record import METRICS, read_run
from evals.regress import runs as regress_runs
from evals.regress.__main__ import app
from evals.regress.baselines import locate
from evals.regress.gates import gate_of, read_gates
from evals.regress.pairing import pair
from evals.regress.sanity import faults
from evals.schema import ConfigError, InvalidError, MissingError
from tests.commands import ROOT, calls
from tests.records import resigned
from tests.regress_records import again, lost, record, scores
from tests.test_records import rewrite_manifest, rewrite_metrics

COMMITTED = baseline_folders()[-1]
CI = next((COMMITTED / "ci").glob("scenes/tiny/*"))


def gate(*arguments: object, **environment: str) -> tuple[int, dict[str, Any]]:
    """The command on `ci`, in this process: exit code and JSON."""
    done = CliRunner().invoke(
        app, ["--json", *map(str, arguments)], env={"GITHUB_STEP_SUMMARY": None, **environment}
    )
    return done.exit_code, json.loads(done.stdout)


def test_an_equal_record_passes_ci(tmp_path):
    again(CI, tmp_path)
    code, verdict = gate("--baseline", "ci", "--results", tmp_path)
    assert (code, verdict["verdict"], verdict["problems"]) == (0, "passed", [])


@pytest.mark.parametrize(("miss", "expected"), [({}, 0), ({("de", "t2i"): 5}, 1)])
def test_a_summary_of_github_that_cannot_be_written_changes_no_verdict(tmp_path, miss, expected):
    again(CI, tmp_path, miss=miss)
    arguments = ["--json", "--baseline", "ci", "--results", str(tmp_path)]
    done = CliRunner().invoke(app, arguments, env={"GITHUB_STEP_SUMMARY": str(tmp_path)})
    assert done.exit_code == expected
    assert "cannot be written: Is a directory" in done.stderr
    assert json.loads(done.stdout)["written"] == []


def test_half_a_point_in_one_language_fails_ci(tmp_path):
    again(CI, tmp_path, miss={("de", "t2i"): 5})
    code, verdict = gate("--baseline", "ci", "--results", tmp_path)
    regressed = {
        (m["subset"], m["direction"], m["metric"])
        for m in verdict["metrics"]
        if m["judgement"] == "regressed"
    }
    assert (
        code == 1
        and ("de", "t2i", "R@1") in regressed
        and not any(subset == "fr" for subset, _, _ in regressed)
    )


def test_half_a_point_in_every_language_fails_ci(tmp_path):
    languages = ("en", "de", "fr", "es", "zh", "ar")
    again(
        CI,
        tmp_path,
        miss={(language, "t2i"): 5 for language in languages}
        | {(language, "i2t"): 3 for language in languages},
    )
    code, verdict = gate("--baseline", "ci", "--results", tmp_path)
    regressed = {
        (m["subset"], m["direction"], m["metric"])
        for m in verdict["metrics"]
        if m["judgement"] == "regressed"
    }
    assert code == 1 and {("mean", "t2i", "R@1"), ("mean", "i2t", "R@1")} <= regressed


def test_a_missing_language_fails_ci(tmp_path):
    again(CI, tmp_path, drop=["zh"])
    code, verdict = gate("--baseline", "ci", "--results", tmp_path)
    assert code == 3 and "zh missing" in verdict["problems"][0]["message"]


def test_no_run_at_all_and_a_partial_one_fail_ci(tmp_path):
    assert gate("--baseline", "ci", "--results", tmp_path)[0] == 3
    partial = again(CI, tmp_path, benchmark="scenes.partial", partial={"limit": 3})
    code, verdict = gate("--baseline", "ci", "--results", tmp_path)
    assert code == 3 and "partial runs only" in verdict["problems"][0]["message"]
    assert gate("--baseline", "ci", "--runs", partial)[0] == 3


def test_nan_and_unreadable_runs_fail_ci(tmp_path):
    nan = again(CI, tmp_path / "nan")
    text = (nan / METRICS).read_text()
    value = json.loads(text.split("\n")[0])["value"]
    rewrite_metrics(nan, text.replace(f'"value": {value}', '"value": NaN', 1))
    code, verdict = gate("--baseline", "ci", "--runs", nan)
    assert code == 3 and "metrics.jsonl" in verdict["problems"][0]["message"]
    cut = again(CI, tmp_path / "cut")
    (cut / "queries.parquet").write_bytes((cut / "queries.parquet").read_bytes()[:-9])
    assert gate("--baseline", "ci", "--runs", cut)[0] == 3
    again(CI, tmp_path / "late")
    interrupted = again(CI, tmp_path / "late")
    (interrupted / MANIFEST).unlink()
    later = interrupted.rename(interrupted.with_name("29990101T000000Z-00000000"))
    code, verdict = gate("--baseline", "ci", "--results", tmp_path / "late")
    assert code == 3 and str(later) in verdict["problems"][0]["message"]


def test_a_broken_baseline_and_runs_it_does_not_know_are_no_pass(tmp_path):
    broken = shutil.copytree(CI, tmp_path / "base" / "scenes" / "tiny" / CI.name)
    rewrite_manifest(broken, checksum="0")
    badge = tmp_path / "badge.json"
    assert gate("--baseline", tmp_path / "base", "--runs", CI, "--badge", badge)[0] == 3
    assert json.loads(badge.read_text())["message"] == "invalid"
    other = record(tmp_path / "x", {"en": [scores(lost(0))]})
    assert gate("--baseline", "ci", "--runs", CI, "--runs", other)[0] == 4


def test_names_that_mean_nothing_are_usage_errors(tmp_path):
    assert gate("--baseline", "cj")[0] == 2
    assert gate()[0] == 2
    file = tmp_path / "gates.yaml"
    file.write_text('"x": {match: "flickr", floor: 0.1, primary: ["R@1"]}')
    assert gate("--baseline", "ci", "--runs", CI, "--gates", file)[0] == 2
    with pytest.raises(ConfigError, match="Give one of them"):
        regress_runs.read_paths([CI, CI])


def test_the_first_gate_that_fits_judges():
    assert (
        gate_of("scenes", read_gates()).name == "scenes"
        and gate_of("mteb:STS", read_gates()).name == "default"
    )


# --- what is unsound by itself


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"value": 1.5}, "outside of [0, 1]"),
        ({"value": 0.99}, "outside of its interval"),
        ({"n_gallery": 499}, "scenes 1000/500"),
        ({"subset": "xx"}, "no subset of scenes"),
    ],
)
def test_impossible_numbers_and_counts_are_found(tmp_path, change, told):
    path = again(CI, tmp_path)
    lines = [json.loads(line) for line in (path / METRICS).read_text().splitlines()]
    lines[0] |= change  # R@1 of en t2i
    rewrite_metrics(path, "".join(json.dumps(line) + "\n" for line in lines))
    assert any(told in fault for fault in faults(read_run(path)))


def test_a_metric_that_stands_twice_is_refused(tmp_path):
    path = again(CI, tmp_path)
    lines = [json.loads(line) for line in (path / METRICS).read_text().splitlines()]
    lines[0] |= {"k": 5}
    rewrite_metrics(path, "".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InvalidError, match=r"R@5 of en t2i, dim 256 float32 stands twice"):
        read_run(path)


def test_another_count_than_there_are_queries_is_refused(tmp_path):
    path = again(CI, tmp_path)
    lines = [json.loads(line) for line in (path / METRICS).read_text().splitlines()]
    lines[0] |= {"n_queries": 999}
    rewrite_metrics(path, "".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InvalidError, match=r"1,000 queries of en t2i.*metrics\.jsonl counts 999"):
        faults(read_run(path))


def test_recall_that_falls_with_k_is_found(tmp_path):
    path = again(CI, tmp_path)
    lines = [json.loads(line) for line in (path / METRICS).read_text().splitlines()]
    lines[1] |= {"value": 0.5, "ci_low": 0.4}
    rewrite_metrics(path, "".join(json.dumps(line) + "\n" for line in lines))
    assert any("R@5 is below R@1" in fault for fault in faults(read_run(path)))


# --- baselines


def test_setting_a_baseline_replaces_the_record_and_keeps_the_history(tmp_path, monkeypatch):
    monkeypatch.setattr("evals.regress.baselines.BASELINES", tmp_path / "baselines")
    results = tmp_path / "runs"
    for i in range(2):
        path = record(results, {"en": [scores(lost(i))]}, model="org/m|x")
        path = resigned(path, written=f"2026-01-0{i + 1}T00:00:00Z")
        done = CliRunner().invoke(
            app, ["baseline", "set", "mine", "--why", f"reason {i}", "--results", str(results)]
        )
        assert done.exit_code == 0, done.output
    place = tmp_path / "baselines" / "mine"
    (kept,) = place.glob("toy/*/*")
    lines = [json.loads(line) for line in (place / "history.jsonl").read_text().splitlines()]
    assert read_run(kept).manifest.raw["model"] == "org/m|x" and kept.name == lines[1]["new"]
    assert [line["why"] for line in lines] == ["reason 0", "reason 1"]
    assert (lines[0]["old"], lines[1]["old"]) == (None, lines[0]["new"]) and lines[0]["who"]
    shown = CliRunner().invoke(app, ["baseline", "show", str(place), "--json"])
    assert json.loads(shown.stdout)["history"] == lines


def test_a_baseline_is_written_where_the_user_is_or_says_and_found_there_first(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "runs", {"en": [scores(lost(0))]}, model="m")
    words = ["baseline", "set", "ci", "--why", "x", "--results", "runs"]
    for more, root in (([], "results/baselines"), (["--baselines", "mine"], "mine")):
        done = CliRunner().invoke(app, [*words, *more])
        assert done.exit_code == 0, done.output
        assert f"baseline ci: {tmp_path / root / 'ci'}" in done.stderr.replace("\n", "")
        assert (tmp_path / root / "ci" / "index.json").exists()
    # the repository has another of this name
    assert locate("ci").resolve() == tmp_path / "results" / "baselines" / "ci"
    with pytest.raises(ConfigError, match=r"^results/run: no such folder\. Name a record"):
        locate("results/run")
    assert not list((COMMITTED / "ci").glob("toy"))
    shutil.rmtree(tmp_path / "results")
    assert locate("ci") == COMMITTED / "ci"


def test_a_partial_or_unsound_record_does_not_become_a_baseline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "a", {"en": [scores(lost(0))]}, partial={"limit": 3})
    reversed_ranks = record(tmp_path / "b", {"en": [scores(np.full(100, 99))]})
    for arguments in (
        ["--results", tmp_path / "a"],
        ["--runs", reversed_ranks],
        ["--results", tmp_path / "none"],
    ):
        done = CliRunner().invoke(
            app, ["baseline", "set", "never", "--why", "x", *map(str, arguments)]
        )
        assert done.exit_code == 3, done.output
    assert not (tmp_path / "results" / "baselines" / "never").exists()


# --- speed


def test_another_run_costs_the_gate_some_1700_calls_and_no_torch(tmp_path):
    again(CI, tmp_path / "one", miss={("en", "t2i"): 20})
    path = again(CI, tmp_path / "many", miss={("en", "t2i"): 20})
    for i in range(499):
        copy = shutil.copytree(path, path.with_name("copy"))
        resigned(copy, written=f"2026-01-01T00:{i // 60:02}:{i % 60:02}Z")
    code = (
        "import sys; from evals.regress.__main__ import app\n"
        "try: app(sys.argv[1:])\n"
        "finally: print(sorted({'torch', 'transformers', 'mteb'} & set(sys.modules)))"
    )
    gate = ["--baseline", "ci", "--results"]
    command = [sys.executable, "-c", code, *gate, str(tmp_path / "many")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout.strip().endswith("[]"), done.stderr
    one, many = (calls("evals.regress", *gate, tmp_path / n, cwd=ROOT) for n in ("one", "many"))
    assert (many - one) / 499 < 2500


def test_what_the_baseline_has_and_the_run_lacks_comes_with_the_command_that_measures_it(tmp_path):
    command = ["python", "-m", "evals.run", "toy", "--model", "m", "--dims", "8"]
    whole = {name: [scores(lost(0))] for name in ("en", "de")}
    baseline = read_run(record(tmp_path / "a", whole, command=command))
    typed = ["python", "-m", "evals.run", "toy", "--model", "m=runs/step-9", "--subsets", "en"]
    part = record(tmp_path / "b", {"en": whole["en"]}, command=typed, model="n")
    with pytest.raises(MissingError) as error:
        pair(baseline, read_run(part))
    assert str(error.value) == (
        f"{part}: lacks 1 cell of the baseline: de t2i at 8 float32. "
        "Measure what is missing: python -m evals.run toy --dims 8 --model m=runs/step-9"
    )
