"""Shards of a side are claimed, encoded and committed by any number of processes, each in the same way.

Shapes: n rows, d dimensions, m positions of a side.
"""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing

import numpy as np
from jaxtyping import Float, Int

from evals.embeddings.claims import Claim, claim_shard, wait_for_one
from evals.embeddings.index import Digests, Index
from evals.embeddings.mirror import Mirror
from evals.embeddings.shards import name_of, write_shard
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


def encode_shards(work: "Work", encoder: AnyEncoder) -> int:
    """Encode what nobody else does, until all is stored; the number of items that this was.

    InvalidError as `Store.embed` says. Whatever ends it, what is claimed is released.
    """
    while work.waiting:
        with closing(_streamed(encoder, work.claims())) as stream:
            try:
                for encoded in stream:
                    shard = work.claimed_side()
                    work.commit(list(shard.hashes), _checked(encoded, encoder, shard))
            finally:
                work.release()
        if work.waiting:
            work.wait()
    return work.encoded


class Work:
    """What is left of a side: shards that wait, and claims that are not committed yet.

    `progress(done, total)` is called with the items that are stored, whoever has encoded them, and
    `committed(items)` with those of each shard that this process has stored.
    """

    def __init__(
        self,
        index: Index,
        mirror: Mirror,
        side: Side,
        digests: Digests,
        shards: Sequence[Positions],
        progress: Callable[[int, int], None],
        committed: Callable[[int], None],
    ) -> None:
        self.index, self.mirror, self.side, self.digests = index, mirror, side, digests
        self.waiting = deque(shards)
        self.encoded = 0
        self._claims: deque[Claim] = deque()
        self._total = sum(map(len, shards))
        self._progress, self._tell_committed = progress, committed
        self._has_waited = False
        progress(0, self._total)

    def claims(self) -> Iterator[Side]:
        """Go once through the shards that wait, and give of each what can be claimed.

        What others are at waits again. An encoder takes sides as it needs them: one ahead, to
        decode it meanwhile.
        """
        for _ in range(len(self.waiting)):
            shard = self.waiting.popleft()
            items = [self.side.hashes[position] for position in shard]
            self.mirror.look(self.index.folder, name_of(items))
            taken = claim_shard(self.index, items, self.digests.select(shard), shard)
            if len(taken.with_others):
                self.waiting.append(taken.with_others)
            if taken.claim is None:
                self._report()
                continue
            self._claims.append(taken.claim)
            yield self.side.select(taken.claim.positions.tolist())

    def claimed_side(self) -> Side:
        """The side whose rows come next."""
        return self.side.select(self._claims[0].positions.tolist())

    def commit(self, items: Sequence[str], encoded: Encoded) -> None:
        """Store the rows of the first claim, for all to see."""
        write_shard(self.index.folder, items, encoded)
        self.mirror.publish(self.index.folder, name_of(items))
        claim = self._claims.popleft()
        claim.release()
        self.encoded += len(claim.positions)
        self._tell_committed(len(claim.positions))
        self._report()

    def release(self) -> None:
        """Give up what is claimed: the encoder has failed, or the process is to end."""
        while self._claims:
            self._claims.popleft().release()

    def wait(self) -> None:
        """Until somebody is done with one of the shards that wait, or dies."""
        if not self._has_waited:
            log.warning("%s: other processes encode the rest; waiting for them", self.index.folder)
            self._has_waited = True
        wait_for_one(self.index.folder, self.digests.select(self.waiting[0]))

    def _report(self) -> None:
        claimed = sum(len(claim.positions) for claim in self._claims)
        left = sum(map(len, self.waiting)) + claimed
        self._progress(self._total - left, self._total)


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
        raise InvalidError(
            f"{encoder.name}: {broken.size} of {len(side)} embeddings hold NaN or infinity: {names}"
        )
