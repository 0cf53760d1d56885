"""Retrieval of documents that have a text and an image each, by either similarity and by merges of both.

Every image is a document and its first caption is the document's text; every other caption is a query that looks for its image.
With `tt` the cosine of query and text, `ti` that of query and image, the directions are

    tt, ti        one of them alone
    weighted@A    A tt + (1 - A) ti
    zscore@A      A z(tt) + (1 - A) z(ti), where z(s) = (s - mean) / std over the documents, for each query

Weights and z-scores are the model card's of jina-clip-v1 (https://huggingface.co/jinaai/jina-clip-v1): it takes A = 0.6, and
np.mean and np.std over each list. It does not say how z-scores are merged: `zscore@0.5` ranks as their sum does, `zscore@0.6` has
the card's weights. A list of equal scores has no deviation; its z-scores are 0.

Shapes: q queries, n documents, d dimensions.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int, Int64

from evals.embeddings.truncation import truncate
from evals.ranking.definition import TIE, Ranks
from evals.ranking.measures import of_queries, of_ranks
from evals.ranking.metrics import mean, tie_rate
from evals.ranking.ranks import ranks
from evals.ranking.relevance import Relevant
from evals.schema import ConfigError, ImageText, Side
from evals.stats.bootstrap import cluster_bootstrap
from evals.tasks.image_text import image_clusters
from evals.tasks.scores import Scores, Value

CARD = 0.6  # of the text in the card's weighted average; the image has 0.4
SWEEP = (0.1, 0.2, 0.3, 0.4, 0.5, CARD, 0.7, 0.8, 0.9)
ZSCORES = (0.5, CARD)


class Roles(NamedTuple):
    """Which texts belong to documents (one for each image) and which are queries.

    `group` is the image of each query, or the first image of its cluster where queries share images.
    """

    doc_texts: Int64[np.ndarray, "n"]
    queries: Int64[np.ndarray, "q"]
    relevant: Relevant
    group: Int[np.ndarray, "q"]


class Spread(NamedTuple):
    """Mean and standard deviation of each query's scores over all documents."""

    mean: Float64[np.ndarray, "q"]
    std: Float64[np.ndarray, "q"]


class Merge(NamedTuple):
    """For each query the combined score `text * tt + image * ti - offset`."""

    text: Float64[np.ndarray, "q"]
    image: Float64[np.ndarray, "q"]
    offset: Float64[np.ndarray, "q"]


def sides(data: ImageText) -> list[Side]:
    """The images, then the texts: what image-text retrieval embeds. ConfigError when no caption is left to be a query."""
    roles(data)
    return [data.images, data.texts]


def roles(data: ImageText) -> Roles:
    """The first caption of every image is its document's text, in the order of the data; the other captions are queries.

    A caption of several images that is the first of one of them is no query. ConfigError when there are fewer than two images,
    or no queries.
    """
    pairs = np.concatenate(
        [np.stack([np.arange(len(data.texts)), data.image_of_text], axis=1), data.also]
    )
    doc_texts = np.full(len(data.images), len(data.texts))
    np.minimum.at(doc_texts, pairs[:, 1], pairs[:, 0])
    queries = np.setdiff1d(np.arange(len(data.texts)), doc_texts)
    if len(data.images) < 2 or not queries.size:
        raise ConfigError(
            f"{len(data.images):,} images with {len(data.texts):,} captions leave nothing to merge for: one caption of each "
            "image is its document's text, the others are queries. Choose a benchmark with several captions of each image."
        )
    clusters = image_clusters(data, data.also[np.isin(data.also[:, 0], queries)])
    pairs = pairs[np.isin(pairs[:, 0], queries)]
    pairs[:, 0] = np.searchsorted(queries, pairs[:, 0])
    return Roles(
        doc_texts,
        queries,
        Relevant.from_pairs(pairs, len(queries)),
        clusters[data.image_of_text[queries]],
    )


def score(
    rows: Sequence[np.ndarray],
    data: ImageText,
    *,
    dims: Sequence[int],
    precisions: Sequence[str] = ("float32",),
    device: str = "cpu",
) -> list[Scores]:
    """Every direction at each dimension, from the full-width rows of images and texts. ConfigError for other precisions."""
    if tuple(precisions) != ("float32",):
        raise ConfigError(
            f"Fusion is scored in float32 only, not in {', '.join(precisions)}. Leave the others out."
        )
    (images, texts), found = rows, roles(data)
    return [
        scores
        for dim in dims
        for scores in _directions(images, texts, data, found, dim=dim, device=device)
    ]


def _directions(
    images: np.ndarray, texts: np.ndarray, data: ImageText, found: Roles, *, dim: int, device: str
) -> list[Scores]:
    i, y = truncate(images, dim), truncate(texts, dim)
    q, t = y[found.queries], y[found.doc_texts]
    spread_t, spread_i = spread(q, t), spread(q, i)
    merges = {f"weighted@{alpha}": weighted(alpha, len(q)) for alpha in SWEEP}
    merges |= {f"zscore@{alpha}": zscore(alpha, spread_t, spread_i) for alpha in ZSCORES}
    alone = {
        "tt": ranks(q, t, found.relevant, device=device),
        "ti": ranks(q, i, found.relevant, device=device),
    }
    merged = {
        name: merged_ranks(q, t, i, merge, found.relevant, device=device)
        for name, merge in merges.items()
    }
    return [_scores(name, dim, of, data, found) for name, of in (alone | merged).items()]


def weighted(alpha: float, n: int) -> Merge:
    """The same weights for each of n queries: `alpha` for the text, the rest for the image."""
    return Merge(np.full(n, alpha), np.full(n, 1 - alpha), np.zeros(n))


def zscore(alpha: float, tt: Spread, ti: Spread) -> Merge:
    """The weighted mean of both z-scores."""
    text, image = (
        np.divide(w, s.std, out=np.zeros_like(s.std), where=s.std > 0)
        for w, s in ((alpha, tt), (1 - alpha, ti))
    )
    return Merge(text, image, text * tt.mean + image * ti.mean)


def spread(queries: Float32[np.ndarray, "q d"], docs: Float32[np.ndarray, "n d"]) -> Spread:
    """np.mean and np.std (of the population) of `queries @ docs.T` along each row, in float64 and without these scores.

    Deviations from the mean score are the dot products with the centred documents C, and |C q| = |R q| for C = QR.
    A deviation that is rounding, by the measure of `ranks`, is 0.
    """
    wide, centre = queries.astype(np.float64), docs.mean(axis=0, dtype=np.float64)
    triangle: np.ndarray = np.linalg.qr(docs - centre, mode="r")  # type: ignore[assignment] # numpy's stub knows no mode
    std = np.linalg.norm(wide @ triangle.T, axis=1) / np.sqrt(len(docs))
    reach = np.linalg.norm(wide, axis=1) * np.linalg.norm(docs.astype(np.float64), axis=1).max()
    return Spread(wide @ centre, np.where(std <= TIE * reach, 0.0, std))


def merged_ranks(
    queries: Float32[np.ndarray, "q d"],
    texts: Float32[np.ndarray, "n d"],
    images: Float32[np.ndarray, "n d"],
    merge: Merge,
    relevant: Relevant,
    *,
    device: str = "cpu",
) -> Ranks:
    """Ranks by the combined score of each document's text and image.

    a (q·t) + b (q·i) = a (q, (b/a) q)·(t, i), and neither a nor an offset changes a rank: so ties, memory and close calls are
    those of any other retrieval. Ties between different documents are common (of two, every z-score is 1 or -1), and (b/a) q
    rounded to float32 would break them: what the rounding leaves is a third part of the row.
    """
    lead = merge.text > 0  # else the image decides alone
    scale = np.where(lead, merge.text, merge.image)
    share = np.divide(merge.image, scale, out=np.zeros_like(scale), where=scale > 0)
    high = (wide := queries * share[:, None]).astype(np.float32)
    rows = np.concatenate(
        [queries * lead[:, None].astype(np.float32), high, (wide - high).astype(np.float32)], axis=1
    )
    found = ranks(rows, np.concatenate([texts, images, images], axis=1), relevant, device=device)
    return replace(found, score=(scale * found.score - merge.offset).astype(np.float32))


def _scores(direction: str, dim: int, found: Ranks, data: ImageText, role: Roles) -> Scores:
    columns = of_queries(found)
    intervals = cluster_bootstrap(columns, role.group)
    values = {name: Value(mean(column), intervals[name]) for name, column in columns.items()}
    values |= {name: Value(value, None) for name, value in of_ranks(found).items()}
    ids = [data.texts.ids[j] for j in role.queries]
    groups = [data.images.ids[i] for i in role.group]
    return Scores(
        direction, dim, values, vars(found), ids, groups, len(data.images), tie_rate(found)
    )
