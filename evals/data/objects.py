"""Captioned images in a program's memory: paths or Pillow images, with the captions of each."""

from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from evals.data.checks import check_ids, check_texts
from evals.data.fields import kind_of
from evals.data.images import Pictures, image_files
from evals.data.sides import image_side, origin_with_counts, text_side
from evals.schema import ImageText, InvalidError, Side


def image_text(
    images: Iterable[Any],
    captions: Iterable[Any],
    *,
    ids: Iterable[str] | None = None,
) -> ImageText:
    """Images and their captions as data that `evals.evaluate` takes.

    `images` are all paths, or all Pillow images; `captions[i]` is one caption of image i, or a list
    of one or more; `ids` name the images, their place (or file name) unless given. A caption's id
    is that of its image and its place: `photo#0`.

    Raises InvalidError for what has no order, lengths that differ, an image without a caption, an empty caption, an id
    that comes twice, and an image of another kind; MissingError for a file that is not there.
    """
    pictures = _in_order(images, "images")
    captions_in_order = _in_order(captions, "captions")
    lists = [_list_of(value, place) for place, value in enumerate(captions_in_order)]
    names = _names(pictures) if ids is None else [str(name) for name in _in_order(ids, "ids")]
    if not len(pictures) == len(lists) == len(names):
        raise InvalidError(
            f"{len(pictures)} images, {len(lists)} captions and {len(names)} ids. "
            "Give as many of each."
        )
    if not pictures:
        raise InvalidError("There are no images. Give one or more.")
    check_ids((name, f"image {place}") for place, name in enumerate(names))
    for name, image_captions in zip(names, lists, strict=True):
        if not image_captions:
            raise InvalidError(f"image {name}: has no caption. Give it one, or leave it out.")
        check_texts(image_captions, "captions", what="caption", owner=f"image {name}")
    texts = [caption for image_captions in lists for caption in image_captions]
    counts = [len(image_captions) for image_captions in lists]
    text_ids = [
        f"{name}#{place}"
        for name, count in zip(names, counts, strict=True)
        for place in range(count)
    ]
    image_of_text = np.repeat(np.arange(len(pictures)), counts)
    sides = _image_side(pictures, names), text_side(texts, text_ids)
    return ImageText(*sides, image_of_text, origin_with_counts({"layout": "memory"}, sides[0]))


def _list_of(captions: Any, place: int) -> list[Any]:
    """The captions of an image; one alone is a list of one."""
    if isinstance(captions, str):
        return [captions]
    # A missing value of a table is a float. A dict would give its keys, and a set another order in
    # every process.
    unordered = isinstance(captions, Mapping | Set) or getattr(captions, "ndim", 1) != 1
    if unordered or not isinstance(captions, Iterable):
        raise InvalidError(
            f"image {place}: its captions are {kind_of(captions)}. Give a string, or a list of "
            "them."
        )
    return list(captions)


def _in_order(values: Iterable[Any], argument: str) -> list[Any]:
    """The values by their places; InvalidError for a string, and for what has no places."""
    # A string would give its letters, a dict its keys, a frame its column names, a set any order.
    table = hasattr(values, "columns")
    if isinstance(values, str | bytes | Mapping | Set) or table or not isinstance(values, Iterable):
        raise InvalidError(f"{argument} is {kind_of(values)}. Give a list, in the order of images.")
    return list(values)


def _names(pictures: Sequence[Any]) -> list[str]:
    """File names where they are all different, else places."""
    # Names last longer than places: a run on a part of the images keeps them.
    if all(isinstance(picture, str | Path) for picture in pictures):
        names = [Path(picture).name for picture in pictures]
        if len(set(names)) == len(names):
            return names
    return [str(place) for place in range(len(pictures))]


def _image_side(pictures: Sequence[Any], names: Sequence[str]) -> Side:
    from PIL.Image import Image

    if all(isinstance(picture, str | Path) for picture in pictures):
        return image_side(image_files([Path(picture) for picture in pictures]), names)
    for name, picture in zip(names, pictures, strict=True):
        if not isinstance(picture, Image):
            raise InvalidError(
                f"image {name}: is {type(picture).__name__}. Give all images as paths, or all as "
                "Pillow images."
            )
    return image_side(Pictures(pictures, [f"image {name}" for name in names]), names)
