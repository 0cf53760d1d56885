"""Cuts the items of a side that are not encoded yet into shards, the units of work and of failure.

A shard is closed by what it holds, never by what would come next. So whichever shards are done when
a process dies, what is left falls into the same shards as before: passes are the same, and rows
equal bit for bit.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from evals.schema import AnyEncoder, Kind, Side, is_multi_vector

# A shard holds at most some ten MB of rows: 100 million items of 1,024 values are 40,000 shards.
SHARD_BYTES = 10 << 20
# Of a side of fewer items it is a 64th, so that processes share the side evenly and a kill costs
# little, but no less than 256 images, or 4,096 texts of about 32,000 tokens altogether.
PARTS = 64
IMAGES, TEXTS = 256, 4096
SHARD_CHARACTERS = 1 << 17
MOST_CHARACTERS = 8 * SHARD_CHARACTERS
# What multi-vector models make of an item is known only afterwards. A page has about a thousand
# vectors (ColPali: 1,030), a text about one for four characters, and a query 32 (ColBERT).
VECTORS_OF_IMAGE, VECTORS_OF_TEXT, CHARACTERS_OF_VECTOR = 1024, 32, 4


class Limits(NamedTuple):
    """A shard is closed when it holds so many items, or texts of so many characters."""

    items: int
    characters: int


def limits(side: Side, dim: int, items: int | None = None) -> Limits:
    """Those of a side; they follow from the whole of it, whatever of it is stored.

    `items` stands in for their number.
    """
    return limits_by_size(side.kind, len(side), dim, items)


def limits_by_size(kind: Kind, n_items: int, dim: int, items: int | None = None) -> Limits:
    """Those of a side of so many items, which need not be at hand."""
    in_bytes = max(1, SHARD_BYTES // (4 * dim))
    scale = max(1, n_items // (PARTS * IMAGES))
    if kind == "image":
        # Whole passes: an image is then in a pass of the same images whatever the shard's size.
        in_bytes = max(IMAGES, in_bytes // IMAGES * IMAGES)
        return Limits(items or min(IMAGES * scale, in_bytes), 0)
    characters = min(SHARD_CHARACTERS * scale, MOST_CHARACTERS)
    return Limits(items or min(TEXTS, in_bytes), characters)


def limits_of(encoder: AnyEncoder, side: Side, items: int | None = None) -> Limits:
    """`limits` of a side by a model; by one of many vectors some ten MB of what an item usually has."""
    if not is_multi_vector(encoder):
        return limits(side, encoder.dim, items)
    vectors = max(1, SHARD_BYTES // (4 * encoder.dim))
    if side.kind != "text":  # a text beside an image adds little
        return Limits(items or max(1, vectors // VECTORS_OF_IMAGE), 0)
    return Limits(items or max(1, vectors // VECTORS_OF_TEXT), CHARACTERS_OF_VECTOR * vectors)


def expected_rows(encoder: AnyEncoder, side: Side, shards: Sequence[Int[np.ndarray, "_"]]) -> int:
    """How many rows some shards will have, of several vectors per item about how many."""
    n_items = sum(map(len, shards))
    if not is_multi_vector(encoder):
        return n_items
    if side.kind != "text":
        return VECTORS_OF_IMAGE * n_items
    characters = sum(len(side.items[position]) for shard in shards for position in shard.tolist())
    return VECTORS_OF_TEXT * n_items + characters // CHARACTERS_OF_VECTOR


def cut(
    side: Side, positions: Int[np.ndarray, "n"], most: Limits
) -> Iterator[Int[np.ndarray, "m"]]:
    """The positions of each shard, neighbours in about equal amounts of work."""
    if side.kind != "text":  # looking at an image would decode it
        for start in range(0, len(positions), most.items):
            yield positions[start : start + most.items]
        return
    shard: list[int] = []
    characters = 0
    for position in positions.tolist():
        shard.append(position)
        characters += len(side.items[position])
        if len(shard) >= most.items or characters >= most.characters:
            yield np.array(shard)
            shard, characters = [], 0
    if shard:
        yield np.array(shard)
