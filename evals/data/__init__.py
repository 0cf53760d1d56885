"""Where data comes from: `load` reads the subsets of a benchmark by the `data` key of its row."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np

from evals.config.plugins import DATA, plugins
from evals.data.checks import check_file_name
from evals.data.items import queries_of
from evals.data.sides import origin_with_counts
from evals.schema import (
    ConfigError,
    Data,
    ImageText,
    InvalidError,
    LabeledImages,
    Side,
    Source,
    TextPairs,
    TextRetrieval,
)


# Loaders import pyarrow, PIL or huggingface_hub, and none of that is needed to name one.
def _hub_captions(source: Source) -> dict[str, ImageText]:
    from evals.data.hub import load_hub_captions

    return load_hub_captions(source)


def _hub_retrieval(source: Source) -> dict[str, ImageText]:
    from evals.data.hub import load_hub_retrieval

    return load_hub_retrieval(source)


def _hub_webdataset(source: Source) -> dict[str, ImageText]:
    from evals.data.webdataset import load_hub_webdataset

    return load_hub_webdataset(source)


def _scenes(source: Source) -> dict[str, ImageText]:
    from evals.data.scenes import load_scenes

    return load_scenes(source)


def _labeled_webdataset(source: Source) -> dict[str, LabeledImages]:
    from evals.data.labeled_webdataset import load_labeled_webdataset

    return load_labeled_webdataset(source)


def _labeled_parquet(source: Source) -> dict[str, LabeledImages]:
    from evals.data.labeled_parquet import load_labeled_parquet

    return load_labeled_parquet(source)


D = TypeVar("D", ImageText, LabeledImages, TextRetrieval, TextPairs)
Load = Callable[[Source], Mapping[str, Data]]
LOAD: dict[str, Load] = {
    "captions": _hub_captions,
    "hub_captions": _hub_captions,
    "hub_retrieval": _hub_retrieval,
    "hub_webdataset": _hub_webdataset,
    "labeled_webdataset": _labeled_webdataset,
    "labeled_parquet": _labeled_parquet,
    "scenes": _scenes,
}


def load(loader: str, source: Source) -> dict[str, Any]:
    """The subsets that `source` names, by LOAD[loader].

    When the source has a folder they are read from there, in whatever layout. ConfigError: no such
    loader. InvalidError: the name of the folder is not UTF-8. Others are those of the loaders.
    """
    brought = {} if loader in LOAD else plugins(DATA, LOAD)
    if loader not in LOAD and loader not in brought:
        raise ConfigError(
            f"No loader {loader!r} (`data` of a benchmark's row). Use one of "
            f"{', '.join([*LOAD, *brought])}; docs/plugins.md says how to bring one."
        )
    if source.folder is not None:
        check_file_name(source.folder)
    # Its format is its own: the layouts that are known here are not looked for.
    if loader in brought:
        return dict(brought[loader].load()(source))
    if source.folder is not None and source.prompts is not None:
        from evals.data.class_folders import load_labeled

        return load_labeled(source)
    if source.folder is not None and loader != "scenes":
        from evals.data.local import load_local

        return load_local(source)
    return dict(LOAD[loader](source))


def subset_of(data: D, limit: int, seed: int = 0) -> D:
    """A part of the data: `limit` images with all their captions or labels, queries, or pairs.

    They are chosen by seed and id alone: the choice does not depend on the order of the data, and a
    larger limit only adds to it. Classes, prompts and documents stay. All of `data` comes back
    unchanged when it has no more than `limit`. ConfigError for a limit below 1.
    """
    if limit < 1:
        raise ConfigError(f"--limit {limit}: must be 1 or more.")
    ids = data.drawn
    if limit >= len(ids):
        return data

    # A hash per id, not a shuffle of all: one that is added moves no other.
    def draw(index: int) -> bytes:
        return sha256(f"{seed}:{ids[index]}".encode()).digest()

    chosen = sorted(sorted(range(len(ids)), key=draw)[:limit])
    drawn = {"limit": str(limit), "seed": str(seed)}
    if isinstance(data, TextRetrieval):
        return queries_of(data, chosen, {**data.origin, **drawn})
    if isinstance(data, TextPairs):
        first, second = data.first.select(chosen), data.second.select(chosen)
        origin = {**data.origin, **drawn}
        return replace(data, first=first, second=second, gold=data.gold[chosen], origin=origin)
    images = data.images.select(chosen)
    origin = origin_with_counts(data.origin, images) | drawn
    if isinstance(data, LabeledImages):
        return replace(data, images=images, labels=data.labels[chosen], origin=origin)
    return _captioned(data, images, chosen, origin)


def _captioned(
    data: ImageText, images: Side, chosen: list[int], origin: dict[str, str]
) -> ImageText:
    """The captions of the chosen images, with the pairs of text and image counted anew."""
    # `also` and the first images as one list of pairs, so that a text may lose its first image and
    # keep another.
    first_images = np.stack([np.arange(len(data.texts)), data.image_of_text], axis=1)
    pairs = np.concatenate([first_images, data.also])
    pairs = pairs[np.isin(pairs[:, 1], chosen)]
    texts, first = np.unique(pairs[:, 0], return_index=True)
    text_numbers = np.searchsorted(texts, pairs[:, 0])
    image_numbers = np.searchsorted(chosen, pairs[:, 1])
    pairs = np.stack([text_numbers, image_numbers], axis=1)
    return replace(
        data,
        images=images,
        texts=data.texts.select(texts.tolist()),
        image_of_text=pairs[first, 1],
        also=np.delete(pairs, first, axis=0),
        origin=origin,
    )


def check_counts(data: Data, *, allow_subset: bool, name: str, **declared: int) -> bool:
    """Whether `data` is a part of what the row declares.

    `declared` has the names of `data.counts`. Classes are never a part. InvalidError when the
    counts differ and `allow_subset` does not permit it.
    """
    counts = data.counts
    if all(counts[kind] == count for kind, count in declared.items()):
        return False
    present = " and ".join(f"{counts[kind]:,} {kind}" for kind in declared)
    expected = " and ".join(f"{count:,}" for count in declared.values())
    what = f"{name}: {present}, where the row declares {expected}"
    # Fewer images are a part of a benchmark. Fewer classes are an easier one.
    if "classes" in counts and counts["classes"] != declared.get("classes"):
        raise InvalidError(
            f"{what}. Another number of classes is another benchmark: "
            "check the folder and its class names."
        )
    if any(counts[kind] > count for kind, count in declared.items()):
        raise InvalidError(
            f"{what}. That is more than the benchmark has: check the split and the folder."
        )
    if not allow_subset:
        raise InvalidError(
            f"{what}. Complete the data, "
            "or pass --allow-subset to measure this part under its own key."
        )
    return True
