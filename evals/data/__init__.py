"""Where data comes from: LOAD maps the `data` key of a benchmark's row to the function that reads a subset."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import numpy as np

from evals.schema import ConfigError, ImageText, InvalidError, Source


def _captions(source: Source) -> ImageText:
    from evals.data.captions import load_captions

    return load_captions(source) if source.folder is not None else _hub_captions(source)


def _hub_captions(source: Source) -> ImageText:
    from evals.data.captions import load_captions
    from evals.data.hub import load_hub_captions

    return (load_hub_captions if source.folder is None else load_captions)(source)


def _hub_retrieval(source: Source) -> ImageText:
    from evals.data.captions import load_captions
    from evals.data.hub import load_hub_retrieval

    return (load_hub_retrieval if source.folder is None else load_captions)(source)


def _scenes(source: Source) -> ImageText:
    from evals.data.scenes import load_scenes

    return load_scenes(source)


LOAD: dict[str, Callable[[Source], ImageText]] = {
    "captions": _captions,
    "hub_captions": _hub_captions,
    "hub_retrieval": _hub_retrieval,
    "scenes": _scenes,
}


def load(loader: str, source: Source) -> ImageText:
    """The subset that `source` names, read by LOAD[loader]; a local folder goes before the Hub."""
    if loader not in LOAD:
        raise ConfigError(f"No loader {loader!r} (`data` of a benchmark's row). Use one of {', '.join(LOAD)}.")
    return LOAD[loader](source)


def subset_of(data: ImageText, limit: int, seed: int = 0) -> ImageText:
    """`limit` images with all their captions, chosen by seed and image id alone and kept in their order.

    The choice does not depend on the order of the data, and a larger limit only adds images.
    All of `data` comes back unchanged when it has no more than `limit` images.
    """
    if limit < 1:
        raise ConfigError(f"--limit {limit}: must be 1 or more.")
    if limit >= len(data.images):
        return data
    by_chance = sorted(range(len(data.images)), key=lambda i: sha256(f"{seed}:{data.images.ids[i]}".encode()).digest())
    images = sorted(by_chance[:limit])
    texts = np.flatnonzero(np.isin(data.image_of_text, images)).tolist()
    return replace(
        data,
        images=data.images.select(images),
        texts=data.texts.select(texts),
        image_of_text=np.searchsorted(images, data.image_of_text[texts]),
        origin={**data.origin, "limit": str(limit), "seed": str(seed)},
    )


def check_counts(data: ImageText, *, images: int, texts: int, allow_subset: bool, name: str) -> bool:
    """Whether `data` is a part of what the row declares; InvalidError when it differs and `allow_subset` does not permit it."""
    found = (len(data.images), len(data.texts))
    if found == (images, texts):
        return False
    what = f"{name}: {found[0]:,} images and {found[1]:,} texts, where the row declares {images:,} and {texts:,}"
    if found[0] > images or found[1] > texts:
        raise InvalidError(f"{what}. That is more than the benchmark has: check the split and the folder.")
    if not allow_subset:
        raise InvalidError(f"{what}. Complete the data, or pass --allow-subset to measure this part under its own key.")
    return True
