"""CLIP_benchmark's webdatasets of labelled images, in a local folder or in a repo on the Hub.

<root>/dataset_type.txt       "multilabel", or absent for one class per image
<root>/classnames.txt         one name per line, in the order of the labels; else clip-benchmark's
<root>/zeroshot_classification_templates.txt
                              one template per line, with {c}; else clip-benchmark's
<root>/<split>/{0..n-1}.tar   a sample is <key>.{webp,png,jpg,jpeg} and <key>.cls (a number), or
                              <key>.npy with a 1 for each of its classes and 0 for the others
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np

from evals.data.labeled import (
    Labeled,
    LabeledRelease,
    label_of,
    labelled,
    prompts_of,
    required_names,
)
from evals.data.prompts import NAMES, TEMPLATES, names_of
from evals.data.webdataset import TYPE, Member, fetched, images_of, kind_of, samples
from evals.schema import ConfigError, InvalidError, LabeledImages, Source


def load_labeled_webdataset(source: Source) -> dict[str, LabeledImages]:
    """The set in a repo such as `clip-benchmark/wds_vtab-pets`, at one commit.

    The checksum of each shard is checked. Errors are those of
    evals.data.webdataset.load_hub_webdataset; ConfigError: a set of captions, or of the other kind
    of labels.
    """
    place = fetched(source, NAMES, TEMPLATES)
    origin = {"layout": "labeled_webdataset", **place.origin}
    return read_labeled_webdataset(place.folder, source, origin)


def read_labeled_webdataset(
    root: Path, source: Source, origin: Mapping[str, str]
) -> dict[str, LabeledImages]:
    """The samples of all shards of the split; image ids are the keys."""
    prompts = prompts_of(source)
    _check_kind(root, prompts.multilabel)
    names = required_names(names_of(root, prompts), str(root))
    rows: list[Labeled] = []
    members: list[Member] = []
    ending = "npy" if prompts.multilabel else "cls"
    for sample in samples(root / source.split, ending, "label"):
        label = _label(sample.annotation, multilabel=prompts.multilabel)
        rows.append(Labeled(sample.key, label, sample.where))
        members.append(sample.image)
    return labelled(LabeledRelease(rows, names, lambda: images_of(members), root, origin), source)


def _check_kind(root: Path, multilabel: bool) -> None:
    kind = kind_of(root) or "classification"
    if kind == "retrieval" or (kind == "multilabel") != multilabel:
        needed = "'multilabel'" if multilabel else "a set with one class per image"
        raise ConfigError(
            f"{root / TYPE}: says {kind[:40]!r}, and the row needs {needed}. Point at another set."
        )


def _label(member: Member, *, multilabel: bool) -> int | tuple[bool, ...]:
    """The class of an image, or a truth for each class."""
    if multilabel:
        return _truths(member.data(), member.where)
    return label_of(member.text(), member.where)


def _truths(data: bytes, where: str) -> tuple[bool, ...]:
    try:
        # A pickle in it would run code.
        truths = np.load(BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise InvalidError(f"{where}: not an array of numpy ({error}). Write it again.") from None
    if not isinstance(truths, np.ndarray) or truths.ndim != 1 or not np.isin(truths, (0, 1)).all():
        raise InvalidError(f"{where}: must hold a 0 or 1 for each class. Write it again.")
    return tuple(bool(truth) for truth in truths)
