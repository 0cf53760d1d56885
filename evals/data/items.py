"""Documents and queries as items: makes them of texts, selects some of them, and gives them a role.

Shapes: judgements.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evals.data.sides import text_side
from evals.schema import Items, Role, Side, TextRetrieval

NOTHING = np.zeros(0, dtype=np.int64)


def text_items(texts: Sequence[str], ids: Sequence[str]) -> Items:
    """Items that have a text each, and no image."""
    side = text_side(texts, ids)
    return Items(ids, side, Side("image", [], [], []), np.arange(len(ids)), NOTHING)


def select_items(items: Items, chosen: Sequence[int]) -> Items:
    """The items at `chosen`, an ascending list, with their texts and images."""
    # Items may lack a text or an image, so each side has places of its own.
    text_places = np.flatnonzero(np.isin(items.item_of_text, chosen))
    image_places = np.flatnonzero(np.isin(items.item_of_image, chosen))
    return Items(
        ids=[items.ids[item] for item in chosen],
        texts=items.texts.select(text_places.tolist()),
        images=items.images.select(image_places.tolist()),
        item_of_text=np.searchsorted(chosen, items.item_of_text[text_places]),
        item_of_image=np.searchsorted(chosen, items.item_of_image[image_places]),
    )


def queries_of(data: TextRetrieval, chosen: Sequence[int], origin: dict[str, str]) -> TextRetrieval:
    """The queries at `chosen`, an ascending list, with their judgements; all documents stay."""
    qrels = data.qrels[np.isin(data.qrels[:, 0], chosen)]
    # The queries are counted anew, from 0.
    qrels = np.column_stack([np.searchsorted(chosen, qrels[:, 0]), qrels[:, 1:]])
    return replace(data, queries=select_items(data.queries, chosen), qrels=qrels, origin=origin)


def with_roles(data: TextRetrieval) -> TextRetrieval:
    """The same data for models that embed queries and documents by different instructions."""
    queries, docs = _with_role(data.queries, "query"), _with_role(data.docs, "document")
    return replace(data, queries=queries, docs=docs)


def _with_role(items: Items, role: Role) -> Items:
    texts, images = replace(items.texts, role=role), replace(items.images, role=role)
    return replace(items, texts=texts, images=images)
