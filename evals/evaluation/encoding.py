"""Encodes what a benchmark needs and scores nothing: the work of one process of several.

Each process goes through the same sides and encodes what is neither stored nor claimed by another,
or the shards of a plan that are its own.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

from evals.embeddings.failures import FailedShardsError, joined
from evals.evaluation.load import Loaded
from evals.progress import Reporter, encoding_progress
from evals.schema import Side

if TYPE_CHECKING:
    from evals.embeddings.store import Store
    from evals.schema import Encoder


Positions = Int[np.ndarray, "_"]


class NamedSide(NamedTuple):
    """A side of a benchmark, the name of its key in the store, and a hash of what is in it."""

    side: Side
    key: str
    content: str


def sides_of(loaded: Loaded, encoder: "Encoder") -> Iterator[NamedSide]:
    """Every side that the task of a benchmark embeds, once: languages share their images."""
    from evals.embeddings.keys import key_of
    from evals.tasks import task_for

    seen = set()
    task = task_for(loaded.row.task, encoder)
    for data in loaded.parts.subsets.values():
        for side in task.sides(data):
            content = hashlib.sha256("\n".join(side.hashes).encode()).hexdigest()
            named = NamedSide(side, key_of(encoder, side).name, content)
            if (named.key, named.content) not in seen:
                seen.add((named.key, named.content))
                yield named


class Encoding:
    """Side after side is encoded, whatever of it cannot be.

    `counts` has the items that were encoded, by their kind, and `failed` what could not be.
    """

    def __init__(self, reporter: Reporter) -> None:
        self.counts = Counter({"image": 0, "text": 0})
        self._reporter = reporter
        self.failed: list[FailedShardsError] = []

    def encode(
        self, store: "Store", encoder: "Encoder", side: Side, shards: Sequence[Positions]
    ) -> None:
        """See to it that shards of a side are stored; those that cannot be wait for `check`.

        Raises what else `Store.embed` raises.
        """
        title = f"{encoder.name}: encoding {side.kind}s"
        with encoding_progress(self._reporter, title, side.kind) as progress:
            try:
                encoded = store.encode_shards(encoder, side, shards, progress=progress)
                self.counts[side.kind] += encoded
            except FailedShardsError as error:
                self.failed.append(error)

    def check(self) -> None:
        """FailedShardsError for all shards that could not be encoded."""
        if self.failed:
            raise joined(self.failed)
