"""Claims, encodes and commits the shards of a side, in the same way in any number of processes.

A shard that cannot be encoded is tried again, and the rest goes on without it.

Shapes: n rows, d dimensions, m positions of a side.
"""

import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from evals.embeddings.claims import Claim, Claims, Taken, wait_for_one
from evals.embeddings.index import Digests, Index
from evals.embeddings.mirror import Mirror
from evals.embeddings.shards import name_of, write_shard
from evals.escape import visible
from evals.schema import (
    AnyEncoder,
    InvalidError,
    Side,
    StreamingEncoder,
    Vectors,
    is_multi_vector,
)

log = logging.getLogger(__name__)

Positions = Int[np.ndarray, "_"]
Encoded = Float[np.ndarray, "n d"] | Vectors


class Waiting(NamedTuple):
    """A shard, or what others are at of it: its number among those of the work, and positions."""

    number: int
    positions: Positions


class Ended(NamedTuple):
    """A claimed part of a shard is stored, or could not be encoded as often as it may be tried.

    `number` is that of the shard; `items` is how many they are.
    """

    number: int
    items: int
    error: InvalidError | None


def encode_shards(work: "Work", encoder: AnyEncoder, *, tries: int) -> Iterator[Ended]:
    """Encode what nobody else does, until all is stored or was tried so often.

    What is broken in a shard is its own affair: InvalidError of the encoder, of an item or of the
    rows ends one try of it. Any other error ends the work. Whatever ends it, what is claimed is
    released.
    """
    while work.waiting:
        failed = False
        with closing(_streamed(encoder, work.claims())) as stream:
            try:
                for encoded in stream:
                    shard = work.claimed_side()
                    yield work.commit(list(shard.hashes), _checked(encoded, encoder, shard))
                if work.n_claims:
                    raise InvalidError(
                        f"{encoder.name}: its stream ended before it gave the rows of "
                        f"{work.n_claims} shards it had taken; it must give those of each"
                    )
            except InvalidError as error:
                # Rows come in the order of the sides (StreamingEncoder), and so do errors: it is
                # the shard whose rows would have come next.
                failed = True
                ended = work.failed(error, tries)
                if ended is not None:
                    yield ended
            finally:
                work.release()
        if work.waiting and not failed:
            work.wait()


class Work:
    """What is left of a side: shards that wait, and claims that are not committed yet.

    `progress(done, total)` is called with the items that are stored, whoever has encoded them.
    """

    def __init__(
        self,
        index: Index,
        mirror: Mirror,
        side: Side,
        digests: Digests,
        shards: Sequence[Positions],
        progress: Callable[[int, int], None],
    ) -> None:
        self.index, self.mirror, self.side, self.digests = index, mirror, side, digests
        numbered = [Waiting(number, shard) for number, shard in enumerate(shards)]
        self.waiting = deque(mirror.in_order(numbered))
        self._all_claims = Claims(index)
        self._random = random.Random()
        self._claims: deque[tuple[int, Claim]] = deque()
        self._tries: Counter[int] = Counter()
        self._total = self._n_absent = sum(map(len, shards))
        self._progress = progress
        self._has_waited = False
        self._told: set[str] = set()  # errors
        progress(0, self._total)

    def claims(self) -> Iterator[Side]:
        """Go once through the shards that wait, and give of each what can be claimed.

        What others are at waits again. An encoder takes sides as it needs them: one ahead, to
        decode it meanwhile.
        """
        self._all_claims.look()
        to_visit = len(self.waiting)
        while to_visit:
            to_visit -= 1
            number, shard = self.waiting.popleft()
            taken = self._take(shard)
            if len(taken.with_others):
                self.waiting.append(Waiting(number, taken.with_others))
            n_claimed = 0 if taken.claim is None else len(taken.claim.positions)
            self._n_absent -= len(shard) - len(taken.with_others) - n_claimed
            if taken.claim is None:
                self._report()
                if taken.was_free and self.waiting:
                    # Whoever was faster takes the next one, too: go on elsewhere.
                    self.waiting.rotate(self._random.randrange(len(self.waiting)))
                    to_visit = len(self.waiting)
                continue
            self._claims.append((number, taken.claim))
            yield self.side.select(taken.claim.positions.tolist())

    def _take(self, shard: Positions) -> Taken:
        digests = self.digests.select(shard)
        seen = self._all_claims.seen(digests, shard)
        if seen is not None:
            return seen
        items = [self.side.hashes[position] for position in shard]
        self.mirror.look(self.index.folder, name_of(items))
        return self._all_claims.take(items, digests, shard)

    @property
    def n_claims(self) -> int:
        """How many shards the encoder has taken, and not yet given the rows of."""
        return len(self._claims)

    def claimed_side(self) -> Side:
        """The side whose rows come next."""
        _, claim = self._claims[0]
        return self.side.select(claim.positions.tolist())

    def commit(self, items: Sequence[str], encoded: Encoded) -> Ended:
        """Store the rows of the first claim, for all to see."""
        write_shard(self.index.folder, items, encoded)
        self.mirror.publish(self.index.folder, name_of(items))
        number, claim = self._claims.popleft()
        claim.release()
        self._n_absent -= len(claim.positions)
        self._report()
        return Ended(number, len(claim.positions), None)

    def failed(self, error: InvalidError, tries: int) -> Ended | None:
        """The first claim could not be encoded: it is tried again next, or was tried enough."""
        if not self._claims:  # the encoder failed before it was given anything
            raise error
        number, claim = self._claims.popleft()
        claim.release()
        self._tries[number] += 1
        message = visible(str(error))
        if message not in self._told:
            # Now, and not after an hour of what comes behind it; once, where a model is broken.
            log.warning("a shard could not be encoded, and is tried again: %s", message)
            self._told.add(message)
        if self._tries[number] < tries:
            self.waiting.appendleft(Waiting(number, claim.positions))
            return None
        return Ended(number, len(claim.positions), error)

    def release(self) -> None:
        """Give up what is claimed and not committed; it is the first that waits."""
        while self._claims:
            number, claim = self._claims.pop()
            claim.release()
            self.waiting.appendleft(Waiting(number, claim.positions))

    def wait(self) -> None:
        """Until somebody is done with one of the shards that wait, or dies."""
        if not self._has_waited:
            log.warning("%s: other processes encode the rest; waiting for them", self.index.folder)
            self._has_waited = True
        wait_for_one(self.index.folder, self.digests.select(self.waiting[0].positions))

    def _report(self) -> None:
        self._progress(self._total - self._n_absent, self._total)


def _streamed(encoder: AnyEncoder, sides: Iterable[Side]) -> Generator[Encoded, None, None]:
    if isinstance(encoder, StreamingEncoder):
        yield from encoder.stream(sides)
    else:
        yield from map(encoder.encode, sides)


def _checked(encoded: Encoded, encoder: AnyEncoder, side: Side) -> Encoded:
    if isinstance(encoded, Vectors) != is_multi_vector(encoder):
        raise InvalidError(
            f"{encoder.name}: gave {type(encoded).__name__}, and its fingerprint says otherwise: "
            'several vectors per item come as Vectors, under "layout": "multi-vector".'
        )
    if isinstance(encoded, Vectors):
        return _checked_vectors(encoded, encoder, side)
    if encoded.shape != (len(side), encoder.dim):
        raise InvalidError(
            f"{encoder.name}: gave rows of shape {encoded.shape} for {len(side)} items "
            f"of width {encoder.dim}"
        )
    _refuse(np.flatnonzero(~np.isfinite(encoded).all(axis=1)), encoder, side)
    return encoded.astype(np.float32, copy=False)


def _checked_vectors(vectors: Vectors, encoder: AnyEncoder, side: Side) -> Vectors:
    if len(vectors) != len(side) or vectors.rows.shape[1] != encoder.dim:
        raise InvalidError(
            f"{encoder.name}: gave vectors of {len(vectors)} items and width "
            f"{vectors.rows.shape[1]} for {len(side)} items of width {encoder.dim}"
        )
    empty = np.flatnonzero(vectors.counts == 0)
    if empty.size:
        names = ", ".join(side.ids[i] for i in empty[:5])
        raise InvalidError(
            f"{encoder.name}: {empty.size} of {len(side)} {side.kind}s have no vector, and nothing "
            f"can be compared with them: {names}"
        )
    item_of_row = np.repeat(np.arange(len(vectors)), vectors.counts)
    broken = np.unique(item_of_row[~np.isfinite(vectors.rows).all(axis=1)])
    _refuse(broken, encoder, side)
    return Vectors(vectors.rows.astype(np.float32, copy=False), vectors.offsets)


def _refuse(broken: Positions, encoder: AnyEncoder, side: Side) -> None:
    if broken.size:
        names = ", ".join(side.ids[i] for i in broken[:5])
        half = encoder.fingerprint.get("dtype") == "float16"
        remedy = ". float16 ends at 65,504: take --dtype bfloat16 or float32" if half else ""
        raise InvalidError(
            f"{encoder.name}: {broken.size} of {len(side)} embeddings hold NaN or infinity: "
            f"{names}{remedy}"
        )
