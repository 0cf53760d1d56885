"""Several processes at one store, one folder of records, one baseline and one site at the same moment, some killed.

python -m tests.faults.sharing FOLDER [--rounds 100] [--seed 0]

A process of its own, so that what is forked holds no thread of a library. Prints one JSON object of counts.
"""

import argparse
import json
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from evals.dashboard.history import read_history
from evals.dashboard.site import Verdicts, build
from evals.embeddings.store import Store
from evals.records.record import list_runs, read_run
from evals.regress import baselines, moves
from tests import records
from tests.faults import leftovers
from tests.faults.kills import forked
from tests.faults.works import Embeddings, fresh
from tests.regress_records import record, scores
from tests.toys import HashEncoder

PROCESSES = range(2, 9)


def share_a_store(root: Path, rng: random.Random, processes: int, killed: int) -> None:
    """Each embeds texts of its own choice and order, many of them those of others; the first of them are killed."""
    work = Embeddings(texts=60, shard_rows=4)
    fresh(work, root / "store")
    stored = work.committed(root / "store")
    orders = [rng.sample(range(60), rng.randint(20, 60)) for _ in range(processes)]

    def embed(number: int) -> None:
        side = work.side.select(orders[number])
        result = Store(root / "store", shard_rows=4).embed(HashEncoder(work.dim), side)
        np.testing.assert_array_equal(result.rows, work.rows[orders[number]])
        (root / f"encoded-{number}").write_text(str(result.encoded))

    children = at_once([lambda number=number: embed(number) for number in range(processes)])
    time.sleep(rng.uniform(0, 0.1) if killed else 0)
    for child in children[:killed]:
        os.kill(child, signal.SIGKILL)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    assert not any(statuses[killed:]), statuses
    work.whole(root / "store")
    if not killed:
        encoded = sum(int((root / f"encoded-{number}").read_text()) for number in range(processes))
        assert encoded == len({index for order in orders for index in order} - set(range(stored)))
    work.act(root / "store")
    work.done(root / "store")


def share_records(root: Path, processes: int) -> None:
    """Each writes a record of one model in the same second, and makes it part of the baseline."""
    baselines.BASELINES = root / "baselines"

    def write(number: int) -> None:
        path = record(root / "runs", {"en": [scores([0] * (20 + 2 * number))]})
        moves.set_baseline("shared", [read_run(path)], f"process {number}")

    statuses = [
        os.waitpid(child, 0)[1]
        for child in at_once([lambda number=number: write(number) for number in range(processes)])
    ]
    assert not any(statuses), statuses
    runs = [read_run(path) for path in list_runs(root / "runs")]
    assert len(runs) == processes
    reasons = [line["why"] for line in baselines.history(baselines.BASELINES / "shared")]
    assert sorted(reasons) == [f"process {number}" for number in range(processes)]
    assert len(baselines.read_baseline("shared")) == 1
    assert not leftovers(root)


def share_a_site(root: Path, processes: int, killed: int, rng: random.Random) -> None:
    """Each builds the site of its own record; one of them is there, to the byte."""

    def put(number: int, out: Path) -> None:
        runs = root / f"runs-{number}"
        build(read_history(runs), Verdicts(), out)

    for number in range(processes):
        line = [records.line(value=number / 10)]
        records.write(root / f"runs-{number}", line, records.queries(4), model=f"m{number}")
        put(number, root / f"alone-{number}")
    acts = [lambda number=number: put(number, root / "site") for number in range(processes)]
    children = at_once(acts)
    time.sleep(rng.uniform(0, 0.1) if killed else 0)
    for child in children[:killed]:
        os.kill(child, signal.SIGKILL)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    assert not any(statuses[killed:]), statuses
    # the last one may have been killed between its renames
    site = root / ("site" if (root / "site").exists() else ".site.old.part")
    assert bytes_of(site) in [bytes_of(root / f"alone-{number}") for number in range(processes)]
    put(0, root / "site")
    assert not leftovers(root) and not (root / ".site.lock").exists()


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def at_once(acts: Sequence[Callable[[], None]]) -> list[int]:
    """A child per act, which all begin when the last is there."""
    gate, opened = os.pipe()

    def wait_and(act: Callable[[], None]) -> None:
        os.close(opened)
        os.read(gate, 1)  # until the parent closes its end
        act()

    children = [forked(lambda act=act: wait_and(act)) for act in acts]
    os.close(opened)
    os.close(gate)
    return children


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    counts = {"processes": 0, "killed": 0}
    for case in range(arguments.seed, arguments.seed + arguments.rounds):
        rng = random.Random(case)
        root = arguments.folder / str(case)
        root.mkdir()
        processes = rng.choice(PROCESSES)
        killed = rng.randint(1, processes - 1) if case % 2 else 0
        try:
            share_a_store(root, rng, processes, killed)
            share_records(root, processes)
            share_a_site(root, processes, killed, rng)
        except AssertionError as error:
            raise AssertionError(f"seed {case}: {error}") from error
        counts["processes"] += 3 * processes
        counts["killed"] += 2 * killed
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
