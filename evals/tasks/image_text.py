"""Retrieval between images and their captions, in both directions.

`t2i/R@k` is the share of captions whose image is among the k most similar images; `i2t/R@k` the
share of images with one of their captions or more among the k most similar captions. Intervals
resample images with all that belongs to them; images that share a caption are drawn together.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, Int64

from evals.ranking.definition import Ranks
from evals.ranking.measures import of_queries, of_ranks
from evals.ranking.metrics import mean, tie_rate
from evals.ranking.relevance import Relevant
from evals.ranking.sweep import Key, ranks_at
from evals.schema import ImageText, Side
from evals.stats.bootstrap import cluster_bootstrap
from evals.stats.clusters import components
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
    """Both directions at each dimension and precision, from the full-width rows of images and texts."""
    images, texts = rows
    pairs = np.concatenate(
        [np.stack([np.arange(len(texts)), data.image_of_text], axis=1), data.also]
    )
    every = ranks_at(
        images, texts, Relevant.from_pairs(pairs, len(texts)), dims, precisions, device=device
    )
    order = [(dim, name) for dim in dims for name in precisions]
    clusters = image_clusters(data, data.also)
    t2i = _scores(
        "t2i",
        {key: every[key].t2i for key in order},
        data,
        data.texts.ids,
        clusters[data.image_of_text],
        len(images),
    )
    i2t = _scores(
        "i2t",
        {key: every[key].i2t for key in order},
        data,
        data.images.ids,
        clusters,
        len(texts),
    )
    return [scores for both in zip(t2i, i2t, strict=True) for scores in both]


def image_clusters(
    data: ImageText, also: Int[np.ndarray, "pairs 2"]
) -> Int64[np.ndarray, "images"]:
    """For each image the first one of its cluster: images that share captions, directly or by others.

    `also` are the pairs of `data.also` whose captions count.
    """
    edges = np.stack([data.image_of_text[also[:, 0]], also[:, 1]], axis=1)
    return components(edges, len(data.images))


def _scores(
    direction: str,
    every: Mapping[Key, Ranks],
    data: ImageText,
    query_ids: Sequence[str],
    cluster_of_query: Int[np.ndarray, "q"],
    n_gallery: int,
) -> list[Scores]:
    """The metrics of one direction; all intervals come from one product of the resamples."""
    columns = {key: of_queries(found) for key, found in every.items()}
    flat = {(*key, name): column for key, some in columns.items() for name, column in some.items()}
    intervals = cluster_bootstrap(flat, cluster_of_query)
    groups = [data.images.ids[i] for i in cluster_of_query]
    out = []
    for (dim, precision), found in every.items():
        some = columns[dim, precision]
        values = {
            name: Value(mean(column), intervals[dim, precision, name])
            for name, column in some.items()
        }
        values |= {name: Value(value, None) for name, value in of_ranks(found).items()}
        out.append(
            Scores(
                direction,
                dim,
                values,
                vars(found),
                query_ids,
                groups,
                n_gallery,
                tie_rate(found),
                precision,
            )
        )
    return out
