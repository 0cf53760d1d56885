"""Retrieval between images and their captions, in both directions.

`t2i/R@k` is the share of captions whose image is among the k most similar images; `i2t/R@k` the share of images with one of
their captions or more among the k most similar captions. Intervals resample images with all that belongs to them; a caption of
several images goes with the first of them.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from evals.counting import Relevant
from evals.metrics import mean, mean_rank, median_rank, per_query, tie_rate, truncate
from evals.ranks import Ranks, cross_ranks
from evals.schema import ImageText, Side
from evals.stats import cluster_bootstrap
from evals.tasks.scores import Scores, Value


def sides(data: ImageText) -> list[Side]:
    """The images, then the texts."""
    return [data.images, data.texts]


def score(
    rows: Sequence[Float[np.ndarray, "_ d"]],
    data: ImageText,
    *,
    dims: Sequence[int],
    precisions: Sequence[str] = ("float32",),
    device: str = "cpu",
) -> list[Scores]:
    """Both directions at each dimension, from the full-width rows of images and texts."""
    if tuple(precisions) != ("float32",):
        raise NotImplementedError
    images, texts = rows
    return [scores for dim in dims for scores in _both(images, texts, data, dim=dim, device=device)]


def _both(
    images: Float[np.ndarray, "images d"], texts: Float[np.ndarray, "texts d"], data: ImageText, *, dim: int, device: str
) -> list[Scores]:
    x, y = truncate(images, dim), truncate(texts, dim)
    image_of_text = data.image_of_text
    pairs = np.concatenate([np.stack([np.arange(len(texts)), image_of_text], axis=1), data.also])
    found = cross_ranks(x, y, Relevant.of_pairs(pairs, len(texts)), device=device)
    return [
        _scores("t2i", dim, found.t2i, data, data.texts.ids, image_of_text, len(images)),
        _scores("i2t", dim, found.i2t, data, data.images.ids, np.arange(len(images)), len(texts)),
    ]


def _scores(
    direction: str,
    dim: int,
    found: Ranks,
    data: ImageText,
    query_ids: Sequence[str],
    image_of_query: Int[np.ndarray, "q"],
    n_gallery: int,
) -> Scores:
    columns = per_query(found)
    intervals = cluster_bootstrap(columns, image_of_query)
    values = {name: Value(mean(column), intervals[name]) for name, column in columns.items()}
    values |= {"median_rank": Value(median_rank(found), None), "mean_rank": Value(mean_rank(found), None)}
    groups = [data.images.ids[i] for i in image_of_query]
    return Scores(direction, dim, values, vars(found), query_ids, groups, n_gallery, tie_rate(found))
