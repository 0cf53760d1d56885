"""Where data comes from: LOAD maps the `data` key of a benchmark's row to the function that reads a subset."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import numpy as np

from evals.schema import ConfigError, ImageText, InvalidError, Source


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


Load = Callable[[Source], dict[str, ImageText]]
LOAD: dict[str, Load] = {
    "captions": _hub_captions,
    "hub_captions": _hub_captions,
    "hub_retrieval": _hub_retrieval,
    "hub_webdataset": _hub_webdataset,
    "scenes": _scenes,
}


def load(loader: str, source: Source) -> dict[str, ImageText]:
    """The subsets that `source` names: from its folder, in whatever layout, when it has one, else by LOAD[loader]."""
    if loader not in LOAD:
        raise ConfigError(f"No loader {loader!r} (`data` of a benchmark's row). Use one of {', '.join(LOAD)}.")
    if source.folder is not None and loader != "scenes":
        from evals.data.local import load_local

        return load_local(source)
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
    pairs = np.concatenate([np.stack([np.arange(len(data.texts)), data.image_of_text], axis=1), data.also])
    pairs = pairs[np.isin(pairs[:, 1], images)]
    texts, first = np.unique(pairs[:, 0], return_index=True)
    pairs = np.stack([np.searchsorted(texts, pairs[:, 0]), np.searchsorted(images, pairs[:, 1])], axis=1)
    return replace(
        data,
        images=data.images.select(images),
        texts=data.texts.select(texts.tolist()),
        image_of_text=pairs[first, 1],
        also=np.delete(pairs, first, axis=0),
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
