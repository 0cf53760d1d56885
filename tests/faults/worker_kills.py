"""Several processes encode one side, and some are killed: the store is that of undisturbed work to the byte.

python -m tests.faults.worker_kills FOLDER [--kills 200] [--seed 0]

A process of its own, so that what is forked holds no thread of a library. Prints one JSON object of counts.
"""

import argparse
import hashlib
import itertools
import json
import logging
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np

from evals.embeddings.store import Store
from evals.schema import Side
from tests.faults import leftovers
from tests.faults.kills import forked
from tests.toys import text_side

SHARDS, SHARD_ROWS = 14, 3
SIDE = text_side([f"text {number}" for number in range(SHARDS * SHARD_ROWS - 1)])
WORKERS = range(2, 6)


class PassEncoder:
    """Rows that depend on the whole pass, as last bits do; each pass is noted in a file."""

    name, dim, fingerprint = "passes", 4, {"weights": "toy"}

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def encode(self, side: Side) -> np.ndarray:
        digest = hashlib.sha256("".join(side.hashes).encode()).digest()
        # A line is written as a whole, by however many processes.
        with self.notes.open("a") as file:
            file.write(f"{side.ids[0]}\n")
        time.sleep(0.004)
        seeds = np.frombuffer(digest, np.uint8)[:4].astype(np.float32)
        return np.outer(np.arange(1, len(side) + 1, dtype=np.float32), seeds + 1)


def encode(root: Path) -> None:
    """What each of the processes does."""
    encoder = PassEncoder(root / "notes")
    store = Store(root / "store", shard_rows=SHARD_ROWS)
    store.encode_shards(encoder, SIDE, store.shards(encoder, SIDE))


def stored(root: Path) -> dict[str, bytes]:
    """The files of the store."""
    files = sorted(path for path in (root / "store").rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def passes(root: Path) -> int:
    """How many were begun, by all processes."""
    notes = root / "notes"
    return len(notes.read_text().splitlines()) if notes.exists() else 0


def kill_some(root: Path, rng: random.Random, took: float) -> int:
    """Start processes, kill some of them, start others in their place; the number of kills that hit."""
    children = [forked(lambda: encode(root)) for _ in range(rng.choice(WORKERS))]
    kills = 0
    for _ in range(rng.randint(1, len(children) + 1)):
        time.sleep(rng.uniform(0, took / 2))
        victim = children.pop(rng.randrange(len(children)))
        os.kill(victim, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(victim, 0)[1])
        if rng.random() < 0.5 or not children:
            children.append(forked(lambda: encode(root)))
    statuses = [os.waitpid(child, 0)[1] for child in children]
    assert not any(statuses), statuses
    return kills


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # that they wait for each other is how it is meant
    alone = arguments.folder / "alone"
    alone.mkdir()
    start = time.monotonic()
    encode(alone)
    took = time.monotonic() - start
    expected = stored(alone)
    assert passes(alone) == SHARDS
    counts = {"kills": 0, "repeated": 0}
    for case in itertools.count(arguments.seed):
        root = arguments.folder / "root"
        root.mkdir()
        kills = kill_some(root, random.Random(case), took)
        encode(root)  # sweeps what the last killed process left
        assert stored(root) == expected, f"seed {case}"
        assert not leftovers(root), f"seed {case}"
        repeated = passes(root) - SHARDS
        assert 0 <= repeated <= kills, f"seed {case}: {repeated} passes more, after {kills} kills"
        counts["kills"] += kills
        counts["repeated"] += repeated
        shutil.rmtree(root)
        if counts["kills"] >= arguments.kills:
            break
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
