"""Reads the stored vectors of a multi-vector model shard by shard; memory holds one shard at a time.

Items of several kinds have several sources, which `JoinedVectors` makes one.

Shapes: n items.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, Integer

from evals.embeddings.shards import DamagedError, read_vectors
from evals.schema import InvalidError, VectorBlock, Vectors, VectorSource


class StoredVectors:
    """The vectors of a side, a `VectorSource` that may be read again and again.

    A shard's checksum is taken whenever it is read: that costs little beside MaxSim. InvalidError
    when it is not what its sidecar says by then. The run that encoded it checked it, so the remedy
    is to run again.
    """

    def __init__(
        self,
        folder: Path,
        shards: Sequence[str],
        shard_of: Integer[np.ndarray, "n"],
        row_of: Integer[np.ndarray, "n"],
        dim: int,
    ) -> None:
        self.folder, self.dim = folder, dim
        self._shards, self._shard_of, self._place_of = shards, shard_of, row_of

    def __len__(self) -> int:
        return len(self._shard_of)

    def blocks(self) -> Iterator[VectorBlock]:
        """All items, those of a shard together."""
        yield from self._blocks(np.arange(len(self)))

    def take(self, positions: Int[np.ndarray, "_"] | Sequence[int]) -> Vectors:
        """The vectors of the items at `positions` of the side, in that order."""
        positions = np.asarray(positions, dtype=np.int64)
        items: list[np.ndarray] = [np.zeros(0)] * len(positions)
        for places, vectors in self._blocks(positions):
            for i, place in enumerate(places.tolist()):
                items[place] = vectors.item(i)
        return Vectors.of(items, self.dim)

    def _blocks(self, positions: Int[np.ndarray, "n"]) -> Iterator[VectorBlock]:
        """Of each shard the places in `positions` that lie in it, and their vectors."""
        shards = self._shard_of[positions]
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            vectors = self._read(int(shard))
            yield VectorBlock(here, vectors.take(self._place_of[positions[here]]))

    def _read(self, shard: int) -> Vectors:
        try:
            return read_vectors(self.folder, self._shards[shard], self.dim)
        except DamagedError as error:
            raise InvalidError(
                f"{self.folder / self._shards[shard]}: {error}. Run the evaluation again: what "
                "is damaged is set aside and encoded anew."
            ) from None


class JoinedVectors:
    """Items whose vectors lie in several sources, as one `VectorSource`; nothing is copied.

    `positions` has for each source which of all items its items are.
    """

    def __init__(
        self, sources: Sequence[VectorSource], positions: Sequence[Int[np.ndarray, "_"]]
    ) -> None:
        self._sources, self._positions = sources, positions
        total = sum(map(len, positions))
        self._source_of = np.empty(total, dtype=np.int64)
        self._place_of = np.empty(total, dtype=np.int64)
        for number, items in enumerate(positions):
            self._source_of[items] = number
            self._place_of[items] = np.arange(len(items))

    def __len__(self) -> int:
        return len(self._source_of)

    def blocks(self) -> Iterator[VectorBlock]:
        """All items, the blocks of one source after those of another."""
        for source, items in zip(self._sources, self._positions, strict=True):
            for positions, vectors in source.blocks():
                yield VectorBlock(items[positions], vectors)

    def take(self, positions: Integer[np.ndarray, "_"] | Sequence[int]) -> Vectors:
        """The vectors of the items at `positions`, in that order."""
        positions = np.asarray(positions, dtype=np.int64)
        items: list[np.ndarray] = [np.zeros(0)] * len(positions)
        dim = 0
        for number, source in enumerate(self._sources):
            here = np.flatnonzero(self._source_of[positions] == number)
            vectors = source.take(self._place_of[positions[here]])
            dim = vectors.rows.shape[1]
            for i, place in enumerate(here.tolist()):
                items[place] = vectors.item(i)
        return Vectors.of(items, dim)
