"""Claims: several processes encode the items of one key, and each leaves to the others what they are at.

    <key>/.claim-<shard>.part   the digests of the items that a process encodes

Whoever claims items holds a lock (`flock`) on the file as long as it lives; the system releases it
however the process dies. So a claim costs no heartbeat, and none outlives its process. Claims only
save work: that each shard is committed once rests on `evals.files.put_if_absent`.

Shapes: m positions of a side.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from evals.embeddings.index import Digests, Index
from evals.embeddings.shards import name_of
from evals.files import PART, alone, held, named

Positions = Int[np.ndarray, "_"]

_PREFIX = ".claim-"
_LOCK = f".claims{PART}"


class Claim:
    """Some of the items of a side, which this process encodes until it releases them or dies."""

    def __init__(self, positions: Positions, holding: ExitStack) -> None:
        self.positions, self._holding = positions, holding

    def release(self) -> None:
        """Let others have the items; those that are stored by now, nobody wants."""
        self._holding.close()


class Taken(NamedTuple):
    """Positions of a shard: those that are ours now, and those that other processes are at.

    The rest is stored.
    """

    claim: Claim | None
    with_others: Positions


def claim_shard(
    index: Index, items: Sequence[str], digests: Digests, positions: Positions
) -> Taken:
    """Claim those of the `items` at `positions` of a side that are not stored and nobody has claimed.

    `digests` are those of the same items. The index is refreshed.
    """
    with alone(index.folder / _LOCK):
        # In this order: what is released meanwhile is stored by then.
        claimed = _claimed(index.folder)
        index.refresh()
        absent = index.find(digests).shard < 0
        is_claimed = np.array([key in claimed for key in _keys(digests)], bool)
        free = np.flatnonzero(absent & ~is_claimed)
        claim = None
        if len(free):
            # No two claims have an item in common, so no two have a name.
            name = name_of([items[i] for i in free.tolist()])
            file = index.folder / f"{_PREFIX}{name}{PART}"
            holding = ExitStack()
            holding.enter_context(_claim_file(file, b"".join(_keys(digests.select(free)))))
            claim = Claim(positions[free], holding)
    return Taken(claim, positions[absent & is_claimed])


def wait_for_one(folder: Path, digests: Digests) -> None:
    """Return when a process that has claimed one of the items is done with it, or dead."""
    wanted = set(_keys(digests))
    for file in _claim_files(folder):
        descriptor = _opened(file)
        if descriptor is None:
            continue
        try:
            if not wanted.isdisjoint(_read(descriptor)):
                # Until it is released: the system wakes us, there is nothing to poll.
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                return
        finally:
            os.close(descriptor)


@contextmanager
def _claim_file(file: Path, data: bytes) -> Iterator[None]:
    with held(file) as opened:
        try:
            with named(file):
                opened.truncate()
                opened.write(data)
                opened.flush()
            yield
        finally:
            file.unlink(missing_ok=True)


def _claimed(folder: Path) -> set[bytes]:
    """The digests of all items that living processes have claimed."""
    claimed: set[bytes] = set()
    for file in _claim_files(folder):
        descriptor = _opened(file)
        if descriptor is None:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            claimed.update(_read(descriptor))
        # Where the lock was free its process is dead, and the next sweep removes the file.
        finally:
            os.close(descriptor)
    return claimed


def _claim_files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_PREFIX}*{PART}"))


def _opened(file: Path) -> int | None:
    try:
        return os.open(file, os.O_RDWR)
    except FileNotFoundError:  # just released
        return None


def _read(descriptor: int) -> list[bytes]:
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    return [data[start : start + 16] for start in range(0, len(data), 16)]


def _keys(digests: Digests) -> list[bytes]:
    """Both halves of each digest as 16 bytes."""
    pairs = np.stack([digests.high, digests.low], axis=1)
    return [pair.tobytes() for pair in pairs]
