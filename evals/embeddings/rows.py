"""Reads stored rows in the order of a side: block by block as memory allows, or a few by their places.

Nothing here holds all rows at once. A shard is memory-mapped when a row of it is first needed; its
checksum is taken then, and not again.

Shapes: n rows, d dimensions.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int, Integer

from evals.embeddings.shards import DamagedError, map_rows
from evals.schema import InvalidError

# Shards mapped at once, some ten MB each: pages that are not used go back to the system, but Linux
# lets a process have no more than 65,530 maps.
MAPPED = 64
BLOCK_ROWS = 4096  # 16 MB of 1,024 dimensions


class Block(NamedTuple):
    """Neighbouring rows of a side; `first` is the position of the first of them."""

    first: int
    rows: Float32[np.ndarray, "n d"]


@runtime_checkable
class RowSource(Protocol):
    """Rows of a side that can be read, wherever they lie: `StoredRows`, or `HeldRows` in memory."""

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows there are, and their width."""
        ...

    def blocks(self, size: int = BLOCK_ROWS) -> Iterator[Block]:
        """All rows, some at a time and in order."""
        ...

    def take(self, positions: Int[np.ndarray, "n"] | Sequence[int]) -> Float32[np.ndarray, "n d"]:
        """The rows at `positions`, in that order."""
        ...


class HeldRows:
    """Rows of an array as a `RowSource`."""

    def __init__(self, rows: Float32[np.ndarray, "n d"]) -> None:
        self.rows = rows

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows there are, and their width."""
        return len(self.rows), self.rows.shape[1]

    def blocks(self, size: int = BLOCK_ROWS) -> Iterator[Block]:
        """All rows, some at a time and in order; the last block may be shorter."""
        for first in range(0, len(self.rows), size):
            yield Block(first, self.rows[first : first + size])

    def take(self, positions: Int[np.ndarray, "n"] | Sequence[int]) -> Float32[np.ndarray, "n d"]:
        """The rows at `positions`, in that order, as an array of its own."""
        return self.rows[np.asarray(positions, dtype=np.int64)]


class StoredRows:
    """The rows of a side, float32 and full width, in the order of the side.

    It may be read again and again, and by several processes: what is pickled is where the rows lie
    (8 bytes an item). InvalidError when a shard is not what its sidecar says by the time it is
    read: the run that encoded it checked it, so the remedy is to run again.
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
        self._shards, self._shard_of, self._row_of = shards, shard_of, row_of
        self._mapped: dict[int, Float32[np.ndarray, "n d"]] = {}

    def __len__(self) -> int:
        return len(self._shard_of)

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows there are, and their width."""
        return len(self), self.dim

    def blocks(self, size: int = BLOCK_ROWS) -> Iterator[Block]:
        """All rows, some at a time and in order; the last block may be shorter."""
        for first in range(0, len(self), size):
            last = min(first + size, len(self))
            yield Block(first, self.take(np.arange(first, last)))

    def take(self, positions: Int[np.ndarray, "n"] | Sequence[int]) -> Float32[np.ndarray, "n d"]:
        """The rows of the items at `positions` of the side, in that order, as an array of its own."""
        positions = np.asarray(positions, dtype=np.int64)
        rows = np.empty((len(positions), self.dim), np.float32)
        shards = self._shard_of[positions]
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            rows[here] = self._map(int(shard))[self._row_of[positions[here]]]
        return rows

    def _map(self, shard: int) -> Float32[np.ndarray, "n d"]:
        mapped = self._mapped.pop(shard, None)
        if mapped is None:
            try:
                mapped = map_rows(self.folder, self._shards[shard], self.dim)
            except DamagedError as error:
                raise InvalidError(
                    f"{self.folder / self._shards[shard]}: {error}. Run the evaluation again: what "
                    "is damaged is set aside and encoded anew."
                ) from None
        # The last one used comes last, the one to let go first.
        self._mapped[shard] = mapped
        if len(self._mapped) > MAPPED:
            del self._mapped[next(iter(self._mapped))]
        return mapped

    def __getstate__(self) -> dict[str, Any]:
        # A map is of its process; pickled it would be a copy of the rows.
        return self.__dict__ | {"_mapped": {}}
