"""Retrieval between images and their captions, in both directions.

`t2i/R@k` is the share of captions whose image is among the k most similar images; `i2t/R@k` the
share of images with one of their captions or more among the k most similar captions. Intervals
resample images with all that belongs to them; images that share a caption are drawn together.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

from evals.embeddings.precision import quantise
from evals.embeddings.rows import RowSource
from evals.embeddings.truncation import truncate
from evals.ranking.definition import Both, Ranks
from evals.ranking.metric_table import of_queries, of_ranks
from evals.ranking.metrics import mean, tie_rate
from evals.ranking.relevance import Relevant
from evals.ranking.stored import stored_ranks
from evals.ranking.stored_search import stored_top_k
from evals.ranking.sweep import Key, ranks_at
from evals.schema import ImageText, Side
from evals.stats.bootstrap import Interval
from evals.stats.clusters import components
from evals.stats.intervals import mean_intervals
from evals.tasks.best import Best, Judgements, best_docs
from evals.tasks.gallery_curve import Search
from evals.tasks.resampling import totals_on
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
    """Both directions at each dimension and precision, from the rows of images and texts.

    `rows` are full width. Raises ValueError and ConfigError as `evals.ranking.sweep.ranks_at` does.
    """
    images, texts = rows
    relevant = Relevant.from_pairs(caption_pairs(data), len(texts))
    ranks_by_key = ranks_at(images, texts, relevant, dims, precisions, device=device)
    keys = [(dim, name) for dim in dims for name in precisions]
    return _both_directions(ranks_by_key, data, keys, device=device)


def score_stored(
    rows: Sequence[RowSource],
    data: ImageText,
    *,
    dims: Sequence[int],
    precisions: Sequence[str] = ("float32",),
    memory: int,
    device: str = "cpu",
) -> list[Scores]:
    """What `score` gives, bit for bit, from rows on disk and in about `memory` bytes.

    Directions are ranked one after the other: each holds a part of its queries.
    """
    images, texts = rows
    t2i = Relevant.from_pairs(caption_pairs(data), len(data.texts))
    i2t = t2i.inverse(len(data.images))
    # Not in one pass, as `score` does it: that would hold the levels of all images and all texts.
    by_texts = stored_ranks(texts, images, t2i, dims, precisions, memory=memory, device=device)
    by_images = stored_ranks(images, texts, i2t, dims, precisions, memory=memory, device=device)
    ranks_by_key = {key: Both(by_texts[key], by_images[key]) for key in by_texts}
    return _both_directions(ranks_by_key, data, list(ranks_by_key), device=device)


def _both_directions(
    ranks_by_key: Mapping[Key, Both], data: ImageText, keys: Sequence[Key], *, device: str
) -> list[Scores]:
    """The scores of both directions, key by key."""
    clusters = image_clusters(data, data.also)
    t2i = direction_scores(
        "t2i",
        {key: ranks_by_key[key].t2i for key in keys},
        query_ids=data.texts.ids,
        group_ids=[data.images.ids[image] for image in clusters[data.image_of_text]],
        clusters=clusters[data.image_of_text],
        n_gallery=len(data.images),
        device=device,
    )
    i2t = direction_scores(
        "i2t",
        {key: ranks_by_key[key].i2t for key in keys},
        query_ids=data.images.ids,
        group_ids=[data.images.ids[image] for image in clusters],
        clusters=clusters,
        n_gallery=len(data.texts),
        device=device,
    )
    # A reader of the table finds both directions of a dimension side by side.
    scores = []
    for key in keys:
        scores += [t2i[key], i2t[key]]
    return scores


def best(
    rows: Sequence[Float[np.ndarray, "_ d"]],
    data: ImageText,
    *,
    dims: Sequence[int],
    precisions: Sequence[str],
    k: int,
    device: str,
) -> list[Best]:
    """The best images of each text and the best texts of each image, as `RankingTask.best` says."""
    image_ids, text_ids = data.images.ids, data.texts.ids
    kept = []
    for dim in dims:
        unit_images, unit_texts = (truncate(side_rows, dim) for side_rows in rows)
        for precision in precisions:
            images, texts = quantise(unit_images, precision), quantise(unit_texts, precision)
            places = best_docs(texts, images, k, device=device)
            kept.append(Best("t2i", dim, precision, text_ids, image_ids, *places))
            places = best_docs(images, texts, k, device=device)
            kept.append(Best("i2t", dim, precision, image_ids, text_ids, *places))
    return kept


def best_stored(
    rows: Sequence[RowSource],
    data: ImageText,
    *,
    dims: Sequence[int],
    precisions: Sequence[str],
    k: int,
    memory: int,
    device: str,
) -> list[Best]:
    """What `best` gives, from rows on disk and in about `memory` bytes."""
    images, texts = rows
    by_texts = stored_top_k(texts, images, k, dims, precisions, memory=memory, device=device)
    by_images = stored_top_k(images, texts, k, dims, precisions, memory=memory, device=device)
    image_ids, text_ids = data.images.ids, data.texts.ids
    kept = []
    for (dim, precision), hits in by_texts.items():
        kept.append(Best("t2i", dim, precision, text_ids, image_ids, hits.docs, hits.scores))
        hits = by_images[dim, precision]
        kept.append(Best("i2t", dim, precision, image_ids, text_ids, hits.docs, hits.scores))
    return kept


def searches(rows: Sequence[RowSource], data: ImageText) -> dict[str, Search]:
    """Both directions by the kind of what they search: images, by texts, and the other way round."""
    images, texts = rows
    t2i = Relevant.from_pairs(caption_pairs(data), len(data.texts))
    clusters = image_clusters(data, data.also)
    i2t = t2i.inverse(len(data.images))
    # By what joins the gallery: more images make it harder for texts, and more texts for images.
    return {
        "image": Search("t2i", texts, images, t2i, clusters[data.image_of_text]),
        "text": Search("i2t", images, texts, i2t, clusters),
    }


def judgements(data: ImageText) -> list[Judgements]:
    """The captions' images, and the images' captions, all of grade 1."""
    pairs = caption_pairs(data)
    grades = np.ones((len(pairs), 1), dtype=np.int64)
    image_ids, text_ids = data.images.ids, data.texts.ids
    return [
        Judgements("t2i", text_ids, image_ids, np.hstack([pairs, grades])),
        Judgements("i2t", image_ids, text_ids, np.hstack([pairs[:, ::-1], grades])),
    ]


def caption_pairs(data: ImageText) -> Int64[np.ndarray, "pairs 2"]:
    """All pairs of a text and an image that it describes."""
    first = np.stack([np.arange(len(data.texts)), data.image_of_text], axis=1)
    return np.concatenate([first, data.also])


def image_clusters(
    data: ImageText, also: Int[np.ndarray, "pairs 2"]
) -> Int64[np.ndarray, "images"]:
    """For each image the first one of its cluster.

    Images are in one cluster when they share captions, directly or by way of others. `also` are the
    pairs of `data.also` whose captions count.
    """
    # A caption joins its first image with each of its others.
    edges = np.stack([data.image_of_text[also[:, 0]], also[:, 1]], axis=1)
    return components(edges, len(data.images))


def retrieval_values(
    ranks: Ranks,
    columns: Mapping[str, Float64[np.ndarray, "q"]],
    intervals: Mapping[str, Interval | None],
) -> dict[str, Value]:
    """The metrics of one ranking: the means of its columns, and those of its ranks as a whole.

    The latter, such as the median rank, are no means of values in [0, 1], and have no interval.
    """
    values = {name: Value(mean(column), intervals[name]) for name, column in columns.items()}
    return values | {name: Value(value, None) for name, value in of_ranks(ranks).items()}


def direction_scores(
    direction: str,
    ranks_by_key: Mapping[Key, Ranks],
    *,
    query_ids: Sequence[str],
    group_ids: Sequence[str],
    clusters: Int[np.ndarray, "q"],
    n_gallery: int,
    device: str = "cpu",
) -> dict[Key, Scores]:
    """The metrics of one direction at every dimension and precision."""
    columns_by_key = {key: of_queries(ranks) for key, ranks in ranks_by_key.items()}
    # All in one call: every column is multiplied with the same resamples, in one product.
    flat: dict[tuple[Key, str], np.ndarray] = {}
    for key, columns in columns_by_key.items():
        flat |= {(key, name): column for name, column in columns.items()}
    intervals = mean_intervals(flat, clusters, totals=totals_on(device))
    scores = {}
    for key, ranks in ranks_by_key.items():
        columns = columns_by_key[key]
        own_intervals = {name: intervals[key, name] for name in columns}
        dim, precision = key
        scores[key] = Scores(
            direction=direction,
            dim=dim,
            values=retrieval_values(ranks, columns, own_intervals),
            columns=vars(ranks),
            query_ids=query_ids,
            group_ids=group_ids,
            n_gallery=n_gallery,
            tie_rate=tie_rate(ranks),
            precision=precision,
        )
    return scores
