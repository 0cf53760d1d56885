"""`--cluster`: workers on the nodes of a Ray cluster, which may be lost and come, and a run that is the same.

`make test-scale` runs those with several nodes.
"""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from evals.config.models import resolve_model
from evals.evaluation import cluster as ray_cluster
from evals.evaluation import ray_nodes
from evals.evaluation.dealing import Dealing
from evals.evaluation.nodes import Seats, reads, seats_of
from evals.evaluation.worker import Job, Worker
from evals.progress import SILENT
from evals.schema import ConfigError, MissingError
from evals.settings import Settings
from tests.commands import ROOT, run, until
from tests.test_encode import bytes_of

SCENES = ("scenes", "--model", "tiny", "--store", "store")
PART = (*SCENES, "--subsets", "en", "--limit", "40")
TEXTS, LENGTH = 240, 6000  # 22 texts of so many characters make a shard


def measured(folder: Path) -> list[bytes]:
    """What stands in the record but for times."""
    files = [file for name in ("metrics.jsonl", "queries.parquet") for file in folder.rglob(name)]
    return [file.read_bytes() for file in sorted(files)]


def of_ray(pid: int) -> list[str]:
    """What a command with this number has left of its own cluster: processes of Ray, and their folder."""
    mark = f"evals-ray-{pid}-"
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True
    )
    processes = [line for line in listed.stdout.splitlines() if mark in line]
    return processes + [str(folder) for folder in Path("/tmp").glob(f"{mark}*")]


# What is known without a cluster.


def test_a_cluster_whose_room_is_taken_by_others_is_not_waited_for_without_end(monkeypatch):
    """The workers wait for a GPU or CPUs that another job holds, and Ray says nothing."""
    silent = SimpleNamespace(nodes=list, wait=lambda references, **options: ([], references))
    monkeypatch.setitem(sys.modules, "ray", silent)
    monkeypatch.setattr(ray_cluster, "PATIENCE", -1.0)
    pool = ray_cluster.Cluster("auto", ray_cluster.Shares(), Settings(), SILENT)
    pool.actors = [ray_cluster._Actor("node", None, starting=object())]
    job = Job(None, resolve_model("tiny"), {"device": "cpu"})  # type: ignore[arg-type]
    dealing = Dealing("tiny", [], [])
    monkeypatch.setattr(Dealing, "finished", False)
    with pytest.raises(MissingError, match="no node has a free CPU"):
        ray_cluster._Round(pool, job, dealing, lambda done, total: None).run()


@pytest.mark.parametrize(
    ("resources", "gpus", "seats"),
    [
        ({"CPU": 16, "GPU": 4}, 1.0, Seats(4, 4.0, 1.0)),
        ({"CPU": 16, "GPU": 2}, 0.5, Seats(4, 4.0, 0.5)),
        ({"CPU": 8, "GPU": 2}, 0.3, Seats(6, 1.0, 0.3)),  # three of a GPU, none of two
        ({"CPU": 8}, 1.0, Seats(0, 0.0, 1.0)),
        ({"GPU": 1}, 1.0, Seats(1, 0.0, 1.0)),
        ({"CPU": 16}, 0.0, Seats(4, 4.0, 0.0)),
        ({"CPU": 1}, 0.0, Seats(1, 1.0, 0.0)),
        ({}, 0.0, Seats(0, 0.0, 0.0)),  # a head that is to have no work
    ],
)
def test_a_node_has_room_for_a_worker_for_each_part_of_a_gpu_or_for_its_threads(
    resources, gpus, seats
):
    amounts = {name: float(amount) for name, amount in resources.items()}
    assert seats_of(amounts, gpus=gpus, threads=4) == seats


def test_a_node_sees_the_store_when_it_reads_what_was_written_there(tmp_path):
    probe = tmp_path / "probe"
    assert reads(str(probe), "text") == "No such file or directory"
    probe.write_text("text")
    assert reads(str(probe), "text") is None
    assert reads(str(probe), "of another run") == "another file is there"


def test_what_a_killed_command_left_of_its_question_is_swept_away(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_nodes, "_reasons", lambda nodes, probe, text: {})
    (tmp_path / ".probe-12345678.part").write_text("of a killed command")
    assert ray_nodes.blind_nodes([{}], tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_there", [True, False])
def test_a_node_that_is_lost_and_still_listed_is_left_out_and_no_blind_one(
    is_there, tmp_path, monkeypatch
):
    """Ray lists a node for half a minute after its death: a command that starts then goes on."""
    node = {"NodeID": "0123456789", "NodeManagerHostname": "host"}
    monkeypatch.setattr(ray_cluster, "is_there", lambda node: is_there)
    monkeypatch.setattr(ray_cluster, "blind_nodes", lambda nodes, store: {"host (012345)": "gone"})
    lines: list[str] = []
    monkeypatch.setattr(type(SILENT), "info", lambda self, message: lines.append(message))
    settings = Settings(store=tmp_path)
    pool = ray_cluster.Cluster("auto", ray_cluster.Shares(), settings, SILENT)
    job = Job(None, resolve_model("tiny"), {"device": "cpu"})  # type: ignore[arg-type]
    begun = ray_cluster._Round(pool, job, Dealing("tiny", [], []), lambda done, total: None)
    if is_there:
        with pytest.raises(ConfigError, match=r"1 of 1 nodes do not see .* \(gone\)"):
            begun._greet([node], first=True)
    else:
        begun._greet([node], first=True)
        assert lines == ["host (012345) is lost, and is left out"]


def test_a_worker_that_would_make_other_rows_says_how_they_would_differ(tmp_path):
    ref = resolve_model("tiny")
    job = Job(None, ref, {"device": "cuda", "gpu": "sm_90"})
    with pytest.raises(ConfigError, match=r"other rows .* device: cpu here, cuda there, dtype: "):
        next(Worker(Settings(store=tmp_path)).encode(job, []), None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cluster", "ray://head:10001"), "Start the command on a machine of the cluster"),
        (("--cluster", "head"), "give local, auto or HOST:PORT"),
        (("--gpus-per-worker", "0.5"), "--gpus-per-worker is for --cluster"),
        (("--cluster", "local", "--gpus-per-worker", "2"), "Give a number above 0 and up to 1"),
    ],
)
@pytest.mark.parametrize("module", ["evals.run", "evals.encode"])
def test_what_cannot_be_meant_is_refused(tmp_path, module, arguments, message):
    done = run(*PART, *arguments, cwd=tmp_path, module=module)
    assert done.returncode == 2 and message in done.stderr


def test_a_plan_and_a_cluster_do_not_go_together(tmp_path):
    done = run(*PART, "--cluster", "auto", "--make-plan", "p", cwd=tmp_path, module="evals.encode")
    assert done.returncode == 2 and "need no plan" in done.stderr


@pytest.mark.parametrize("module", ["evals.run", "evals.encode"])
def test_without_ray_the_extra_is_named(tmp_path, monkeypatch, module):
    monkeypatch.setattr("evals.evaluation.cluster.find_spec", lambda name: None)
    done = run(*PART, "--cluster", "local", cwd=tmp_path, module=module)
    assert done.returncode == 5 and "pip install 'jina-clip-evals[cluster]'" in done.stderr
    assert not (tmp_path / "store").exists()


def test_where_no_cluster_answers_that_is_said_at_once(tmp_path):
    pytest.importorskip("ray")
    done = run(*PART, "--cluster", "127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 5
    assert "no Ray cluster answers (Connection refused)" in done.stderr


def test_a_cluster_of_this_machine_makes_the_store_and_the_record_of_one_process(tmp_path):
    pytest.importorskip("ray")
    for name, cluster in (("alone", ()), ("cluster", ("--cluster", "local"))):
        folder = tmp_path / name
        folder.mkdir()
        command = [sys.executable, "-m", "evals.run", *PART, "--results", "runs", *cluster]
        running = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if cluster:
            until(lambda: len(of_ray(running.pid)) > 1, running)  # noqa: B023
        out, err = running.communicate(timeout=300)
        assert running.returncode == 0, err
        assert "Encoded now: 40 images and" in out
    assert measured(tmp_path / "cluster") == measured(tmp_path / "alone") != []
    assert bytes_of(tmp_path / "cluster/store") == bytes_of(tmp_path / "alone/store")
    assert "items stored; " in err
    # Others may have a cluster on this machine: only its own has its number.
    assert of_ray(running.pid) == []
