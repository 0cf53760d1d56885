"""Items of a text and an image each, as one side: models of several vectors read both in one pass."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from evals.schema.sides import TEXT_IMAGE, Selection, Side

Modality = Literal["text", "image"]


class TextImages(Sequence[Any]):
    """Items as sentence-transformers takes them: a dict of a `text` and a decoded `image`.

    An image is decoded when its item is indexed. `order` is that of the keys: models with a chat
    template read the first one first.
    """

    def __init__(
        self, texts: Sequence[str], images: Sequence[Any], order: Sequence[Modality]
    ) -> None:
        self._columns: dict[Modality, Sequence[Any]] = {"text": texts, "image": images}
        self._order = order

    def __len__(self) -> int:
        return len(self._columns["text"])

    def __getitem__(self, index: Any) -> Any:
        """The item at `index`; a slice is a view that decodes nothing."""
        if isinstance(index, slice):
            return Selection(self, range(len(self))[index])
        return {name: self._columns[name][index] for name in self._order}


def text_image_side(
    texts: Side,
    images: Side,
    ids: Sequence[str],
    *,
    order: Sequence[Modality] = ("text", "image"),
) -> Side:
    """The i-th text and the i-th image as the i-th item, with the role of the texts.

    The hash of an item is that of both hashes in the order of `order`.
    """
    hashes = []
    for text_hash, image_hash in zip(texts.hashes, images.hashes, strict=True):
        by_name: dict[Modality, str] = {"text": text_hash, "image": image_hash}
        words = "".join(f"{name} {by_name[name]}\n" for name in order)
        hashes.append(hashlib.sha256(words.encode()).hexdigest())
    items = TextImages(texts.items, images.items, order)
    return Side(TEXT_IMAGE, items, ids, hashes, texts.role)
