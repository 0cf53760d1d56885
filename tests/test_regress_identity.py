"""The gate judges by what manifests say: whose weights, whose data, when; never by what a folder is called."""

import io
import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console
from typer.testing import CliRunner

from evals.records.identity import Named
from evals.regress.__main__ import app
from evals.regress.gates import Gate
from evals.regress.outputs import as_json, as_junit, as_markdown
from evals.regress.runs import against
from evals.regress.table import print_verdict
from evals.regress.verdict import Verdict
from tests.records import resigned
from tests.regress_records import lost, record, scores

RULES = [Gate(name="toy", match="*", floor=0.003, primary=("R@1",))]
OLD, NEW = "a" * 64, "b" * 64


def encoder(weights: str, folder: str = "models/old", width: int = 8) -> dict[str, Any]:
    return {"dim": width, "source": {"folder": folder}, "fingerprint": {"weights": weights}}


def measured(root: Path, miss: int = 0, model: str = "m", **manifest: Any) -> Path:
    cells = {"en": [scores(lost(miss, 400))]}
    return record(root, cells, model=model, **({"encoder": encoder(OLD)} | manifest))


def gate(baseline: Path, results: Path, **stand_ins: str) -> Verdict:
    names = {model: Named.of(text) for model, text in stand_ins.items()}
    return against(str(baseline), None, results, RULES, names)


# --- places and names


def test_a_good_record_of_another_model_in_the_place_of_the_gated_one_does_not_pass(tmp_path):
    base, runs = tmp_path / "base", tmp_path / "runs"
    measured(base)
    own = measured(runs, miss=40)
    good = resigned(measured(tmp_path / "other", model="good"), written="2026-01-01T00:00:00Z")
    assert gate(base, runs).exit_code == 1
    laid = shutil.copytree(good, own.parent / "20300101T000000Z-00000000")
    verdict = gate(base, runs)
    assert verdict.exit_code == 3
    place = f"toy/good/{good.name}"
    assert str(laid) in verdict.problems[0].message and place in verdict.problems[0].message


def test_a_record_of_the_gated_model_in_the_place_of_another_is_not_overlooked(tmp_path):
    """The newest run regressed; it lies in another model's folder, and an older one is in its place."""
    base, runs = tmp_path / "base", tmp_path / "runs"
    measured(base)
    resigned(measured(runs), written="2026-01-01T00:00:00Z")
    newest = measured(tmp_path / "new", miss=40)
    shutil.copytree(newest, runs / "toy" / "other" / newest.name)
    assert gate(base, runs).exit_code == 3


def test_a_record_with_an_older_name_than_its_own_does_not_hide_behind_another(tmp_path):
    base, runs = tmp_path / "base", tmp_path / "runs"
    measured(base)
    resigned(measured(runs), written="2026-01-01T00:00:00Z")
    newest = measured(runs, miss=40)
    newest.rename(newest.with_name("20200101T000000Z-00000000"))
    assert gate(base, runs).exit_code == 3


def test_a_record_from_the_future_would_be_the_newest_for_ever_and_is_invalid(tmp_path):
    base, runs = tmp_path / "base", tmp_path / "runs"
    measured(base)
    late = resigned(measured(runs), written="2999-01-01T00:00:00Z")
    measured(runs)
    verdict = gate(base, runs)
    assert verdict.exit_code == 3
    assert str(late) in verdict.problems[0].message and "future" in verdict.problems[0].message


def test_a_misplaced_or_future_record_is_no_baseline(tmp_path):
    runs = tmp_path / "runs"
    measured(runs)
    late = resigned(measured(tmp_path / "late"), written="2999-01-01T00:00:00Z")
    assert gate(tmp_path / "late", runs).exit_code == 3
    assert late.exists()
    moved = shutil.copytree(measured(tmp_path / "a"), tmp_path / "b" / "toy" / "x" / "y")
    assert moved.exists() and gate(tmp_path / "b", runs).exit_code == 3


def test_a_record_that_was_named_may_lie_anywhere(tmp_path):
    measured(tmp_path / "base")
    path = measured(tmp_path / "runs").rename(tmp_path / "downloaded")
    assert against(str(tmp_path / "base"), [path], tmp_path, RULES).exit_code == 0


# --- a new checkpoint against the old one


def test_a_new_checkpoint_is_held_against_the_old_one(tmp_path):
    base, runs = tmp_path / "base", tmp_path / "runs"
    measured(base)
    assert gate(base, runs).exit_code == 3
    measured(runs, model="better", encoder=encoder(NEW))
    measured(runs, miss=40, model="worse", encoder=encoder(NEW))
    assert gate(base, runs, m="better").exit_code == 0
    assert gate(base, runs, m="worse").exit_code == 1


def test_what_was_not_measured_is_named_with_the_command_that_measures_what_the_baseline_needs(
    tmp_path,
):
    base, runs = tmp_path / "base", tmp_path / "runs"
    sweep = ["python", "-m", "evals.mrl_sweep", "--benchmarks", "toy", "--model", "m", "--dims"]
    measured(base, command=[*sweep, "8,4"])
    own = measured(tmp_path / "other", model="other", encoder=encoder(NEW))
    expected = "python -m evals.mrl_sweep --benchmarks toy --dims 8,4 --model 'check point'"
    names = {"m": Named(name="check point")}
    for paths in (None, [own]):
        problem = against(str(base), paths, runs, RULES, names).problems[0]
        assert problem.kind == "missing"
        assert problem.message.endswith(f"un: {expected}")
    [problem] = gate(base, runs).problems
    assert problem.message.endswith(f"Run: {' '.join(sweep)} 8,4")
    # A name in records is none that --model takes: the checkpoint is named as it was there.
    elsewhere = ["python", "-m", "evals.run", "photos", "--model", "ckpt/500"]
    measured(runs, model="500", benchmark="photos", command=elsewhere, encoder=encoder(NEW))
    [problem] = against(str(base), None, runs, RULES, {"m": Named(name="500")}).problems
    assert problem.message.endswith("--dims 8,4 --model ckpt/500")


def test_a_checkpoint_may_be_named_by_its_folder(tmp_path):
    base, runs, folder = tmp_path / "base", tmp_path / "runs", tmp_path / "checkpoint-500"
    measured(base)
    folder.mkdir()
    measured(runs, model="checkpoint-500", encoder=encoder(NEW, "/another/checkpoint-500"))
    assert gate(base, runs, m=str(folder)).exit_code == 3
    measured(runs, model="mine", encoder=encoder(NEW, str(folder)))
    assert gate(base, runs, m=str(folder)).exit_code == 0


@pytest.mark.parametrize("change", ["data", "queries"])
def test_a_checkpoint_on_other_data_is_not_comparable(tmp_path, change):
    base, runs = tmp_path / "base", tmp_path / "runs"
    measured(base)
    if change == "data":
        measured(runs, model="new", data={"en": {"content": "other"}})
    else:
        record(runs, {"en": [scores(lost(0, 400), prefix="other")]}, model="new")
    assert gate(base, runs, m="new").exit_code == 4


def test_named_runs_stand_in_too(tmp_path):
    base = tmp_path / "base"
    measured(base)
    path = measured(tmp_path / "runs", model="new", encoder=encoder(NEW))
    command = ["--baseline", str(base), "--runs", str(path), "--json"]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 3 and "--as MODEL=new" in refused.stdout
    assert CliRunner().invoke(app, [*command, "--as", "m=new"]).exit_code == 0


def test_a_model_that_the_baseline_does_not_have_is_a_usage_error(tmp_path):
    measured(tmp_path / "base")
    measured(tmp_path / "runs")
    command = ["--baseline", str(tmp_path / "base"), "--results", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, [*command, "--as", "n=new"])
    assert done.exit_code == 2 and "There is m" in done.stderr


def test_each_output_says_which_weights_stand_in_for_which(tmp_path):
    base, runs = tmp_path / "base", tmp_path / "runs"
    measured(base)
    measured(runs, model="new", encoder=encoder(NEW, "/runs/checkpoint-500", 4))
    verdict = gate(base, runs, m="new")
    out = io.StringIO()
    print_verdict(verdict, Console(file=out, width=300))
    suite = ElementTree.fromstring(as_junit(verdict))  # noqa: S314 - our own
    assert int(suite.get("tests", 0)) == len(list(suite.iter("testcase")))
    texts = as_markdown(verdict), out.getvalue(), as_junit(verdict).decode()
    for text in texts:
        for part in ("/runs/checkpoint-500", "b" * 12, "models/old", "a" * 12, "4 dimensions"):
            assert part in text.replace("&#45;", "-"), (part, text)
    [pair] = as_json(verdict)["compared"]
    assert (pair["model"], pair["run_model"]["name"]) == ("m", "new")
    assert (pair["baseline_model"]["weights"], pair["run_model"]["weights"]) == (OLD, NEW)
    json.dumps(pair)


def test_other_weights_under_the_same_name_are_said_and_the_same_ones_not(tmp_path):
    base, runs = tmp_path / "base", tmp_path / "runs"
    measured(base)
    measured(runs, encoder=encoder(OLD, "/elsewhere"))
    assert gate(base, runs).stand_ins == []
    measured(tmp_path / "new", encoder=encoder(NEW))
    [sentence] = gate(base, tmp_path / "new").stand_ins
    assert "weights bbbbbbbbbbbb" in sentence and "weights aaaaaaaaaaaa" in sentence


# --- paths that are no record


@pytest.mark.parametrize(
    ("levels", "message"),
    [(1, "the folder of a benchmark and model"), (2, "the folder of a benchmark, not a record")],
)
def test_a_path_one_folder_too_high_is_answered_by_what_it_is(tmp_path, levels, message):
    path = measured(tmp_path)
    command = ["baseline", "set", "x", "--why", "y", "--runs", str(path.parents[levels - 1])]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert message in done.stderr and str(path) in done.stderr


def test_a_path_that_is_not_there_is_no_unfinished_run(tmp_path):
    command = ["baseline", "set", "x", "--why", "y", "--runs", str(tmp_path / "none")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2 and "no such folder" in done.stderr
