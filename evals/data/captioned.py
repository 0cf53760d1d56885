"""Captioned images as every layout gives them, and how they become data that can be measured.

A layout reads its annotations into a `Release`. `measured` turns that into one `ImageText` per
subset. Images that several subsets share are read and hashed once, and their `Side` is one object.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from evals.data.checks import check_ids, check_origin, check_texts
from evals.data.images import Images, Pictures
from evals.data.sides import image_side, origin_with_counts, text_side
from evals.schema import CaptionProtocol, ImageText, InvalidError, Side, Source


@dataclass(frozen=True)
class Captioned:
    """One image with its captions; `where` is the place in the annotations that messages name."""

    image: str
    captions: tuple[str, ...]
    where: str
    folder: str = ""


@dataclass(frozen=True)
class Release:
    """What a layout holds: the captioned images of each subset, and how to open images.

    `layout` and `place` (path or repo) go into the record. `images(rows)` gives the images of the
    rows in their order, undecoded. `quoted`: captions carry CSV quotes, baked in where the data was
    made. `origin` is what the record says beside the place of how the data was read.
    """

    layout: str
    place: str
    rows: Mapping[str, Sequence[Captioned]]
    images: Callable[[Sequence[Captioned]], Images | Pictures]
    quoted: bool = False
    origin: Mapping[str, str] = field(default_factory=dict)


class _Texts(NamedTuple):
    """Captions with their ids and images.

    `also` has further images of a caption, as pairs of text and image.
    """

    texts: list[str]
    ids: list[str]
    image_of_text: np.ndarray
    also: np.ndarray


def measured(
    release: Release, source: Source, origin: Mapping[str, str] | None = None
) -> dict[str, ImageText]:
    """The data of each subset. Image ids are the names as written, text ids `<image>#<n>`.

    Captions are kept verbatim.

    InvalidError names the place of a caption or image that cannot be measured.
    """
    rows_of: dict[str, list[Captioned]] = {}
    for subset, rows in release.rows.items():
        name = f"{release.place}, {subset}" if len(release.rows) > 1 else release.place
        check(rows, name)
        rows_of[subset] = [_by_protocol(row, source.protocol, release.quoted) for row in rows]

    # Subsets in many languages mostly list the same images.
    distinct: dict[str, Captioned] = {}
    for rows in rows_of.values():
        for row in rows:
            distinct.setdefault(row.image, row)
    images = image_side(release.images(list(distinct.values())), list(distinct))
    index = {name: i for i, name in enumerate(distinct)}

    place = {"layout": release.layout, **(origin or {"path": release.place})}
    check_origin(place)
    sides: dict[tuple[str, ...], Side] = {tuple(distinct): images}
    data: dict[str, ImageText] = {}
    # Sides that are one object are embedded once and stored once.
    for subset, rows in rows_of.items():
        names = tuple(row.image for row in rows)
        if names not in sides:
            sides[names] = images.select([index[name] for name in names])
        data[subset] = _image_text(rows, sides[names], subset, source.protocol, place)
    return data


def check(rows: Sequence[Captioned], name: str) -> None:
    """Refuse no rows, an image that is listed twice, and captions that are none."""
    if not rows:
        raise InvalidError(f"{name}: no captioned images in it. Check that the file is complete.")
    check_ids((row.image, row.where) for row in rows)
    for row in rows:
        if not row.captions:
            raise InvalidError(
                f"{row.where}: image {row.image!r} has no captions. Add one, or remove the image."
            )
        check_texts(row.captions, row.where, what="caption", owner=f"image {row.image!r}")


def quoted_caption(caption: str) -> str:
    """The caption as a cell of a CSV file.

    CLIP_benchmark's Flickr loader takes the cell for the caption itself.
    """
    if not any(character in caption for character in ',"\n\r'):
        return caption
    return '"' + caption.replace('"', '""') + '"'


def _by_protocol(row: Captioned, protocol: CaptionProtocol, quoted: bool) -> Captioned:
    """The row with the captions that are measured, as they are measured."""
    captions = row.captions
    if quoted and protocol.quotes == "csv":
        captions = tuple(_unquoted(caption, row.where) for caption in captions)
        # A pair of quotes with nothing between them was a caption until now.
        check_texts(captions, row.where, what="caption", owner=f"image {row.image!r}")
    elif not quoted and protocol.quotes == "clip_benchmark":
        captions = tuple(map(quoted_caption, captions))
    if protocol.captions != "all":
        captions = captions[: 1 if protocol.captions == "first" else protocol.captions]
    return replace(row, captions=captions)


def _unquoted(caption: str, where: str) -> str:
    # A caption that only begins with a quote is no cell, and has more than one of them.
    cells = next(csv.reader([caption]), [""]) if caption.startswith('"') else [caption]
    if len(cells) != 1:
        raise InvalidError(
            f"{where}: caption {caption[:40]!r} is not one cell of CSV. Correct its quotes."
        )
    return cells[0]


def _image_text(
    rows: Sequence[Captioned],
    images: Side,
    subset: str,
    protocol: CaptionProtocol,
    origin: Mapping[str, str],
) -> ImageText:
    captions = _texts_of(rows)
    if protocol.duplicates == "merged":
        captions = _merged(captions)
    return ImageText(
        images=images,
        texts=text_side(captions.texts, captions.ids, subset),
        image_of_text=captions.image_of_text,
        origin=origin_with_counts(origin, images),
        also=captions.also,
    )


def _texts_of(rows: Sequence[Captioned]) -> _Texts:
    """All captions, image by image."""
    texts: list[str] = []
    ids: list[str] = []
    image_of_text: list[int] = []
    for image, row in enumerate(rows):
        texts += row.captions
        ids += [f"{row.image}#{number}" for number in range(len(row.captions))]
        image_of_text += [image] * len(row.captions)
    none = np.zeros((0, 2), dtype=np.int64)
    return _Texts(texts, ids, np.array(image_of_text, dtype=np.int64), none)


def _merged(captions: _Texts) -> _Texts:
    """Equal captions as one, which keeps the id of the first and has the images of all."""
    # Per caption: its images in their order, each with the first text that describes it.
    places: dict[str, dict[int, int]] = {}
    pairs = zip(captions.texts, captions.image_of_text.tolist(), strict=True)
    for number, (text, image) in enumerate(pairs):
        places.setdefault(text, {}).setdefault(image, number)
    firsts = [next(iter(texts.values())) for texts in places.values()]
    also: list[tuple[int, int]] = []
    for number, texts in enumerate(places.values()):
        also += [(number, image) for image in list(texts)[1:]]
    return _Texts(
        [captions.texts[number] for number in firsts],
        [captions.ids[number] for number in firsts],
        captions.image_of_text[firsts],
        np.array(also, dtype=np.int64).reshape(-1, 2),
    )
