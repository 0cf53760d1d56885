"""Labelled images as every layout gives them, and how they become data to measure:

checks, prompts, ids, hashes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evals.data.checks import check_ids, check_origin, check_texts
from evals.data.images import Images, Pictures
from evals.data.prompts import NAMES, Listed, digest, fill, templates_of
from evals.data.sides import image_side, origin_with_counts, text_side
from evals.schema import ClassPrompts, ConfigError, InvalidError, LabeledImages, Source


@dataclass(frozen=True)
class Labeled:
    """One image with its class, or with a truth for each class.

    `where` is the place that messages name.
    """

    image: str
    label: int | tuple[bool, ...]
    where: str


@dataclass(frozen=True)
class LabeledRelease:
    """What a layout holds.

    `names` are the classes in the order of the labels, `images` opens the images of all rows.

    `root` is the folder that may bring its own templates; `origin` goes into the record.
    """

    rows: Sequence[Labeled]
    names: Listed
    images: Callable[[], Images | Pictures]
    root: Path | None
    origin: Mapping[str, str]


def labelled(release: LabeledRelease, source: Source) -> dict[str, LabeledImages]:
    """The data of the only subset. Image ids are the names as written, prompt ids `<class>#<n>`.

    InvalidError names the place of a label that is no class of the row, of an image that is listed
    twice, and of a class name or prompt that says nothing.
    """
    # Rows of labelled images have one subset, see evals.config.catalog.
    prompts, subset = prompts_of(source), source.subsets[0]
    _check_rows(release.rows, prompts, release.origin)
    classnames = tuple(release.names.values)
    place = f"{release.root}: " if release.root else ""
    check_texts(classnames, f"{place}{release.names.origin}", what="class name")
    templates = templates_of(release.root, prompts)

    # Class names may be equal, as in ImageNet: prompts are told apart by the number of their class.
    texts: list[str] = []
    ids: list[str] = []
    class_of_text: list[int] = []
    for number, name in enumerate(classnames):
        filled = fill(templates.values, name)
        texts += filled
        ids += [f"{number}#{n}" for n in range(len(filled))]
        class_of_text += [number] * len(filled)
    check_texts(texts, f"{place}{templates.origin}", what="prompt")

    images = image_side(release.images(), [row.image for row in release.rows])
    origin = {
        **release.origin,
        "classnames": release.names.origin,
        "templates": templates.origin,
        "prompts_sha256": digest(texts),
    }
    check_origin(origin)
    dtype = bool if prompts.multilabel else np.int64
    data = LabeledImages(
        images=images,
        labels=np.array([row.label for row in release.rows], dtype=dtype),
        classnames=classnames,
        texts=text_side(texts, ids, subset),
        class_of_text=np.array(class_of_text, dtype=np.int64),
        origin=origin_with_counts(origin, images),
    )
    return {subset: data}


def prompts_of(source: Source) -> ClassPrompts:
    """What the row says of its classes; ConfigError when it says nothing."""
    if source.prompts is None:
        raise ConfigError(
            "Labelled images need a row with `task: classification` and `classes`. Check the row."
        )
    return source.prompts


def required_names(names: Listed | None, place: str) -> Listed:
    """The class names; InvalidError when neither the data nor clip-benchmark has them."""
    if names is None:
        raise InvalidError(
            f"{place}: no {NAMES} in it, and clip-benchmark names no classes of this set. "
            "Add one, with one name per line."
        )
    return names


def label_of(text: str, where: str) -> int:
    """A label written in digits; InvalidError for anything else."""
    # `int` also takes 1_0, +1 and digits of other scripts.
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        raise InvalidError(
            f"{where}: {text[:40]!r} is not the number of a class, from 0. Correct it."
        )
    return int(digits)


def _check_rows(rows: Sequence[Labeled], prompts: ClassPrompts, origin: Mapping[str, str]) -> None:
    if not rows:
        place = origin.get("path") or origin.get("repo")
        raise InvalidError(f"{place}: no labelled images in it. Check that it is complete.")
    check_ids((row.image, row.where) for row in rows)
    for row in rows:
        problem = _label_problem(row.label, prompts)
        if problem:
            raise InvalidError(f"{row.where}: {problem}. Correct the data, or check the row.")


def _label_problem(label: int | tuple[bool, ...], prompts: ClassPrompts) -> str:
    """Why a label does not fit the row; empty for one that does."""
    if prompts.multilabel != isinstance(label, tuple):
        kind = "several classes" if prompts.multilabel else "one class"
        return f"the row has {kind} per image, and this image has not"
    if isinstance(label, tuple):
        fits = len(label) == prompts.classes
        return "" if fits else f"{len(label)} truths, where the row has {prompts.classes} classes"
    fits = 0 <= label < prompts.classes
    return "" if fits else f"class {label}, where the row has {prompts.classes} classes, from 0"
