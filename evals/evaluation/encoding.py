"""Encodes what a benchmark needs and scores nothing: the work of one process of several.

Each process goes through the same sides and encodes what is neither stored nor claimed by another,
or the shards of a plan that are its own.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

from evals.evaluation.load import Loaded
from evals.progress import Reporter
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
    from evals.tasks import task_of

    seen = set()
    task = task_of(loaded.row.task)
    for data in loaded.parts.subsets.values():
        for side in task.sides(data):
            content = hashlib.sha256("\n".join(side.hashes).encode()).hexdigest()
            named = NamedSide(side, key_of(encoder, side).name, content)
            if (named.key, named.content) not in seen:
                seen.add((named.key, named.content))
                yield named


def count_missing(loaded: Loaded, encoder: "Encoder", store: "Store") -> int:
    """How many items have no row yet."""
    return sum(len(store.missing(encoder, side)) for side, *_ in sides_of(loaded, encoder))


def encode_side(
    store: "Store",
    encoder: "Encoder",
    side: Side,
    shards: Sequence[Positions],
    reporter: Reporter,
) -> int:
    """See to it that shards of a side are stored; how many items this process encoded for it.

    Raises what `Store.embed` raises.
    """
    with reporter.progress(f"{encoder.name}: encoding {side.kind}s") as progress:
        return store.encode_shards(encoder, side, shards, progress=progress)


def encode_missing(
    loaded: Loaded,
    encoder: "Encoder",
    store: "Store",
    committed: Callable[[str, int], None],
) -> None:
    """Encode what is missing, with whoever else is at it; `committed(kind, items)` after each shard.

    Raises what `Store.embed` raises.
    """
    for side, *_ in sides_of(loaded, encoder):
        shards = store.shards(encoder, side)
        store.encode_shards(encoder, side, shards, committed=partial(committed, side.kind))
