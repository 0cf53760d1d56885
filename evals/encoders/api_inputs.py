"""Texts and images as an embeddings API takes them: strings or objects, and files in base64."""

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any, NamedTuple

from evals.encoders.pricing import image_tokens, version_of
from evals.schema import InvalidError, Selection, Side

# What PNG can hold: a picture goes there without a loss.
PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


class Input(NamedTuple):
    """One item as the API takes it, and what an image should cost, if that is published."""

    value: str | dict[str, str]
    tokens: int | None = None


def text_input(text: str, *, as_object: bool) -> Input:
    """A text; jina-clip takes it as an object, other models as a string."""
    return Input({"text": text} if as_object else text)


def image_input(side: Side, index: int, *, encoder: str, model: str) -> Input:
    """The bytes of an image's file where there is one, a URL as it is, else a PNG.

    So the server decodes what was published.
    InvalidError names the image when it is neither, or cannot be read.
    """
    what = f"{encoder}: image {side.ids[index]}"
    items, place = _below_selections(side.items, index)
    if hasattr(items, "read"):
        data = items.read(place)
    else:
        item = items[place]
        if isinstance(item, str) and item.startswith(("http://", "https://")):
            return Input({"image": item})
        data = _png(item, what)
    version = version_of(model)
    tokens = image_tokens(*_pixels(data, what), version) if version else None
    return Input({"image": base64.b64encode(data).decode()}, tokens)


def _below_selections(items: Sequence[Any], index: int) -> tuple[Any, int]:
    """The sequence below all selections, whose files can be read, and the item's place in it."""
    below: Any = items
    while isinstance(below, Selection):
        below, index = below.items, below.indices[index]
    return below, index


def _png(image: Any, what: str) -> bytes:
    if not hasattr(image, "save"):
        raise InvalidError(
            f"{what} is neither an image nor a URL, but a {type(image).__name__}. Check the data."
        )
    data = BytesIO()
    (image if image.mode in PNG_MODES else image.convert("RGB")).save(data, "PNG")
    return data.getvalue()


def _pixels(data: bytes, what: str) -> tuple[int, int]:
    """Width and height, from the header alone."""
    from PIL import Image

    try:
        with Image.open(BytesIO(data)) as header:
            return header.size
    except (OSError, Image.DecompressionBombError) as error:
        raise InvalidError(f"{what} cannot be read ({error}). Replace the file.") from None
