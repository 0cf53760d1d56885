"""Claims: when several processes encode the items of one key, each leaves alone what another has claimed.

    <key>/.claim-<shard>.part   the digests of the items that a process encodes

Whoever claims items holds a lock (`flock`) on the file as long as it lives; the system releases it
however the process dies. So a claim costs no heartbeat, and none outlives its process. Claims only
save work: that each shard is committed once rests on `evals.files.put_if_absent`.

To list a folder of many shards takes a while, and those who claim wait for each other. So a process
remembers what it saw when it last claimed something, and does not try what was taken then.

Shapes: m positions of a side.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt64

from evals.embeddings.index import Digests, Index
from evals.embeddings.shards import name_of
from evals.files import PART, alone, held, named

Positions = Int[np.ndarray, "_"]
Mask = Bool[np.ndarray, "_"]

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

    The rest is stored. `was_free` tells that some of it was free when this process looked last.
    """

    claim: Claim | None
    with_others: Positions
    was_free: bool


class Claims:
    """Who is at what in the folder of an index, as far as this process has seen it."""

    def __init__(self, index: Index) -> None:
        self._index, self._folder = index, index.folder
        self._claimed = Digests.none()

    def look(self) -> None:
        """See which items are claimed or stored by now, this process's own included."""
        self._index.refresh()
        self._look()

    def _look(self) -> None:
        # In this order: what is released meanwhile is stored by then.
        self._claimed = _claimed(self._folder)
        self._index.catch_up()

    def seen(self, digests: Digests, positions: Positions) -> Taken | None:
        """What is left of a shard as of the last look, or None where some of it was free then."""
        absent, free = self._absent_and_free(digests)
        return None if free.any() else Taken(None, positions[absent], was_free=False)

    def take(self, items: Sequence[str], digests: Digests, positions: Positions) -> Taken:
        """Claim those of the `items` at `positions` of a side that are neither stored nor claimed.

        `digests` are those of the same items. This looks, too.
        """
        self._index.refresh()  # what takes long, while others may claim
        with alone(self._folder / _LOCK):
            self._look()
            absent, free = self._absent_and_free(digests)
            claim = self._claim(items, digests, positions, np.flatnonzero(free))
        return Taken(claim, positions[absent & ~free], was_free=True)

    def _absent_and_free(self, digests: Digests) -> tuple[Mask, Mask]:
        """Which items are not stored, and which of these nobody is at."""
        absent = self._index.find(digests).shard < 0
        return absent, absent & ~_are_among(digests, self._claimed)

    def _claim(
        self, items: Sequence[str], digests: Digests, positions: Positions, free: Positions
    ) -> Claim | None:
        if not len(free):
            return None
        # No two claims have an item in common, so no two have a name.
        name = name_of([items[i] for i in free.tolist()])
        file = self._folder / f"{_PREFIX}{name}{PART}"
        holding = ExitStack()
        holding.enter_context(_claim_file(file, _bytes_of(digests.select(free))))
        return Claim(positions[free], holding)


def wait_for_one(folder: Path, digests: Digests) -> None:
    """Return when a process that has claimed one of the items is done with it, or dead."""
    for file in _claim_files(folder):
        descriptor = _opened(file)
        if descriptor is None:
            continue
        try:
            if _are_among(digests, _sorted([_read(descriptor)])).any():
                # Until it is released: the system wakes us, there is nothing to poll.
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                return
        finally:
            os.close(descriptor)


@contextmanager
def _claim_file(file: Path, data: bytes) -> Iterator[None]:
    with held(file) as opened:
        with named(file):
            opened.truncate()
            opened.write(data)
            opened.flush()
        yield
        file.unlink(missing_ok=True)


def _claimed(folder: Path) -> Digests:
    """The items that living processes have claimed, as `_are_among` takes them."""
    claims = []
    for file in _claim_files(folder):
        descriptor = _opened(file)
        if descriptor is None:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            claims.append(_read(descriptor))
        # Where the lock was free its process is dead, and the next sweep removes the file.
        finally:
            os.close(descriptor)
    return _sorted(claims)


def _claim_files(folder: Path) -> list[Path]:
    # By strings, as Index lists its sidecars: there may be 100,000 other files.
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(_PREFIX)]
    return [folder / name for name in sorted(names) if name.endswith(PART)]


def _opened(file: Path) -> int | None:
    try:
        return os.open(file, os.O_RDWR)
    except FileNotFoundError:  # just released
        return None


def _read(descriptor: int) -> UInt64[np.ndarray, "m 2"]:
    """Both halves of each digest; of a claim that is being written, as many as are there."""
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    return np.frombuffer(data, np.uint64, len(data) // 16 * 2).reshape(-1, 2)


def _bytes_of(digests: Digests) -> bytes:
    """Both halves of each digest, which `_read` reads."""
    return np.stack([digests.high, digests.low], axis=1).tobytes()


def _sorted(claims: Sequence[UInt64[np.ndarray, "m 2"]]) -> Digests:
    halves = np.concatenate([np.empty((0, 2), np.uint64), *claims])
    order = np.argsort(halves[:, 0])
    return Digests(halves[order, 0], halves[order, 1])


def _are_among(digests: Digests, claimed: Digests) -> Mask:
    """Which items are claimed.

    Two claimed items whose first halves agree (one case in 10^9 at 100,000 claimed items) hide one
    another: such an item is encoded twice, and stored once.
    """
    if not len(claimed.high):
        return np.zeros(len(digests.high), bool)
    at = np.searchsorted(claimed.high, digests.high).clip(max=len(claimed.high) - 1)
    is_claimed: Mask = (claimed.high[at] == digests.high) & (claimed.low[at] == digests.low)
    return is_claimed
