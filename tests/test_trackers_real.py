"""A sweep logged to trackio, MLflow and wandb themselves, and read back from what they stored.

Each test is skipped without its library: `make test-trackers` makes an environment that has all three.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from evals.records.record import MetricLine, Run, read_run
from tests import records
from tests.commands import ROOT, Done, process

# What the trackers' libraries warn of among themselves is not ours to mend.
pytestmark = pytest.mark.filterwarnings("default")
INSTALLED = [name for name in ("trackio", "wandb", "mlflow") if find_spec(name)]
needs = {
    name: pytest.mark.skipif(name not in INSTALLED, reason=f"{name} is not installed")
    for name in ("trackio", "wandb", "mlflow")
}
WEIGHTS = 64
PNGS = 3 * 2  # figures per metric, of R@1 and R@5
BASELINE = next((ROOT / "results/baselines/ci/scenes/tiny").iterdir())


class Logged(NamedTuple):
    """A sweep of two dimensions and two precisions that was logged to all trackers at once."""

    folder: Path
    done: Done
    run: Run
    phoned: list[bytes]

    def lines(self, dim: int, precision: str) -> dict[str, MetricLine]:
        return {
            f"{line.subset}/{line.direction}/{line.name}": line
            for line in self.run.metrics
            if (line.dim, line.precision) == (dim, precision)
        }

    def expected(self, dim: int, precision: str) -> dict[str, float]:
        """The numbers of the record, as trackers call them."""
        numbers = {}
        for key, line in self.lines(dim, precision).items():
            numbers[key] = line.value
            if line.ci_low is not None:
                numbers |= {f"{key}_low": line.ci_low, f"{key}_high": line.ci_high}
        return numbers


class Listener:
    """Stands where all libraries look for a proxy, and keeps what they wanted to send."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.heard.append(connection.recv(1000))
            connection.close()

    def close(self) -> None:
        self._socket.close()


def environment(folder: Path) -> dict[str, str]:
    """All trackers on this machine alone, each in a folder."""
    return {
        "TRACKIO_DIR": str(folder / "trackio"),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    if not INSTALLED:
        pytest.skip("no tracker is installed")
    folder = tmp_path_factory.mktemp("logged")
    listener = Listener()
    with pytest.MonkeyPatch.context() as patch:
        # with one of these mlflow sends nothing anyway
        for name in ("CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST"):
            patch.delenv(name, raising=False)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            patch.setenv(name, listener.address)
        words = "--dims 256,64 --precisions int8 --subsets en,de --limit 20 --log".split()
        done = process(
            *words,
            ",".join(INSTALLED),
            cwd=folder,
            module="evals.mrl_sweep",
            **environment(folder),
        )
    listener.close()
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("results/runs/*/*/*")
    return Logged(folder, done, read_run(path), listener.heard)


def test_nobody_is_phoned(logged):
    assert logged.phoned == []


def test_stdout_holds_the_numbers_and_nothing_of_a_tracker(logged):
    assert not set(INSTALLED) & set(logged.done.stdout.lower().split())
    for name in INSTALLED:
        assert f"to {name}: 4 runs, " in logged.done.stderr
    lines = logged.done.stderr.splitlines()
    assert {line.split()[0] for line in lines} == {"scenes", "wrote", "logged"}


@needs["mlflow"]
def test_mlflow_has_parameters_metrics_figures_and_the_record(logged):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{logged.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("jina-clip-evals")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    by_variant = {(r.data.params["dimension"], r.data.params["precision"]): r for r in runs}
    assert set(by_variant) == {(d, p) for d in ("256", "64") for p in ("float32", "int8")}
    for (dim, precision), run in by_variant.items():
        numbers = {
            key.replace("@", "_at_"): value
            for key, value in logged.expected(int(dim), precision).items()
        }
        assert numbers.items() <= run.data.metrics.items()
        assert run.data.params["model"] == "tiny"
        assert len(run.data.params["weights"]) == WEIGHTS
        assert run.data.params["data/de"] == logged.run.manifest.data["de"].content
        assert run.data.tags["group"] == logged.run.path.name
    widest = by_variant["256", "float32"].info.run_id
    kept = Path(client.download_artifacts(widest, "record", str(logged.folder)))
    assert bytes_by_name(kept) == bytes_by_name(logged.run.path)
    assert len(client.list_artifacts(widest, "figures")) == PNGS
    assert client.list_artifacts(by_variant["64", "int8"].info.run_id) == []


@needs["trackio"]
def test_trackio_has_parameters_metrics_figures_and_the_record(logged, tmp_path):
    # a process of its own: trackio reads its folder's name when it is imported
    code = """
import json, sys, trackio
from trackio.sqlite_storage import SQLiteStorage
project, target = "jina-clip-evals", sys.argv[1]
runs = []
for run in trackio.Api().runs(project):
    rows = SQLiteStorage.get_logs(project, run.name, run_id=run.id)
    runs.append({"name": run.name, "config": run.config, "metrics": rows})
reader = trackio.init(project=project, name="reader", embed=False)
folder = trackio.use_artifact(sys.argv[2] + ":latest").download(target)
trackio.finish()
print("RUNS" + json.dumps(runs))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "record"), logged.run.path.name],
        env={**os.environ, **environment(logged.folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    runs = json.loads(done.stdout.partition("RUNS")[2])
    assert len(runs) == 4
    pictures = 0
    for run in runs:
        config, (metrics,) = run["config"], run["metrics"]
        numbers = logged.expected(config["dimension"], config["precision"])
        assert numbers.items() <= metrics.items()
        assert (config["model"], len(config["weights"])) == ("tiny", WEIGHTS)
        assert config["data/de"] == logged.run.manifest.data["de"].content
        images = [value for key, value in metrics.items() if key.startswith("figures/")]
        pictures += len(images)
        for image in images:
            assert (logged.folder / "trackio" / "media" / image["file_path"]).is_file()
    assert pictures == PNGS
    assert bytes_by_name(tmp_path / "record") == bytes_by_name(logged.run.path)


@needs["wandb"]
def test_the_offline_file_of_wandb_has_parameters_metrics_figures_and_the_record(logged):
    runs = [stored(path) for path in logged.folder.glob("wandb/offline-run-*/*.wandb")]
    assert len(runs) == 4
    pictures, artifacts = 0, []
    for run in runs:
        numbers = logged.expected(run.config["dimension"], run.config["precision"])
        assert numbers.items() <= run.metrics.items()
        assert (run.config["model"], len(run.config["weights"])) == ("tiny", WEIGHTS)
        assert run.config["data/de"] == logged.run.manifest.data["de"].content
        assert run.exit_code == 0
        pictures += sum(key.startswith("figures/") for key in run.metrics)
        artifacts += run.artifacts
    assert pictures == PNGS
    (artifact,) = artifacts
    assert artifact["name"] == logged.run.path.name
    sizes = {name: len(data) for name, data in bytes_by_name(logged.run.path).items()}
    assert artifact["sizes"] == sizes


class Stored(NamedTuple):
    """What an offline run of wandb holds."""

    config: dict
    metrics: dict
    artifacts: list
    exit_code: int


def stored(file: Path) -> Stored:
    """The messages of a .wandb file, parsed by wandb's own description of them.

    The file is a log of LevelDB's form: a header of 7 bytes, then blocks of 32 KiB with parts of
    messages, each behind its checksum, its length and its kind (whole, first, middle, last).
    """
    from wandb.proto.wandb_internal_pb2 import Record

    data = file.read_bytes()
    assert data[:4] == b":W&B"
    result = Stored({}, {}, [], -1)
    place, message = 7, b""
    while place < len(data):
        rest_of_block = 32768 - place % 32768
        if rest_of_block < 7:
            place += rest_of_block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        message += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind not in (1, 4):
            continue
        record, message = Record.FromString(message), b""
        for update in record.run.config.update:
            result.config[update.key] = json.loads(update.value_json)
        for item in record.history.item:
            # of an image there are several items below its name
            result.metrics[item.key or item.nested_key[0]] = json.loads(item.value_json)
        artifact = record.request.log_artifact.artifact
        if artifact.name or record.artifact.name:
            artifact = artifact if artifact.name else record.artifact
            sizes = {entry.path: entry.size for entry in artifact.manifest.contents}
            result.artifacts.append({"name": artifact.name, "sizes": sizes})
        if record.HasField("exit"):
            result = result._replace(exit_code=record.exit.exit_code)
    return result


def bytes_by_name(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# Trackers that fail


def logged_again(tracker: str, folder: Path, record: Path = BASELINE, **settings: str) -> Done:
    return process(
        record, "--log", tracker, cwd=folder, module="evals.track", **environment(folder) | settings
    )


@needs["mlflow"]
def test_a_server_of_mlflow_that_is_down_ends_with_5_and_the_command_for_later(tmp_path):
    down = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = logged_again("mlflow", tmp_path, **down)
    assert done.returncode == 5
    assert "Connection refused" in done.stderr and "python -m evals.track" in done.stderr


@needs["mlflow"]
def test_mlflow_takes_more_metrics_than_fit_one_of_its_batches(tmp_path):
    import mlflow

    lines = [records.line("R@1", number / 1500, subset=f"l{number}") for number in range(1500)]
    done = logged_again("mlflow", tmp_path, records.write(tmp_path / "runs", lines))
    assert done.returncode == 0, done.stderr
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("jina-clip-evals").experiment_id])
    assert sum(name.startswith("l") for name in run.data.metrics) == 1500
    assert run.data.metrics["l1499/t2i/R_at_1"] == 1499 / 1500


@needs["trackio"]
def test_what_trackio_only_warns_of_is_a_failure(tmp_path):
    # its database cannot be opened: it would drop all that is logged, and go on
    (tmp_path / "trackio" / "jina-clip-evals.db").mkdir(parents=True)
    done = logged_again("trackio", tmp_path)
    assert done.returncode == 5
    assert "trackio: " in done.stderr and "python -m evals.track" in done.stderr


@needs["wandb"]
def test_wandb_without_a_login_is_refused_at_once_and_asks_nobody(tmp_path):
    online = {"WANDB_MODE": "online", "HOME": str(tmp_path), "WANDB_API_KEY": ""}
    done = logged_again("wandb", tmp_path, **online)
    assert done.returncode == 5
    assert "nobody is logged in. Run: wandb login" in done.stderr
