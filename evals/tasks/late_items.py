"""Queries or documents of several kinds for MaxSim: the sides that a model encodes, and their vectors as one source.

An item is a text, an image, or both in one pass: the library's models read a text beside an image,
and neither a sum nor a concatenation of two encodings stands for that.

Shapes: n items of a side.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from evals.embeddings.vectors import JoinedVectors
from evals.schema import Items, Role, Side, VectorSource, text_image_side


class Group(NamedTuple):
    """The items of one kind, and which of all items they are."""

    side: Side
    positions: Int64[np.ndarray, "n"]


def groups_of(items: Items, role: Role) -> list[Group]:
    """A group per kind that there is, those of a text and an image first.

    They come first because few models read both: it is known before the rest is encoded. Roles are
    always set: such models encode a query otherwise than a document.
    """
    if len(items.sides) == 1:
        return [Group(replace(items.sides[0], role=role), np.arange(len(items)))]
    paired, text_places, image_places = np.intersect1d(
        items.item_of_text, items.item_of_image, assume_unique=True, return_indices=True
    )
    pairs = text_image_side(
        items.texts.select(text_places.tolist()),
        items.images.select(image_places.tolist()),
        [items.ids[position] for position in paired],
    )
    groups = [Group(pairs, paired)]
    for side, positions in (
        (items.texts, items.item_of_text),
        (items.images, items.item_of_image),
    ):
        alone = np.flatnonzero(~np.isin(positions, paired))
        groups.append(Group(side.select(alone.tolist()), positions[alone]))
    # An encoder is never asked about no items.
    return [
        Group(replace(group.side, role=role), group.positions)
        for group in groups
        if len(group.side)
    ]


def joined(groups: Sequence[Group], sources: Sequence[VectorSource]) -> VectorSource:
    """The vectors of all items, from those of the groups."""
    if len(groups) == 1:
        return sources[0]
    return JoinedVectors(sources, [group.positions for group in groups])
