"""A Ray cluster of four nodes, of which some are lost and others come: `make test-scale` runs these.

EVALS_RAY_KILLS is the number of kills of workers, nodes and the command, from EVALS_SEED on.
"""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api_service import Reply, good
from tests.cluster_kills import Killer
from tests.commands import ROOT, process
from tests.faults import SEED
from tests.test_cluster import measured
from tests.test_encode import bytes_of

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("EVALS_RAY_KILLS", "20"))
CASE = 8  # kills while one store is made, of 22 shards
NODES = 4
TEXTS, LENGTH = 120, 12_000  # eleven texts of so many characters make a shard
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.fixture
def cluster() -> Iterator:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    for _ in range(NODES - 1):
        made.add_node(**NODE)
    yield made
    made.shutdown()


@pytest.fixture
def slow_api(service, tmp_path) -> tuple[str, ...]:
    """A command by a model that takes its time; the texts that it was asked for are with the service."""

    def answer(request: dict) -> Reply:
        time.sleep(0.4)
        return good(request)

    service.answer = answer
    lines = [
        f"{number} {'a' * LENGTH}\t{number} {'b' * LENGTH}\t{number / TEXTS}"
        for number in range(TEXTS)
    ]
    file = tmp_path / "pairs.tsv"
    file.write_text("\n".join(["sentence1\tsentence2\tscore", *lines]))
    return (f"sts:{file}", "--model", f"api:{service.spec()}", "--results", "runs")


def asked(service) -> Counter:
    """How often the service was asked for each text."""
    return Counter(str(item)[:20] for request in service.requests for item in request["input"])


def started(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "evals.run", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(condition: Callable[[], object], running: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def shards(folder: Path) -> int:
    return len(list(folder.glob("store/*/*.safetensors")))


def test_four_nodes_make_the_store_and_the_record_of_one_process(cluster, tmp_path):
    work = ("scenes", "--model", "tiny", "--store", "store", "--results", "runs")
    for name, option in (("alone", ()), ("nodes", ("--cluster", cluster.address))):
        (tmp_path / name).mkdir()
        done = process(*work, *option, cwd=tmp_path / name)
        assert done.returncode == 0, done.stderr
    assert measured(tmp_path / "nodes") == measured(tmp_path / "alone") != []
    assert bytes_of(tmp_path / "nodes/store") == bytes_of(tmp_path / "alone/store")


def test_a_node_that_is_killed_and_one_that_comes_change_nothing(
    cluster, slow_api, service, tmp_path
):
    work = (*slow_api, "--store", "store")
    (tmp_path / "alone").mkdir()
    done = process(*work, cwd=tmp_path / "alone")
    assert done.returncode == 0, done.stderr
    service.requests.clear()
    folder = tmp_path / "nodes"
    running = started(folder, *work, "--cluster", cluster.address)
    until(lambda: shards(folder) >= 3, running)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    cluster.add_node(**NODE)
    _, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    assert "is lost; what it was at is encoded again" in err
    assert measured(folder) == measured(tmp_path / "alone") != []
    assert bytes_of(folder / "store") == bytes_of(tmp_path / "alone/store")
    assert max(asked(service).values()) <= 2 and len(asked(service)) == 2 * TEXTS


def test_a_command_that_is_killed_goes_on_when_it_is_started_again(
    cluster, slow_api, service, tmp_path
):
    work = (*slow_api, "--store", "store", "--cluster", cluster.address)
    running = started(tmp_path / "nodes", *work)
    until(lambda: shards(tmp_path / "nodes") >= 3, running)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    again = started(tmp_path / "nodes", *work)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert max(asked(service).values()) <= 2 and len(asked(service)) == 2 * TEXTS


def test_ctrl_c_ends_the_workers_and_says_that_the_command_goes_on(cluster, slow_api, tmp_path):
    folder = tmp_path / "nodes"
    running = started(folder, *slow_api, "--store", "store", "--cluster", cluster.address)
    until(lambda: shards(folder) >= 1, running)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130 and "Traceback" not in err
    assert "the same command goes on from there" in err


def test_kills_of_workers_nodes_and_the_command_leave_the_store_of_an_undisturbed_run(
    cluster, slow_api, service, tmp_path, capsys
):
    """Each costs the shards of the workers that die of it, and nothing that was stored."""
    work = (*slow_api, "--store", "store")
    (tmp_path / "alone").mkdir()
    done = process(*work, cwd=tmp_path / "alone")
    assert done.returncode == 0, done.stderr
    expected, once = bytes_of(tmp_path / "alone/store"), asked(service)
    kills: Counter[str] = Counter()
    repeated = starts = 0
    since = time.monotonic()
    for case in itertools.count(SEED):
        service.requests.clear()
        folder = tmp_path / f"case {case}"
        killer = Killer(
            cluster,
            lambda folder=folder: started(folder, *work, "--cluster", cluster.address),
            lambda folder=folder: shards(folder),
            NODE,
        )
        killer.run(random.Random(case), min(CASE, KILLS - kills.total()))
        assert bytes_of(folder / "store") == expected, f"seed {case}"
        assert measured(folder)[-2:] == measured(tmp_path / "alone"), f"seed {case}"
        again = asked(service) - once
        # The first text of a shard stands for it.
        begun_again = sum(count for text, count in again.items() if text in heads(service))
        dead = killer.kills["worker"] + killer.kills["node"] + NODES * killer.kills["command"]
        assert begun_again <= dead, f"seed {case}: {begun_again} after {killer.kills}"
        kills += killer.kills
        repeated, starts = repeated + begun_again, starts + killer.starts
        if kills.total() >= KILLS:
            break
    minutes = (time.monotonic() - since) / 60
    with capsys.disabled():
        sys.stdout.write(
            f"\nseeds {SEED} to {case}: {dict(kills)} killed, {starts} starts of the command, "
            f"{repeated} shards begun again, {minutes:.1f} minutes; stores equal to the byte\n"
        )


def heads(service) -> set[str]:
    """The first text of each request."""
    return {str(request["input"][0])[:20] for request in service.requests}
