"""Several vectors per item, as models of late interaction give: those of all items in one array, and where each item's begin.

Shapes: v vectors of all items together, d dimensions, n items, bounds = n + 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int, Int64, Integer


@dataclass(frozen=True)
class Vectors:
    """The vectors of n items, float32: those of item i are `rows[offsets[i] : offsets[i + 1]]`.

    Raises ValueError for offsets that do not ascend from 0 to the number of rows.
    """

    rows: Float32[np.ndarray, "v d"]
    offsets: Int64[np.ndarray, "bounds"]

    def __post_init__(self) -> None:
        bounds = self.offsets
        if self.rows.ndim != 2 or bounds.ndim != 1 or not len(bounds):
            raise ValueError(f"rows of shape {self.rows.shape}, offsets of {bounds.shape}")
        if bounds[0] != 0 or bounds[-1] != len(self.rows) or (np.diff(bounds) < 0).any():
            raise ValueError(f"offsets must ascend from 0 to the {len(self.rows)} rows")

    @classmethod
    def of(cls, items: Sequence[np.ndarray], dim: int) -> "Vectors":
        """From an array (vectors, `dim`) per item."""
        counts = [len(vectors) for vectors in items]
        rows = np.concatenate([np.zeros((0, dim)), *items]).astype(np.float32)
        return cls(rows, np.cumsum([0, *counts], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> Int64[np.ndarray, "n"]:
        """How many vectors each item has."""
        return np.diff(self.offsets)

    def item(self, position: int) -> Float32[np.ndarray, "_ d"]:
        """The vectors of one item."""
        return self.rows[self.offsets[position] : self.offsets[position + 1]]

    def take(self, positions: Integer[np.ndarray, "_"] | Sequence[int]) -> "Vectors":
        """Those of the items at `positions`, in that order."""
        items = [self.item(int(position)) for position in positions]
        return Vectors.of(items, self.rows.shape[1])

    def blocks(self) -> Iterator["VectorBlock"]:
        """All items at once."""
        yield VectorBlock(np.arange(len(self)), self)


class VectorBlock(NamedTuple):
    """Some items of a side: their positions in it, and their vectors."""

    positions: Int[np.ndarray, "_"]
    vectors: Vectors


@runtime_checkable
class VectorSource(Protocol):
    """The vectors of a side, in memory or not: what MaxSim is scored from."""

    def __len__(self) -> int: ...

    def take(self, positions: Integer[np.ndarray, "_"] | Sequence[int]) -> Vectors:
        """Those of the items at `positions`, in that order."""
        ...

    def blocks(self) -> Iterator[VectorBlock]:
        """All items once, some at a time and in any order."""
        ...
