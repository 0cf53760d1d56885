"""Retrieval of documents that have a text and an image each, by either similarity and by merges.

Every image is a document and its first caption is the document's text; every other caption is a
query that looks for its image. With `tt` the cosine of query and text, `ti` that of query and
image, the directions are

    tt, ti        one of them alone
    weighted@A    A tt + (1 - A) ti
    zscore@A      A z(tt) + (1 - A) z(ti), where z(s) = (s - mean) / std over the documents,
                  for each query

Weights and z-scores are the model card's of jina-clip-v1
(https://huggingface.co/jinaai/jina-clip-v1): it takes A = 0.6, and np.mean and np.std over each
list. It does not say how z-scores are merged: `zscore@0.5` ranks as their sum does, `zscore@0.6`
has the card's weights. A list of equal scores has no deviation; its z-scores are 0.

Shapes: q queries, n documents, d dimensions.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int, Int64

from evals.counts import counted
from evals.embeddings.truncation import truncate
from evals.ranking.definition import TIE, Ranks
from evals.ranking.metric_table import of_queries
from evals.ranking.metrics import tie_rate
from evals.ranking.ranks import ranks
from evals.ranking.relevance import Relevant
from evals.schema import ConfigError, ImageText, Side
from evals.stats.intervals import mean_intervals
from evals.tasks.image_text import caption_pairs, image_clusters, retrieval_values
from evals.tasks.scores import Scores

CARD = 0.6  # of the text in the card's weighted average; the image has 0.4
# Of the text; 0 and 1 are the directions `ti` and `tt`.
SWEEP = (0.1, 0.2, 0.3, 0.4, 0.5, CARD, 0.7, 0.8, 0.9)
ZSCORES = (0.5, CARD)


class Roles(NamedTuple):
    """Which texts belong to documents, one for each image, and which are queries.

    `group` is the image of each query, or where queries share images the first of their cluster.
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
    """The images, then the texts: what image-text retrieval embeds.

    Raises ConfigError when no caption is left to be a query.
    """
    roles(data)
    return [data.images, data.texts]


def roles(data: ImageText) -> Roles:
    """The first caption of every image is its document's text; the other captions are queries.

    Both are in the order of the data. A caption of several images that is the first of one of them
    is no query. Raises ConfigError when there are fewer than two images, or no queries.
    """
    pairs = caption_pairs(data)
    # Of the captions of an image the one that comes first in the data.
    doc_texts = np.full(len(data.images), len(data.texts))
    np.minimum.at(doc_texts, pairs[:, 1], pairs[:, 0])
    queries = np.setdiff1d(np.arange(len(data.texts)), doc_texts)
    if len(data.images) < 2 or not queries.size:
        raise ConfigError(
            f"{counted(len(data.images), 'image')} with {counted(len(data.texts), 'caption')} are too "
            "few for fusion: the first caption of an image is the text of its document, and only the "
            "others are queries. Choose a benchmark with two or more captions per image."
        )
    query_pairs = pairs[np.isin(pairs[:, 0], queries)]
    # From the text's number to the query's.
    query_pairs[:, 0] = np.searchsorted(queries, query_pairs[:, 0])
    clusters = image_clusters(data, data.also[np.isin(data.also[:, 0], queries)])
    return Roles(
        doc_texts=doc_texts,
        queries=queries,
        relevant=Relevant.from_pairs(query_pairs, len(queries)),
        group=clusters[data.image_of_text[queries]],
    )


def score(
    rows: Sequence[np.ndarray],
    data: ImageText,
    *,
    dims: Sequence[int],
    precisions: Sequence[str] = ("float32",),
    device: str = "cpu",
) -> list[Scores]:
    """Every direction at each dimension, from the full-width rows of images and texts.

    Raises ConfigError for precisions other than float32.
    """
    if tuple(precisions) != ("float32",):
        raise ConfigError(
            f"Fusion is scored in float32 only, not in {', '.join(precisions)}. "
            "Leave the others out."
        )
    images, texts = rows
    parts = roles(data)
    scores = []
    for dim in dims:
        directions = _directions(images, texts, parts, dim=dim, device=device)
        scores += [
            _scores(direction, direction_ranks, data, parts, dim)
            for direction, direction_ranks in directions.items()
        ]
    return scores


def weighted(alpha: float, n: int) -> Merge:
    """The same weights for each of n queries: `alpha` for the text, the rest for the image."""
    return Merge(np.full(n, alpha), np.full(n, 1 - alpha), np.zeros(n))


def zscore(alpha: float, tt: Spread, ti: Spread) -> Merge:
    """The weighted mean of both z-scores."""
    text = _quotient(alpha, tt.std)
    image = _quotient(1 - alpha, ti.std)
    return Merge(text, image, text * tt.mean + image * ti.mean)


def spread(queries: Float32[np.ndarray, "q d"], docs: Float32[np.ndarray, "n d"]) -> Spread:
    """np.mean and np.std (of the population) of `queries @ docs.T` along each row, in float64.

    It is computed without these scores, which would be q x n numbers. A deviation that is rounding,
    by the measure of `ranks`, is 0.
    """
    # Deviations from the mean score are the dot products with the centred documents C. With C = QR
    # their norm is |C q| = |R q|, and R has d rows instead of n.
    wide = queries.astype(np.float64)
    centre = docs.mean(axis=0, dtype=np.float64)
    # numpy's stub knows no mode, and takes the result for a pair.
    triangle: np.ndarray = np.linalg.qr(docs - centre, mode="r")  # type: ignore[assignment]
    std = np.linalg.norm(wide @ triangle.T, axis=1) / np.sqrt(len(docs))
    largest_norm = np.linalg.norm(docs.astype(np.float64), axis=1).max()
    largest_score = np.linalg.norm(wide, axis=1) * largest_norm
    return Spread(wide @ centre, np.where(std <= TIE * largest_score, 0.0, std))


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

    Ties, memory and close calls are those of any other retrieval.
    """
    # With weights a of the text and b of the image, a (q·t) + b (q·i) = a (q, (b/a) q)·(t, i): a
    # dot product of twice the width. Neither the factor a nor an offset changes a rank.
    has_text = merge.text > 0  # else the image decides alone
    scale = np.where(has_text, merge.text, merge.image)
    share = _quotient(merge.image, scale)
    wide = queries * share[:, None]
    # Ties between different documents are common (of two, every z-score is 1 or -1), and (b/a) q
    # rounded to float32 would break them. What the rounding leaves is a third part of the row.
    rounded = wide.astype(np.float32)
    rest = (wide - rounded).astype(np.float32)
    query_rows = np.concatenate(
        [queries * has_text[:, None].astype(np.float32), rounded, rest], axis=1
    )
    doc_rows = np.concatenate([texts, images, images], axis=1)
    merged = ranks(query_rows, doc_rows, relevant, device=device)
    return replace(merged, score=(scale * merged.score - merge.offset).astype(np.float32))


def _quotient(
    numerator: float | Float64[np.ndarray, "q"], denominator: Float64[np.ndarray, "q"]
) -> Float64[np.ndarray, "q"]:
    """`numerator / denominator`, and 0 where that is not above 0."""
    quotient = np.zeros_like(denominator)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def _directions(
    images: np.ndarray, texts: np.ndarray, parts: Roles, *, dim: int, device: str
) -> dict[str, Ranks]:
    """The ranks in every direction at one dimension."""
    doc_images = truncate(images, dim)
    all_texts = truncate(texts, dim)
    queries, doc_texts = all_texts[parts.queries], all_texts[parts.doc_texts]
    tt, ti = spread(queries, doc_texts), spread(queries, doc_images)
    merges = {f"weighted@{alpha}": weighted(alpha, len(queries)) for alpha in SWEEP}
    merges |= {f"zscore@{alpha}": zscore(alpha, tt, ti) for alpha in ZSCORES}
    directions = {
        "tt": ranks(queries, doc_texts, parts.relevant, device=device),
        "ti": ranks(queries, doc_images, parts.relevant, device=device),
    }
    for name, merge in merges.items():
        directions[name] = merged_ranks(
            queries, doc_texts, doc_images, merge, parts.relevant, device=device
        )
    return directions


def _scores(
    direction: str, direction_ranks: Ranks, data: ImageText, parts: Roles, dim: int
) -> Scores:
    """The metrics of one direction at one dimension."""
    columns = of_queries(direction_ranks)
    intervals = mean_intervals(columns, parts.group)
    return Scores(
        direction=direction,
        dim=dim,
        values=retrieval_values(direction_ranks, columns, intervals),
        columns=vars(direction_ranks),
        query_ids=[data.texts.ids[text] for text in parts.queries],
        group_ids=[data.images.ids[image] for image in parts.group],
        n_gallery=len(data.images),
        tie_rate=tie_rate(direction_ranks),
    )
