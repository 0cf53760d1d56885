"""Sides as loaders make them: texts and images under the hashes that their rows are stored by."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evals.data.image_formats import has_several_frames
from evals.data.images import Images, Pictures, content_hash
from evals.schema import Selection, Side

EQUAL_IMAGES = "equal_images"
SEVERAL_FRAMES = "several_frames"


def text_side(texts: Sequence[str], ids: Sequence[str], language: str | None = None) -> Side:
    """The texts as a side, each under the sha256 of its UTF-8."""
    hashes = [content_hash(text.encode()) for text in texts]
    return Side("text", texts, ids, hashes, language=language)


def image_side(images: Images | Pictures, ids: Sequence[str]) -> Side:
    """The images as a side; they are hashed now, and held to their hashes when they are decoded."""
    if isinstance(images, Pictures):
        return Side("image", images, ids, [pixel_hash(picture) for picture in images])
    hashes: list[str] = []
    several: set[str] = set()
    for index in range(len(images)):
        data = images.read(index)
        hashes.append(content_hash(data))
        if has_several_frames(data):
            several.add(hashes[-1])
    hashed = replace(images, hashes=hashes, several_frames=frozenset(several))
    return Side("image", hashed, ids, hashes)


def pixel_hash(image: Any) -> str:
    """The hash of a Pillow image that has no file: all that an encoder sees of it."""
    # What pixels of a palette look like is not in them.
    palette = b"" if image.palette is None else bytes(image.getpalette() or ())
    return content_hash(f"{image.mode} {image.size} ".encode() + palette + image.tobytes())


def origin_with_counts(origin: Mapping[str, str], images: Side) -> dict[str, str]:
    """The origin of data, with what was counted of its images, where that is not 0.

    Those that equal one before them are measured as they are, but no model can tell them apart. Of
    those with several frames or pages the first alone is measured.
    """
    counts = {
        EQUAL_IMAGES: len(images) - len(set(images.hashes)),
        SEVERAL_FRAMES: sum(name in _several_frames(images) for name in images.hashes),
    }
    noted = {key: value for key, value in origin.items() if key not in counts}
    return noted | {key: str(count) for key, count in counts.items() if count}


def _several_frames(images: Side) -> frozenset[str]:
    items = images.items
    while isinstance(items, Selection):
        items = items.items
    return items.several_frames if isinstance(items, Images) else frozenset()
