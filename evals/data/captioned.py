"""Captioned images as every layout gives them, and how they become data to measure: checks, protocol, ids, hashes.

A layout reads its annotations into a `Release`; `measured` turns that into one `ImageText` a subset. Images that subsets share
are read and hashed once, and their `Side` is one object.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evals.data.images import Images, content_hash
from evals.schema import CaptionProtocol, ImageText, InvalidError, MissingError, Side, Source


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

    `layout` and `place` (path or repo) go into the record. `images(rows)` gives the images of the rows in their order, undecoded.
    `quoted`: captions carry CSV quotes, baked in where the data was made.
    """

    layout: str
    place: str
    rows: Mapping[str, Sequence[Captioned]]
    images: Callable[[Sequence[Captioned]], Images]
    quoted: bool = False


class Line(NamedTuple):
    """A line of a text file without its line end; `where` is its file and number."""

    text: str
    where: str


def measured(
    release: Release, source: Source, origin: Mapping[str, str] | None = None
) -> dict[str, ImageText]:
    """The data of each subset. Image ids are the names as written, text ids `<image>#<n>`; captions are kept verbatim.

    InvalidError names the place of a caption or image that cannot be measured.
    """
    protocol = source.protocol
    rows = {}
    for subset, given in release.rows.items():
        check(given, f"{release.place}, {subset}" if len(release.rows) > 1 else release.place)
        rows[subset] = [
            replace(row, captions=_protocol_captions(row, protocol, release.quoted))
            for row in given
        ]
    distinct: dict[str, Captioned] = {}
    for row in (row for given in rows.values() for row in given):
        distinct.setdefault(row.image, row)
    images = release.images(list(distinct.values()))
    every = Side(
        "image", images, list(distinct), [content_hash(images.read(i)) for i in range(len(images))]
    )
    index = {name: i for i, name in enumerate(distinct)}
    sides: dict[tuple[str, ...], Side] = {tuple(distinct): every}
    place = {"layout": release.layout, **(origin or {"path": release.place})}
    data = {}
    for subset, given in rows.items():
        names = tuple(row.image for row in given)
        if names not in sides:
            sides[names] = every.select([index[name] for name in names])
        data[subset] = _image_text(given, sides[names], subset, protocol, place)
    return data


def check(rows: Sequence[Captioned], name: str) -> None:
    """Refuse no rows, an image listed twice, and captions that are none."""
    if not rows:
        raise InvalidError(f"{name}: no captioned images in it. Check that the file is complete.")
    first: dict[str, str] = {}
    for row in rows:
        if row.image in first:
            raise InvalidError(
                f"{row.where}: image {row.image!r} is listed at {first[row.image]} too. Merge the two entries."
            )
        first[row.image] = row.where
        if not row.captions:
            raise InvalidError(
                f"{row.where}: image {row.image!r} has no captions. Add one, or remove the image."
            )
        for n, caption in enumerate(row.captions):
            if problem := _problem(caption):
                raise InvalidError(
                    f"{row.where}: caption {n} of image {row.image!r} {problem}. Correct or remove it."
                )


def _protocol_captions(row: Captioned, protocol: CaptionProtocol, quoted: bool) -> tuple[str, ...]:
    captions = row.captions
    if quoted and protocol.quotes == "csv":
        captions = tuple(_unquoted(caption, row.where) for caption in captions)
    elif not quoted and protocol.quotes == "clip_benchmark":
        captions = tuple(map(quoted_caption, captions))
    if protocol.captions == "all":
        return captions
    return captions[: 1 if protocol.captions == "first" else protocol.captions]


def quoted_caption(caption: str) -> str:
    """The caption as it stands in a CSV file, which CLIP_benchmark's Flickr loader takes for the caption itself."""
    return (
        f'"{caption.replace(chr(34), chr(34) * 2)}"'
        if any(c in caption for c in ',"\n\r')
        else caption
    )


def _unquoted(caption: str, where: str) -> str:
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
    texts = [caption for row in rows for caption in row.captions]
    ids = [f"{row.image}#{n}" for row in rows for n in range(len(row.captions))]
    image_of_text = np.repeat(np.arange(len(rows)), [len(row.captions) for row in rows])
    also = np.zeros((0, 2), dtype=np.int64)
    if protocol.duplicates == "merged":
        pairs: dict[str, dict[int, int]] = {}  # caption -> its images, and the first text of each
        for n, (text, image) in enumerate(zip(texts, image_of_text.tolist(), strict=True)):
            pairs.setdefault(text, {}).setdefault(image, n)
        kept = [next(iter(of.values())) for of in pairs.values()]
        also = np.array(
            [(n, i) for n, of in enumerate(pairs.values()) for i in list(of)[1:]], dtype=np.int64
        ).reshape(-1, 2)
        texts, ids, image_of_text = (
            [texts[n] for n in kept],
            [ids[n] for n in kept],
            image_of_text[kept],
        )
    side = Side(
        "text", texts, ids, [content_hash(text.encode()) for text in texts], language=subset
    )
    return ImageText(images, side, image_of_text, origin, also)


def _problem(caption: str) -> str:
    if not caption.strip():  # over Unicode spaces: rows of a single NBSP do occur (mteb 5326)
        return "is empty"
    if "\0" in caption:
        return "holds a NUL character"
    if any("\ud800" <= c <= "\udfff" for c in caption):
        return "holds a lone surrogate, which is no character"
    return ""


def read_text(file: Path) -> str:
    """The whole file, UTF-8 with or without a mark; the errors name the line."""
    try:
        data = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
        return data.decode()
    except OSError as error:
        raise MissingError(
            f"{file}: cannot be read ({error.strerror}). Check the file and its permissions."
        ) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidError(
            f"{file}, line {line}: not UTF-8 ({error.reason}). Convert the file to UTF-8."
        ) from None


def read_lines(file: Path) -> Iterator[Line]:
    """The lines, ended by LF or CRLF only: a caption may hold U+2028 and its like."""
    lines = read_text(file).split("\n")
    for n, text in enumerate(lines[:-1] if lines[-1] == "" else lines, 1):
        yield Line(text.removesuffix("\r"), f"{file}, line {n}")


def read_json(text: str, where: str) -> Any:
    """The value of a JSON text; InvalidError names the place."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{where}, line {error.lineno}" if "\n" in text else where
        raise InvalidError(
            f"{place}: not JSON ({error.msg}, column {error.colno}). Correct it, or copy it again."
        ) from None
    except RecursionError:
        raise InvalidError(f"{where}: JSON nested too deeply. Copy the file again.") from None


def field_of(entry: Any, key: str, kind: type, where: str) -> Any:
    """`entry[key]`, which must be of that type."""
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind):
        raise InvalidError(
            f"{where}: `{key}` must be a {kind.__name__} and is {json.dumps(value)[:40]}. Correct the entry."
        )
    return value
