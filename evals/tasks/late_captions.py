"""Captions that look for their image by models of several vectors per item, scored by MaxSim.

Only t2i is measured. MaxSim sums over the vectors of the query, and such models have queries that
are texts: an image that looks for captions is no task that they are made for. Intervals resample
images with all that belongs to them, as in image_text.py.

Shapes: k images of a text.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evals.ranking.graded import best_ranks
from evals.ranking.maxsim import best_docs, places
from evals.ranking.relevance import Relevant
from evals.schema import ImageText, Side, VectorSource
from evals.tasks import image_text
from evals.tasks.best import Best, Judgements
from evals.tasks.late_retrieval import only_width
from evals.tasks.scores import Scores


def sides(data: ImageText) -> list[Side]:
    """The images as documents, then the texts as queries."""
    return [replace(data.images, role="document"), replace(data.texts, role="query")]


def score(
    rows: Sequence[VectorSource],
    data: ImageText,
    *,
    dims: Sequence[int],
    precisions: Sequence[str] = ("float32",),
    device: str = "cpu",
) -> list[Scores]:
    """The metrics of t2i at the full width, from the vectors of `sides`.

    Raises ConfigError for several dimensions or precisions.
    """
    key = only_width(dims, precisions), "float32"
    images, texts = rows
    pairs = image_text.caption_pairs(data)
    relevant = Relevant.from_pairs(pairs, len(texts))
    ranked = places(texts, images, relevant, np.ones(len(pairs)), device=device)
    clusters = image_text.image_clusters(data, data.also)[data.image_of_text]
    scores = image_text.direction_scores(
        "t2i",
        {key: best_ranks(ranked)},
        query_ids=data.texts.ids,
        group_ids=[data.images.ids[image] for image in clusters],
        clusters=clusters,
        n_gallery=len(images),
        device=device,
    )
    return [scores[key]]


def best(
    rows: Sequence[VectorSource],
    data: ImageText,
    *,
    dims: Sequence[int],
    precisions: Sequence[str],
    k: int,
    device: str,
) -> list[Best]:
    """The best images of each text, as `RankingTask.best` says; scores are MaxSim."""
    dim = only_width(dims, precisions)
    images, texts = rows
    hits = best_docs(texts, images, k, device=device)
    scores = hits.scores.astype(np.float32)
    return [Best("t2i", dim, "float32", data.texts.ids, data.images.ids, hits.docs, scores)]


def judgements(data: ImageText) -> list[Judgements]:
    """The captions' images, all of grade 1."""
    return [part for part in image_text.judgements(data) if part.direction == "t2i"]
