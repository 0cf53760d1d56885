"""Many processes that sleep instead of encoding, some of them killed: what `benchmarks.scale` says of balance and lost work."""

import heapq
import logging
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evals.embeddings.keys import key_of
from evals.embeddings.store import Store
from evals.evaluation.encoding_plan import Part, PlannedSide, read_plan, shards_of_part, write_plan
from evals.schema import Side

ROWS = 4  # of a shard: what is measured is everything else


class Outcome(NamedTuple):
    """What became of a job.

    `repeated` passes were begun beside one per shard, `missing` items have no row, and `spread` are
    the fewest and the most shards of a worker that lived from the beginning.
    """

    seconds: float
    kills: int
    repeated: int
    missing: int
    spread: tuple[int, int]


class SleepingEncoder:
    """Rows of zeros after a pause; every pass is noted in a file, by who began it."""

    name, dim, fingerprint = "sleeping", 8, {"weights": "none"}

    def __init__(self, notes: Path, pause: float) -> None:
        self.notes, self.pause = notes, pause

    def encode(self, side: Side) -> np.ndarray:
        # A line is written as a whole, by however many processes.
        with self.notes.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(self.pause)
        return np.zeros((len(side), self.dim), np.float32)


class Job:
    """What the processes share: a store, a side, and a plan where there is one."""

    def __init__(self, folder: Path, workers: int, shards: int, pause: float) -> None:
        self.workers, self.plan = workers, folder / "plan.json"
        self.notes, self.pause = folder / "notes", pause
        self.store = Store(folder / "store", shard_rows=ROWS)
        names = [f"item {number}" for number in range(shards * ROWS)]
        self.side = Side("text", names, names, names)

    @property
    def encoder(self) -> SleepingEncoder:
        """That of every process."""
        return SleepingEncoder(self.notes, self.pause)

    def make_plan(self) -> None:
        """All shards, as `evals.encode --make-plan` writes them."""
        shards = [
            [(int(positions[0]), int(positions[-1]) + 1)]
            for positions in self.store.shards(self.encoder, self.side)
        ]
        key = key_of(self.encoder, self.side).name
        side = PlannedSide(
            benchmark="simulated",
            model="sleeping",
            kind="text",
            key=key,
            content="-",
            items=len(self.side),
            shards=shards,
        )
        write_plan(self.plan, [side])

    def work(self, number: int) -> None:
        """What worker `number` does: its part of the plan, or what nobody else is at."""
        logging.disable(logging.WARNING)  # that they wait for each other is how it is meant
        if self.plan.exists():
            parts = shards_of_part(read_plan(self.plan), Part(number + 1, self.workers))
            [shards] = parts.values()
        else:
            shards = self.store.shards(self.encoder, self.side)
        self.store.encode_shards(self.encoder, self.side, shards)


def preempted(
    way: str, folder: Path, *, workers: int, shards: int, pause: float, kills: int
) -> Outcome:
    """Start so many processes, kill some at even intervals, and start another for each that died.

    `way` is "claims", where all take what nobody is at, or "plan", where each has its part.
    """
    folder.mkdir()
    job = Job(folder, workers, shards, pause)
    if way == "plan":
        job.make_plan()
    # A fork costs milliseconds; 64 processes that import the store, minutes.
    context = multiprocessing.get_context("fork")

    def started(number: int) -> "multiprocessing.context.ForkProcess":
        process = context.Process(target=job.work, args=(number,))
        process.start()
        return process

    rng = random.Random(0)
    since = time.monotonic()
    running = {number: started(number) for number in range(workers)}
    killed: list[int] = []  # the numbers of workers
    for _ in range(kills):
        # Over the first half of the job: those that follow have something left to do.
        time.sleep(shards * pause / workers / 2 / kills)
        number = rng.randrange(workers)
        victim = running[number]
        victim.kill()
        victim.join()
        if victim.exitcode != -signal.SIGKILL:
            continue
        killed.append(number)
        running[number] = started(number)
    for process in running.values():
        process.join()
    seconds = time.monotonic() - since
    passes = Counter(job.notes.read_text().split())
    lived = [
        passes[str(process.pid)] for number, process in running.items() if number not in killed
    ]
    missing = len(job.store.missing(job.encoder, job.side))
    return Outcome(seconds, len(killed), passes.total() - shards, missing, (min(lived), max(lived)))


def twice_without_claims(machines: int, shards: int, *, seed: int) -> int:
    """How many shards are encoded twice where nobody knows what others are at, as in a bucket.

    Each machine goes through all shards in an order of its own, and leaves out those that are
    stored by the time it comes to them. A shard takes 0.9 to 1.1 units of time.
    """
    rng = random.Random(seed)
    orders = [rng.sample(range(shards), shards) for _ in range(machines)]
    places = [0] * machines
    stored: set[int] = set()
    begun = 0
    # When each machine is done with the shard that it is at, if any.
    events: list[tuple[float, int, int | None]] = [(rng.random(), i, None) for i in range(machines)]
    heapq.heapify(events)
    while events:
        now, machine, shard = heapq.heappop(events)
        if shard is not None:
            stored.add(shard)
        order = orders[machine]
        while places[machine] < shards and order[places[machine]] in stored:
            places[machine] += 1
        if places[machine] == shards:
            continue
        begun += 1
        took = rng.uniform(0.9, 1.1)
        heapq.heappush(events, (now + took, machine, order[places[machine]]))
        places[machine] += 1
    return begun - shards
