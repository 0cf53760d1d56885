"""Processes that are killed, and processes at one place at once: what is committed is whole, and the work goes on from it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import SEED, rounds

ROOT = Path(__file__).parents[2]
# Kills in `make test` and in `make faults`, there in parts that run side by side, and how many steps
# on the disk lie between those before which a process ends in `make test`.
KILLS = {
    "file": (8, 100, 1),
    "record": (8, 300, 1),
    "embeddings": (20, 1000, 1),
    "baseline": (6, 300, 29),
    "site": (6, 300, 37),
    "prepared": (6, 100, 11),
}
PART = 100


def counts_of(module: str, *arguments: object) -> dict[str, int]:
    """What a script of this folder counts, which fails where a promise is broken."""
    command = [sys.executable, "-m", f"tests.faults.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def parts() -> list[tuple[str, int, int, int]]:
    """A work, the first seed, the number of kills and the stride of each part."""
    listed = []
    for number, (work, (few, every, stride)) in enumerate(KILLS.items()):
        kills = rounds(few, every)
        for start in range(0, kills, PART):
            seed = SEED + 1_000_000 * number + 1_000 * start
            # the first part ends at each step
            most = rounds(stride, 1 if start == 0 else 100)
            listed.append((work, seed, min(PART, kills - start), most))
    return listed


@pytest.mark.parametrize(("work", "seed", "kills", "stride"), parts())
def test_a_killed_process_leaves_what_the_next_goes_on_from(
    work, seed, kills, stride, tmp_path, record_property
):
    counts = counts_of(
        "kills", tmp_path, work, "--kills", kills, "--seed", seed, "--stride", stride
    )
    assert counts["kills"] >= kills
    record_property(f"faults: kills, {work}", counts["kills"])
    record_property("faults: ends before a step", counts["steps"])


@pytest.mark.parametrize("part", range(rounds(1, 10)))
def test_processes_at_one_place_at_once_lose_and_repeat_nothing(part, tmp_path, record_property):
    counts = counts_of("sharing", tmp_path, "--rounds", rounds(4, 20), "--seed", SEED + 1000 * part)
    assert counts["killed"] > 0
    record_property("faults: processes at one place", counts["processes"])


@pytest.mark.parametrize("part", range(rounds(1, 4)))
def test_killed_workers_cost_a_shard_each_and_no_bit(part, tmp_path, record_property):
    seed = SEED + 1000 * part
    counts = counts_of("worker_kills", tmp_path, "--kills", rounds(12, 50), "--seed", seed)
    record_property("faults: kills, workers", counts["kills"])


KILLED_AT_A_BAR = """
import os, signal
from tqdm import tqdm
from tests.faults.kills import forked

def draw():
    tqdm.get_lock().acquire()
    os.kill(os.getpid(), signal.SIGKILL)

tqdm.get_lock()
os.waitpid(forked(draw), 0)
tqdm.get_lock().acquire()
"""


def test_a_child_killed_while_it_draws_a_bar_leaves_its_parent_free():
    # Of the harness: a run of it hung for ever here, once in some thousands of kills.
    subprocess.run([sys.executable, "-c", KILLED_AT_A_BAR], check=True, timeout=60)
