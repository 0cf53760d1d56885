"""Deals shards to workers a few at a time, and deals them again after a failure.

    dealing = Dealing(encoder.name, sides, planned)
    dealing.lease(worker, among)     shards for a worker that has nothing to do
    dealing.end(worker, ended)       one of them is stored, or has failed
    dealing.finish(worker)           all that it holds is stored
    dealing.take_back(worker)        what it holds is for others: it cannot go on, or is dead

Nothing here knows how workers are started or spoken to: `workers.py` has processes of this machine,
`cluster.py` the nodes of a Ray cluster. That each shard is stored once rests on the store alone.
"""

from collections import Counter, deque
from collections.abc import Hashable, Sequence, Set
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

from evals.embeddings.failures import HOPELESS, TRIES, FailedShard, FailedShardsError
from evals.evaluation.encoding import NamedSide, sides_of
from evals.evaluation.encoding_plan import PlannedSide, planned_sides
from evals.evaluation.load import Loaded
from evals.settings import Settings

if TYPE_CHECKING:
    from evals.schema import Encoder

# Shards of a lease. An encoder decodes a shard while it computes the one before, within a lease
# only. So leases are long, and shorter towards the end, when all workers are to be ready at once.
LONGEST = 16


class Shard(NamedTuple):
    """A shard as workers are told of it: which positions of which side, never the items.

    `key` and `content` are those of a `NamedSide`; of each range the end is not among them.
    """

    number: int
    key: str
    content: str
    kind: str
    ranges: tuple[tuple[int, int], ...]

    @property
    def items(self) -> int:
        """How many it holds."""
        return sum(stop - start for start, stop in self.ranges)

    @property
    def positions(self) -> Int[np.ndarray, "_"]:
        """Where they are in the side."""
        return np.concatenate([np.arange(start, stop) for start, stop in self.ranges])


class ShardEnded(NamedTuple):
    """What a worker says of a shard or a part of it: it stored so many items, or why it could not."""

    number: int
    items: int
    error: str | None = None


class Finished(NamedTuple):
    """What a worker says in the end of a lease; `error` is why it cannot go on with the job."""

    error: str | None


class Dealing:
    """The shards of a benchmark and a model: those that wait, are with a worker, are stored, have failed."""

    def __init__(
        self, model: str, sides: Sequence[NamedSide], planned: Sequence[PlannedSide]
    ) -> None:
        self.shards: list[Shard] = []
        for side in planned:
            for ranges in side.shards:
                number = len(self.shards)
                shard = Shard(number, side.key, side.content, side.kind, tuple(ranges))
                self.shards.append(shard)
        self.total = sum(shard.items for shard in self.shards)
        self.done = 0  # items that are stored
        self.encoded = Counter({"image": 0, "text": 0})  # those of them that workers have encoded
        self.failed: list[FailedShard] = []
        self._model = model
        self._sides = {(named.key, named.content): named.side for named in sides}
        self._fresh = deque(self.shards)
        self._again: list[Shard] = []
        self._held: dict[Hashable, list[Shard]] = {}
        self._stored: Counter[int] = Counter()  # items of each shard
        self._tried_by: dict[int, list[Hashable]] = {}
        self._given_up = False

    @property
    def finished(self) -> bool:
        """Whether nothing waits, and no worker holds anything."""
        return not self.waiting and not self._held

    @property
    def waiting(self) -> bool:
        """Whether there is a shard that no worker holds."""
        return bool(self._fresh or self._again)

    def lease(self, worker: Hashable, among: Set[Hashable]) -> list[Shard]:
        """Shards for a worker that holds none; empty when there is none for it now.

        `among` are all workers that shards are dealt to. One that has failed is dealt to another of
        them, as long as there is one, and alone: so it is known which shard a worker died of.
        """
        for shard in self._again:
            if worker not in self._tried_by[shard.number] or among <= set(
                self._tried_by[shard.number]
            ):
                self._again.remove(shard)
                self._held[worker] = [shard]
                return [shard]
        longest = max(1, min(LONGEST, len(self._fresh) // (2 * len(among))))
        shards = [self._fresh.popleft() for _ in range(min(longest, len(self._fresh)))]
        if shards:
            self._held[worker] = shards
        return list(shards)

    def end(self, worker: Hashable, ended: ShardEnded) -> None:
        """Count what is stored of a shard; one that has failed is tried again, or was enough."""
        shard, held = self.shards[ended.number], self._held[worker]
        if ended.error is not None:
            # Once for each lease: a part of it may have failed before another part does.
            if shard in held:
                held.remove(shard)
                self._fail(worker, shard, ended.error)
            return
        self.encoded[shard.kind] += ended.items
        self._count(shard, ended.items)
        # Of a part of it others may be at the rest; the end of the lease says when they are done.
        if shard in held and self._stored[shard.number] == shard.items:
            held.remove(shard)

    def finish(self, worker: Hashable) -> None:
        """What a worker still holds is stored, by other processes."""
        for shard in self._held.pop(worker, []):
            self._count(shard, shard.items - self._stored[shard.number])

    def take_back(self, worker: Hashable, error: str | None = None) -> None:
        """Deal what a worker holds to others; with an `error` it died of the first of its shards."""
        shards = self._held.pop(worker, [])
        if shards and error is not None:
            self._fail(worker, shards.pop(0), error)
        self._fresh.extendleft(reversed(shards))

    def check(self) -> None:
        """FailedShardsError when shards have failed."""
        if self.failed and self._given_up:
            raise FailedShardsError(
                self.failed, rest="None could by then, so the rest was not tried"
            )
        if self.failed:
            raise FailedShardsError(self.failed)

    def _fail(self, worker: Hashable, shard: Shard, error: str) -> None:
        tried_by = self._tried_by.setdefault(shard.number, [])
        tried_by.append(worker)
        if len(tried_by) < TRIES:
            # First: where no shard can be encoded, three are to show it soon.
            self._again.insert(0, shard)
            return
        side = self._sides[shard.key, shard.content]
        self.failed.append(FailedShard.of(self._model, side, shard.positions, error))
        if len(self.failed) >= HOPELESS and not self.done:
            self._given_up = True
            self._fresh.clear()
            self._again.clear()

    def _count(self, shard: Shard, items: int) -> None:
        self._stored[shard.number] += items
        self.done += items


def dealing_of(loaded: Loaded, encoder: "Encoder", settings: Settings) -> Dealing:
    """What the store lacks of a benchmark."""
    from evals.embeddings.store import Store

    planned = planned_sides(loaded, encoder, Store(settings.store), {})
    return Dealing(encoder.name, list(sides_of(loaded, encoder)), planned)
