"""Sides as loaders make them: texts and images under the hashes that their rows are stored by."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evals.data.images import Images, Pictures, content_hash
from evals.schema import Side

EQUAL_IMAGES = "equal_images"


def text_side(texts: Sequence[str], ids: Sequence[str], language: str | None = None) -> Side:
    """The texts as a side, each under the sha256 of its UTF-8."""
    hashes = [content_hash(text.encode()) for text in texts]
    return Side("text", texts, ids, hashes, language=language)


def image_side(images: Images | Pictures, ids: Sequence[str]) -> Side:
    """The images as a side; they are hashed now, and held to their hashes when they are decoded."""
    if isinstance(images, Pictures):
        return Side("image", images, ids, [pixel_hash(picture) for picture in images])
    hashes = [content_hash(images.read(index)) for index in range(len(images))]
    return Side("image", replace(images, hashes=hashes), ids, hashes)


def pixel_hash(image: Any) -> str:
    """The hash of a Pillow image that has no file: all that an encoder sees of it."""
    # What pixels of a palette look like is not in them.
    palette = b"" if image.palette is None else bytes(image.getpalette() or ())
    return content_hash(f"{image.mode} {image.size} ".encode() + palette + image.tobytes())


def origin_with_equal(origin: Mapping[str, str], images: Side) -> dict[str, str]:
    """The origin of data, with the number of images that equal one before them, unless it is 0.

    They are measured as they are, but no model can tell them apart.
    """
    equal = len(images) - len(set(images.hashes))
    noted = {key: value for key, value in origin.items() if key != EQUAL_IMAGES}
    return noted | {EQUAL_IMAGES: str(equal)} if equal else noted
