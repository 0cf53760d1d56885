"""What trackers are given of a record, what is refused before anything is encoded, and that no tracker can harm a run."""

import hashlib
import json
import sys
from types import SimpleNamespace

import pytest

from evals.progress import Silent
from evals.records.record import read_run
from evals.schema import ConfigError, MissingError
from evals.trackers import mlflow_runs
from evals.trackers.entries import entries_of
from evals.trackers.tracking import TRACKERS, Target, log_records, targets_of
from tests import records
from tests.commands import ROOT
from tests.commands import run as command

FEW = ("scenes", "--model", "tiny", "--subsets", "en", "--limit", "4", "--dims", "8,256")


class Told(Silent):
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.messages, self.errors = [], []

    def info(self, message):
        self.messages.append(message)

    def error(self, message):
        self.errors.append(message)


def record(root, **fields):
    lines = [
        records.line("R@1", 0.5, ci_low=0.25, ci_high=0.75),
        records.line("R@5", 1 / 3, dim=4),
        records.line("median_rank", 2.0, dim=4, precision="int8"),
    ]
    return read_run(records.write(root, lines, benchmark="flickr", model="m", **fields))


def test_each_dimension_and_precision_is_a_run_of_the_tracker_the_widest_first(tmp_path):
    run = record(tmp_path)
    entries = entries_of(run)
    shown = [(entry.parameters["dimension"], entry.parameters["precision"]) for entry in entries]
    assert shown == [(8, "float32"), (4, "float32"), (4, "int8")]
    assert [entry.name for entry in entries] == [
        "flickr-m-8-float32",
        "flickr-m-4-float32",
        "flickr-m-4-int8",
    ]
    assert {entry.group for entry in entries} == {run.path.name}


def test_metrics_are_the_numbers_of_the_record_with_the_ends_of_their_intervals(tmp_path):
    wide, narrow, coarse = entries_of(record(tmp_path))
    assert wide.metrics == {"en/t2i/R@1": 0.5, "en/t2i/R@1_low": 0.25, "en/t2i/R@1_high": 0.75}
    assert narrow.metrics == {"en/t2i/R@5": 1 / 3}  # no interval is made up
    assert coarse.metrics == {"en/t2i/median_rank": 2.0}


def test_parameters_say_which_model_data_and_code(tmp_path):
    run = record(tmp_path)
    parameters = entries_of(run)[0].parameters
    expected = {
        "benchmark": "flickr",
        "model": "m",
        "weights": "a" * 64,
        "data/en": records.content("en"),
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "changed_since_commit": False,
        "partial": False,
        "record": f"flickr/m/{run.path.name}",
    }
    assert expected.items() <= parameters.items()
    assert None not in parameters.values()


def test_a_part_of_a_benchmark_says_so(tmp_path):
    run = record(tmp_path, partial={"limit": 4})
    assert entries_of(run)[0].parameters["partial"] is True


def test_the_record_and_its_figures_go_once_however_many_dimensions_there_are(tmp_path):
    run = record(tmp_path)
    (run.path / "curve.png").write_bytes(b"png")
    elsewhere = tmp_path / "figures" / "front.png"
    first, *rest = entries_of(run, [elsewhere])
    assert (first.record, first.figures) == (run.path, (run.path / "curve.png", elsewhere))
    assert all((entry.record, entry.figures) == (None, ()) for entry in rest)


def test_several_languages_have_a_mean_with_an_interval_over_queries():
    (entry,) = entries_of(read_run(next((ROOT / "results/baselines/ci/scenes/tiny").iterdir())))
    metrics = entry.metrics
    values = [metrics[f"{subset}/t2i/R@1"] for subset in "en de fr es zh ar".split()]
    assert metrics["mean/t2i/R@1"] == pytest.approx(sum(values) / 6, abs=1e-15)
    assert metrics["mean/t2i/R@1_low"] < metrics["mean/t2i/R@1"] < metrics["mean/t2i/R@1_high"]
    # a mean over languages is narrower than any of them
    assert metrics["mean/t2i/R@1_high"] - metrics["mean/t2i/R@1_low"] < 0.06
    assert "mean/t2i/median_rank" not in metrics and "en/t2i/median_rank" in metrics


def test_names_that_mlflow_refuses_are_written_in_its_letters():
    assert mlflow_runs._keys(["en/t2i/R@1_low", "été/R@1"]) == {
        "en/t2i/R@1_low": "en/t2i/R_at_1_low",
        "été/R@1": "_t_/R_at_1",
    }
    with pytest.raises(ValueError, match="two names"):
        mlflow_runs._keys(["a?", "a!"])


# Refused before anything is encoded


def test_an_unknown_tracker_is_refused_with_the_names_of_those_there_are():
    with pytest.raises(ConfigError, match="There is trackio, wandb, mlflow"):
        targets_of(["tensorboard"])


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_that_is_not_installed_is_named_before_anything_is_encoded(
    tracker, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, tracker, None)  # what an import of it then says is the same
    done = command(*FEW, "--log", tracker, cwd=tmp_path)
    assert done.returncode == 5
    assert f"pip install 'jina-clip-evals[{tracker}]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_project_is_named_behind_a_colon_or_by_the_variable_of_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    shown = [(t.tracker, t.project) for t in targets_of(["mlflow:birds, trackio", "mlflow"])]
    assert shown == [("mlflow", "birds"), ("trackio", "jina-clip-evals"), ("mlflow", "theirs")]


# A tracker that fails


def failing(entry, project):
    raise ConnectionError("nobody answers")


def test_a_tracker_that_fails_leaves_the_others_and_says_how_to_log_it_later(tmp_path):
    run, logged, told = record(tmp_path), [], Told()
    targets = [
        Target("wandb", "p", failing),
        Target("mlflow", "q", lambda entry, project: logged.append(entry.name) or "there"),
    ]
    with pytest.raises(MissingError) as caught:
        log_records(targets, {run.path: ()}, told)
    assert str(caught.value).endswith(f"run: python -m evals.track {run.path} --log wandb:p")
    assert told.errors == ["wandb: ConnectionError: nobody answers"]
    assert len(logged) == 3 and told.messages == [f"logged {run.path} to mlflow: 3 runs, there"]


def test_the_password_of_a_trackers_address_is_not_told(tmp_path):
    address = "postgresql://evals:s3cret@db/mlflow"

    def refused(entry, project):
        raise ConnectionError(f"no answer from {address}")

    run, told = record(tmp_path), Told()
    targets = [Target("mlflow", "p", refused), Target("mlflow", "q", lambda *_: f"p in {address}")]
    with pytest.raises(MissingError):
        log_records(targets, {run.path: ()}, told)
    text = "\n".join([*told.errors, *told.messages])
    assert "s3cret" not in text and text.count("postgresql://db/mlflow") == 2


def test_a_tracker_that_fails_is_not_tried_again_for_each_dimension(tmp_path):
    tries = []

    def slow(entry, project):
        tries.append(entry.name)
        raise TimeoutError

    with pytest.raises(MissingError):
        log_records([Target("mlflow", "p", slow)], {record(tmp_path).path: ()}, Told())
    assert tries == ["flickr-m-8-float32"]


def files(folder):
    """The hash of each file of the one record below a folder that holds numbers."""
    (path,) = folder.glob("results/runs/*/*/*")
    names = ("metrics.jsonl", "queries.parquet")
    return {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in names}


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["for people", "--json"])
def test_with_a_tracker_that_fails_the_numbers_are_printed_and_the_record_is_the_same(
    options, tmp_path, monkeypatch
):
    def init(**settings):
        raise OSError(28, "No space left on device")

    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    plain = command(*FEW, *options, cwd=tmp_path / "without")
    assert plain.returncode == 0
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=init))
    done = command(*FEW, *options, "--log", "trackio", cwd=tmp_path / "with")
    assert done.returncode == 5
    assert "trackio: OSError: [Errno 28] No space left on device" in done.stderr
    assert "python -m evals.track results/runs/scenes.partial/tiny/" in done.stderr
    assert files(tmp_path / "with") == files(tmp_path / "without")
    if options:
        (run,), (expected,) = (json.loads(text)["runs"] for text in (done.stdout, plain.stdout))
        assert run["metrics"] == expected["metrics"]
    else:
        # the last line is the record's path
        assert done.stdout.splitlines()[:-2] == plain.stdout.splitlines()[:-2]


def test_records_that_are_there_are_logged_by_a_command_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)  # as if it were not installed
    done = command("--log", "trackio", cwd=tmp_path, module="evals.track")
    assert done.returncode == 5
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace())
    done = command("--log", "trackio", cwd=tmp_path, module="evals.track")
    assert (done.returncode, "no such record" in done.stderr) == (2, True)
    done = command(cwd=tmp_path, module="evals.track")
    assert (done.returncode, "Name a tracker" in done.stderr) == (2, True)
