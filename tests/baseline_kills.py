"""Kills processes that set a baseline, and checks that it is the old one or the new one, as a whole.

python -m tests.baseline_kills FOLDER [--kills 300] [--seed 1]

FOLDER/a and FOLDER/b hold the two sets of records. Three things happen, each to real processes:
kills at random moments, an end at each step that touches the disk, and many moves at once.
"""

import argparse
import itertools
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from evals.records.record import Run, list_runs, read_run
from evals.regress import baselines, moves

NAME = "ci"
STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")  # audit events


class Check:
    """A baseline that is set to records `a` and `b` in turn."""

    def __init__(self, folder: Path) -> None:
        baselines.BASELINES = folder / "baselines"
        self.folder = baselines.BASELINES / NAME
        self.sets = [[read_run(path) for path in list_runs(folder / name)] for name in "ab"]

    def set(self, which: int) -> None:
        moves.set_baseline(NAME, self.sets[which], "ab"[which])

    def state(self) -> int:
        """Which of the two sets the baseline is; an AssertionError when it is neither."""
        names = {run.path.name for run in baselines.read_baseline(NAME)}
        lines = baselines.history(self.folder)
        last = {line["new"] for line in lines[-len(self.sets[0]) :]}
        assert names == last, f"records {names}, and the history ends with {last}"
        return [{run.path.name for run in runs} for runs in self.sets].index(names)

    def assert_clean(self) -> None:
        """Nothing lies in the baseline but what its index names."""
        index = baselines.read_index(self.folder)
        there = {str(path.relative_to(self.folder)) for path in self.folder.glob("*/*/*")}
        assert there == set(index.records), there ^ set(index.records)
        assert not list(self.folder.rglob("*.part")), list(self.folder.rglob("*.part"))
        lines = (self.folder / baselines.HISTORY).read_bytes().count(b"\n")
        assert lines == index.history, f"{lines} lines, {index.history} of them true"


def kill_at_random(check: Check, kills: int, seed: int) -> None:
    """Processes that move the baseline on and on, killed one after the other."""
    rng = random.Random(seed)
    start = time.monotonic()
    check.set(0)
    took = time.monotonic() - start
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            for which in itertools.cycle((1, 0)):
                check.set(which)
        time.sleep(rng.uniform(0, 3 * took))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        check.set(1 - check.state())
        check.assert_clean()


def end_at_each_step(check: Check) -> int:
    """Ends a process before its n-th step on the disk, for every n; returns how many there are."""
    os.fsync = lambda descriptor: None  # a process that ends loses nothing that the system has
    for step in itertools.count(1):
        check.set(0)
        child = os.fork()
        if child == 0:
            sys.addaudithook(_ending(step, str(check.folder)))
            check.set(1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9), code
        state = check.state()
        if code == 0:
            assert state == 1
            return step - 1
        check.set(1 - state)
        check.assert_clean()
    raise AssertionError("never reached")


def _ending(step: int, folder: str):
    seen = itertools.count(1)

    def hook(event: str, arguments: tuple) -> None:
        if event in STEPS and str(arguments[0]).startswith(folder) and next(seen) == step:
            os._exit(9)

    return hook


def move_at_once(check: Check, runs: list[Run]) -> None:
    """One process per record, all at once: no record and no line of the history is lost."""
    children = []
    gate, opened = os.pipe()
    for run in runs:
        child = os.fork()
        if child == 0:
            os.close(opened)
            os.read(gate, 1)  # until the parent closes its end
            moves.set_baseline("many", [run], run.path.name)
            os._exit(0)
        children.append(child)
    os.close(opened)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    names = sorted(run.path.name for run in runs)
    folder = baselines.BASELINES / "many"
    assert sorted(run.path.name for run in baselines.read_baseline("many")) == names
    assert sorted(line["why"] for line in baselines.history(folder)) == names


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    check = Check(arguments.folder)
    kill_at_random(check, arguments.kills, arguments.seed)
    move_at_once(check, check.sets[0])
    steps = end_at_each_step(check)
    print(json.dumps({"kills": arguments.kills, "seed": arguments.seed, "steps": steps}))


if __name__ == "__main__":
    main()
