"""The rows of a benchmark's sides: held in memory, or left on disk where they would not fit.

Both give the same scores, bit for bit, so the choice is in no record.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.evaluation.embedding import embed, embed_on_disk, embed_vectors
from evals.evaluation.recording import Costs
from evals.progress import SILENT, Reporter
from evals.schema import Kind, Role, Side

if TYPE_CHECKING:  # the rest is imported where it is used, so that --help answers at once
    from evals.embeddings.failures import FailedShardsError
    from evals.embeddings.kept import KeptRows
    from evals.embeddings.rows import StoredRows
    from evals.embeddings.store import Store
    from evals.schema import Encoder, VectorSource

CGROUP = Path("/sys/fs/cgroup/memory.max")  # a container's limit, or the word `max`


class _Items(NamedTuple):
    """What tells a side from others: equal items of another role have other rows."""

    kind: Kind
    role: Role | None
    hashes: tuple[str, ...]


class SideRows:
    """The rows of one benchmark by one model, subset by subset.

    `zero_rows` counts those of length 0 so far: they have a cosine of 0 with everything, and look
    like bad matches. `failed` are sides of which a shard could not be encoded: the others are encoded
    all the same, and the rows that are given lack them. Rows that are held go into `embeddings`, where there are some to be kept.
    """

    def __init__(
        self,
        encoder: "Encoder",
        store: "Store",
        costs: Costs,
        *,
        embeddings: "KeptRows | None" = None,
        reporter: Reporter = SILENT,
    ) -> None:
        self.encoder, self.store, self.costs = encoder, store, costs
        self.embeddings, self.reporter = embeddings, reporter
        self.zero_rows = 0
        self.failed: dict[_Items, FailedShardsError] = {}
        # Those of the last subset: languages share their images, and memory holds one set of rows.
        self._by_images: dict[tuple[Callable[..., Any], _Items], Any] = {}

    def held(self, sides: Sequence[Side]) -> list[Any]:
        """The rows of each side as an array."""
        rows = self._rows(sides, embed, _zeros_held)
        if self.embeddings is not None and not self.failed:
            for side, side_rows in zip(sides, rows, strict=True):
                self.embeddings.add(self.encoder, side, side_rows)
        return rows

    def on_disk(self, sides: Sequence[Side]) -> list[Any]:
        """The rows of each side where they lie."""
        return self._rows(sides, embed_on_disk, _zeros_on_disk)

    def vectors(self, sides: Sequence[Side]) -> list[Any]:
        """Where the vectors of each side lie, of a model that gives several per item."""
        return self._rows(sides, embed_vectors, _zeros_of_vectors)

    def _rows(
        self, sides: Sequence[Side], read: Callable[..., Any], count_zeros: Callable[[Any], int]
    ) -> list[Any]:
        from evals.embeddings.failures import FailedShardsError

        rows = []
        for side in sides:
            items = _Items(side.kind, side.role, tuple(side.hashes))
            if items in self.failed:
                continue
            if (read, items) in self._by_images:
                rows.append(self._by_images[read, items])
                continue
            try:
                side_rows = read(self.store, self.encoder, side, self.costs, reporter=self.reporter)
            except FailedShardsError as error:
                self.failed[items] = error
                continue
            self.zero_rows += count_zeros(side_rows)
            if side.kind == "image":
                self._by_images = {(read, items): side_rows}
            rows.append(side_rows)
        return rows


def bytes_in_memory(sides: Sequence[Side], width: int, dims: Sequence[int]) -> int:
    """What the rows of all sides take while they are scored in memory."""
    # As stored, cut to each dimension, and the widest once more as the parts of a sweep and once
    # more in fewer bits, which are kept as float32.
    return sum(map(len, sides)) * 4 * (width + sum(dims) + 2 * max(dims))


def usual_memory() -> int:
    """Half of what this machine has, or its container, in bytes."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else "max"
    if limit.isdecimal():
        total = min(total, int(limit))
    return total // 2


def _zeros_held(rows: Any) -> int:
    return int((~rows.any(axis=1)).sum())


def _zeros_on_disk(rows: "StoredRows") -> int:
    return sum(_zeros_held(block.rows) for block in rows.blocks())


def _zeros_of_vectors(vectors: "VectorSource") -> int:
    """How many items have nothing but zeros."""
    n_zeros = 0
    for block in vectors.blocks():
        items = map(block.vectors.item, range(len(block.vectors)))
        n_zeros += sum(not item.any() for item in items)
    return n_zeros
