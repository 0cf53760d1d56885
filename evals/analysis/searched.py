"""What a cell of a record searched: its queries, its documents, and how people are shown one."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from evals.data.items import NOTHING
from evals.ranking.relevance import Relevant
from evals.schema import ImageText, Items, Side, TextRetrieval

LONGEST = 300  # characters of a text that are shown: documents may be pages
_NO_TEXTS, _NO_IMAGES = Side("text", [], [], []), Side("image", [], [], [])


class Shown(NamedTuple):
    """A text, or an image with the first of its captions.

    `place` is the index among the texts or images of its side. `score` is that with the query, None
    for the query itself.
    """

    kind: str
    place: int
    id: str
    text: str
    score: float | None


class Searched(NamedTuple):
    """Queries, documents, and the documents relevant to each query."""

    queries: Items
    docs: Items
    relevant: list[Int[np.ndarray, "_"]]


def searched(data: ImageText | TextRetrieval, direction: str) -> Searched:
    """What the direction searches; text retrieval has one, and its name is empty."""
    if isinstance(data, TextRetrieval):
        judged = Relevant.from_pairs(data.qrels[:, :2], len(data.queries))
        return Searched(data.queries, data.docs, _by_query(judged))
    first_images = np.stack([np.arange(len(data.texts)), data.image_of_text], axis=1)
    pairs = np.concatenate([first_images, data.also])
    relevant = Relevant.from_pairs(pairs, len(data.texts))
    texts = Items(data.texts.ids, data.texts, _NO_IMAGES, np.arange(len(data.texts)), NOTHING)
    images = Items(data.images.ids, _NO_TEXTS, data.images, NOTHING, np.arange(len(data.images)))
    if direction == "t2i":
        return Searched(texts, images, _by_query(relevant))
    return Searched(images, texts, _by_query(relevant.inverse(len(data.images))))


def shown(
    data: ImageText | TextRetrieval, items: Items, place: int, score: float | None = None
) -> Shown:
    """An item as people are shown it: its text, or for an image alone its first caption or its id."""
    text_places = np.flatnonzero(items.item_of_text == place)
    if text_places.size:
        text = _shortened(str(items.texts.items[int(text_places[0])]))
        return Shown("text", int(text_places[0]), items.ids[place], text, score)
    image = int(np.flatnonzero(items.item_of_image == place)[0])
    text = items.ids[place]
    if isinstance(data, ImageText):
        # Captions that several images share may be all that an image has.
        own, shared = np.flatnonzero(data.image_of_text == place), data.also[:, 1] == place
        text = str(data.texts.items[int(np.concatenate([own, data.also[shared, 0]])[0])])
    return Shown("image", image, items.ids[place], text, score)


def picture(data: ImageText | TextRetrieval, item: Shown) -> Any:
    """The image of an item that is shown as one."""
    if isinstance(data, ImageText):
        return data.images.items[item.place]
    # A query has no score with itself.
    items = data.queries if item.score is None else data.docs
    return items.images.items[item.place]


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _by_query(relevant: Relevant) -> list[np.ndarray]:
    return np.split(relevant.docs, relevant.indptr[1:-1])
