"""Labelled images as every layout gives them, and how they become data to measure: checks, prompts, ids, hashes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evals.data.images import Images, content_hash
from evals.data.prompts import NAMES, Listed, digest, fill, templates_of
from evals.schema import ClassPrompts, ConfigError, InvalidError, LabeledImages, Side, Source


@dataclass(frozen=True)
class Labeled:
    """One image with its class, or with a truth for each class; `where` is the place that messages name."""

    image: str
    label: int | tuple[bool, ...]
    where: str


@dataclass(frozen=True)
class LabeledRelease:
    """What a layout holds. `names` are the classes in the order of the labels, `images` opens the images of all rows.

    `root` is the folder that may bring its own templates; `origin` goes into the record.
    """

    rows: Sequence[Labeled]
    names: Listed
    images: Callable[[], Images]
    root: Path | None
    origin: Mapping[str, str]


def labelled(release: LabeledRelease, source: Source) -> dict[str, LabeledImages]:
    """The data of the only subset. Image ids are the names as written, prompt ids `<class>#<n>`.

    InvalidError names the place of a label that is no class of the row.
    """
    prompts, names = prompts_of(source), tuple(release.names.values)
    _check(release.rows, prompts, release.origin)
    templates = templates_of(release.root, prompts)
    of_class = [fill(templates.values, name) for name in names]
    texts = [text for every in of_class for text in every]
    side = Side(
        "text",
        texts,
        [f"{c}#{n}" for c, every in enumerate(of_class) for n in range(len(every))],
        [content_hash(text.encode()) for text in texts],
        language=source.subsets[0],
    )
    images = release.images()
    hashes = [content_hash(images.read(i)) for i in range(len(images))]
    origin = {
        **release.origin,
        "classnames": release.names.origin,
        "templates": templates.origin,
        "prompts_sha256": digest(texts),
    }
    labels = np.array(
        [row.label for row in release.rows], dtype=bool if prompts.multilabel else np.int64
    )
    class_of_text = np.repeat(np.arange(len(names)), [len(every) for every in of_class])
    every = Side("image", images, [row.image for row in release.rows], hashes)
    return {source.subsets[0]: LabeledImages(every, labels, names, side, class_of_text, origin)}


def prompts_of(source: Source) -> ClassPrompts:
    """What the row says of its classes."""
    if source.prompts is None:
        raise ConfigError(
            "Labelled images need a row with `task: classification` and `classes`. Check the row."
        )
    return source.prompts


def required_names(found: Listed | None, place: str) -> Listed:
    """The names, where there are some."""
    if found is None:
        raise InvalidError(
            f"{place}: no {NAMES} in it, and clip-benchmark names no classes of this set. Add one, a name a line."
        )
    return found


def label_of(text: str, where: str) -> int:
    """A label written in digits."""
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise InvalidError(
            f"{where}: {text[:40]!r} is not the number of a class, from 0. Correct it."
        )
    return int(text)


def _check(rows: Sequence[Labeled], prompts: ClassPrompts, origin: Mapping[str, str]) -> None:
    if not rows:
        raise InvalidError(
            f"{origin.get('path') or origin.get('repo')}: no labelled images in it. Check that it is complete."
        )
    first: dict[str, str] = {}
    for row in rows:
        if row.image in first:
            raise InvalidError(
                f"{row.where}: image {row.image!r} is at {first[row.image]} too. Remove one of them."
            )
        first[row.image] = row.where
        if prompts.multilabel != isinstance(row.label, tuple):
            raise InvalidError(
                f"{row.where}: the row has {'several classes' if prompts.multilabel else 'one class'} an image."
            )
        if isinstance(row.label, tuple) and len(row.label) != prompts.classes:
            raise InvalidError(
                f"{row.where}: {len(row.label)} truths, where the row has {prompts.classes} classes."
            )
        if isinstance(row.label, int) and not row.label < prompts.classes:
            raise InvalidError(
                f"{row.where}: class {row.label}, where the row has {prompts.classes} classes, from 0."
            )
