"""Kills processes that write, at random moments and at each step on the disk, and checks what they leave.

python -m tests.faults.kills FOLDER WORK [--kills 1000] [--seed 0] [--stride 1]    WORK: one of tests.faults.works

A process of its own, so that what is forked holds no thread of a library. Prints one JSON object of counts.
"""

import argparse
import itertools
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from tests.faults.works import WORKS, Work, fresh

STEPS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir")  # audit events
ENDED = 9  # exit code of a process that ends itself at a step
MOST = 3  # kills, one after the other, before the work may end


def kill_at_random(work: Work, root: Path, *, kills: int, seed: int) -> dict[str, int]:
    """Kill so many processes, some of them heirs of killed ones; counts what they had done."""
    fresh(work, root)
    start = time.monotonic()
    work.act(root)
    took = time.monotonic() - start
    counts = {"kills": 0, "ended": 0}
    for case in itertools.count(seed):
        rng = random.Random(case)
        fresh(work, root)
        for _ in range(rng.randint(1, MOST)):
            child = forked(lambda: work.act(root))
            time.sleep(rng.uniform(0, 1.1 * took))
            os.kill(child, signal.SIGKILL)
            killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
            counts["kills" if killed else "ended"] += 1
            _check(f"seed {case}", work.whole, root)
        work.act(root)
        _check(f"seed {case}", work.done, root)
        if counts["kills"] >= kills:
            return counts
    raise AssertionError("never reached")


def end_at_each_step(work: Work, root: Path, *, first: int, stride: int) -> dict[str, int]:
    """End a process before its n-th step on the disk, for each n or for one in `stride`."""
    for tried, step in enumerate(itertools.count(first, stride)):
        fresh(work, root)
        child = forked(lambda: _act_until(work, root, step))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, ENDED), f"step {step}: exit code {code}"
        _check(f"step {step}", work.whole, root)
        work.act(root)
        _check(f"step {step}", work.done, root)
        if code == 0:
            return {"steps": tried}
    raise AssertionError("never reached")


def forked(act: Callable[[], None]) -> int:
    """The number of a child that acts and ends, with 1 and a traceback where that fails."""
    child = os.fork()
    if child:
        return child
    code = 1
    # Forks share tqdm's lock: a child killed while it draws a bar would leave it locked for ever.
    tqdm.set_lock(threading.RLock())
    try:
        act()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _act_until(work: Work, root: Path, step: int) -> None:
    seen = itertools.count(1)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in STEPS and str(arguments[0]).startswith(str(root)) and next(seen) == step:
            os._exit(ENDED)

    sys.addaudithook(hook)
    work.act(root)


def _check(where: str, check: Callable[[Path], None], root: Path) -> None:
    try:
        check(root)
    except Exception as error:
        raise AssertionError(f"{where}: {error}") from error


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stride", type=int, default=1)
    arguments = parser.parse_args()
    work, root = WORKS[arguments.work], arguments.folder / "root"
    counts = kill_at_random(work, root, kills=arguments.kills, seed=arguments.seed)
    first = 1 + arguments.seed % arguments.stride
    counts |= end_at_each_step(work, root, first=first, stride=arguments.stride)
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
