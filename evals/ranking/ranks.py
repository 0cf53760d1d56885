"""Ranks of the relevant documents, exact and in bounded memory: what every retrieval metric is made from.

Shapes: q queries, n documents or rows, d dimensions, pairs of a query and a document relevant to it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from evals.embeddings.threads import over_rows
from evals.ranking.counting import count_all
from evals.ranking.definition import DEPTH, GAIN, TIE, Both, Ranks
from evals.ranking.levels import Levels, Search, Step, places_above
from evals.ranking.products import as_tensor, pair_scores
from evals.ranking.relevance import Relevant

UNIT = 1e-4  # rows whose norm is 1 to within this are unit rows: bounds on their scores have that to spare
CHUNK = 960  # queries scored at once, by one thread


def ranks(
    queries: Float32[np.ndarray, "q d"],
    docs: Float32[np.ndarray, "n d"],
    relevant: Relevant,
    *,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> Ranks:
    """Rank the relevant documents of every query by dot product, `chunk` queries at a time; never all scores at once.

    A function of the rows alone: chunk, threads and the order of the items change no bit. A matmul kernel gives equal
    rows scores that differ in the last bits with their place in the block, so float32 scores compared with each
    other would break ties by position. Here they decide only what no rounding can change: a score nearer to the
    threshold than the worst-case error of a float32 dot product is a close call, and is decided in float64.
    Raises ValueError for NaN, infinity, a chunk below 1, or relevant documents that do not fit.
    """
    check(len(queries), len(docs), relevant, chunk)
    step = one_way(queries, docs, relevant)
    count_all([step], relevant, chunk=chunk, device=device)
    return found(step.by_row, relevant)


def cross_ranks(
    images: Float32[np.ndarray, "n d"],
    texts: Float32[np.ndarray, "texts d"],
    images_of_texts: Relevant,
    *,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> Both:
    """Both directions between images and texts, bit for bit as two calls of `ranks`, from one pass over the scores.

    `chunk` images are scored at a time. Raises ValueError as `ranks` does, and for an image without text.
    """
    t2i = images_of_texts
    check(len(texts), len(images), t2i, chunk)
    i2t = t2i.inverse(len(images))
    step = both_ways(images, texts, t2i, i2t, Lengths(norms(images, "image"), norms(texts, "text")))
    count_all([step], i2t, chunk=chunk, device=device)
    return found_both(step, t2i, i2t)


def check(n_queries: int, n_docs: int, relevant: Relevant, chunk: int) -> None:
    """Raises ValueError for a chunk below 1 and for relevant documents that do not fit."""
    if chunk < 1:
        raise ValueError(f"cannot take {chunk} queries at a time")
    if len(relevant.counts) != n_queries or not np.all(
        (relevant.docs >= 0) & (relevant.docs < n_docs)
    ):
        raise ValueError(
            f"the relevant documents do not fit {n_queries} queries and {n_docs} documents"
        )


def one_way(
    queries: Float32[np.ndarray, "q d"], docs: Float32[np.ndarray, "n d"], relevant: Relevant
) -> Step:
    """What the queries ask of the scores. Raises ValueError for rows that are not finite."""
    reach = norms(queries, "query") * norms(docs, "document").max(initial=0.0)
    search = _search(_own_scores(queries, docs, relevant), relevant, reach, queries.shape[1])
    return Step(queries, docs, search, None, queries, docs)


class Lengths(NamedTuple):
    """The norms of the rows of images and texts, as `norms` gives them."""

    images: Float64[np.ndarray, "n"]
    texts: Float64[np.ndarray, "texts"]


def both_ways(
    images: Float32[np.ndarray, "n d"],
    texts: Float32[np.ndarray, "texts d"],
    t2i: Relevant,
    i2t: Relevant,
    lengths: Lengths,
) -> Step:
    """What images (the rows of the scores) and texts ask of each other."""
    reach, text_reach = lengths
    scores = _own_scores(texts, images, t2i)
    width = images.shape[1]
    forth = _search(scores, t2i, text_reach * reach.max(initial=0.0), width)
    back = _search(
        scores[np.argsort(t2i.docs, kind="stable")], i2t, reach * text_reach.max(initial=0.0), width
    )
    return Step(images, texts, back, forth, images, texts)


def found_both(step: Step, t2i: Relevant, i2t: Relevant) -> Both:
    """The ranks of both directions, when all is counted."""
    assert step.by_col is not None
    return Both(found(step.by_col, t2i), found(step.by_row, i2t))


def _levels(
    scores: Float64[np.ndarray, "pairs"], relevant: Relevant, tie: Float64[np.ndarray, "q"]
) -> Levels:
    counts, queries = relevant.counts, relevant.queries
    own = np.full((len(counts), counts.max(initial=1)), -np.inf)
    own[queries, np.arange(len(queries)) - relevant.indptr[queries]] = scores
    own = -np.sort(-own, axis=1)
    places = min(own.shape[1], DEPTH)
    head = np.isfinite(own[:, :places])
    size = np.zeros(head.shape, dtype=np.int64)
    last = np.full(len(counts), np.inf)  # the level that the place before belongs to
    for place in range(places):
        head[:, place] &= own[:, place] < last - tie
        last = np.where(head[:, place], own[:, place], last)
        size[:, place] = ((own >= (last - tie)[:, None]) & (own <= last[:, None])).sum(axis=1)
    return Levels(head, own[:, :places], size, np.zeros_like(size), np.zeros_like(size))


def _search(
    scores: np.ndarray, relevant: Relevant, reach: Float64[np.ndarray, "q"], width: int
) -> Search:
    """`scores` are those of the relevant pairs; `reach` bounds a query's scores; `width` is that of the rows."""
    # d u |q||d| bounds the error, in any order of summation; a sweep's scaling adds 8 u, the rounding of levels 2 u
    return Search(
        _levels(scores, relevant, TIE * reach),
        close=(width + 16) * 2.0**-24 * reach,
        tie=TIE * reach,
    )


def found(search: Search, relevant: Relevant) -> Ranks:
    """The ranks of a direction, when all is counted."""
    levels = search.levels
    return Ranks(
        better=levels.better[:, 0],
        tied=levels.tied[:, 0],
        tied_relevant=levels.relevant[:, 0],
        score=levels.score[:, 0].astype(np.float32),
        ndcg10=_ndcg(levels, relevant.counts),
    )


def _ndcg(levels: Levels, n_relevant: Int64[np.ndarray, "q"]) -> Float64[np.ndarray, "q"]:
    """A relevant document gains the mean discount of the positions that its group of equal scores takes up."""
    # a level that was given up has stale counts, but then one before it has ten documents above
    above = places_above(levels.better)
    group = np.maximum(levels.tied + levels.relevant, 1)
    discounts = GAIN[np.minimum(above + group, DEPTH)] - GAIN[np.minimum(above, DEPTH)]
    dcg = np.where(levels.head, levels.relevant * discounts / group, 0.0).sum(axis=1)
    ndcg: np.ndarray = dcg / GAIN[np.minimum(n_relevant, DEPTH)]
    return ndcg


def _own_scores(
    queries: np.ndarray, docs: np.ndarray, relevant: Relevant
) -> Float64[np.ndarray, "pairs"]:
    rows, scores = relevant.queries, np.empty(len(relevant.docs))

    def fill(part: slice) -> None:
        scores[part] = pair_scores(queries, docs, rows[part], relevant.docs[part])

    over_rows(fill, len(rows), queries.shape[1])
    return scores


def norms(rows: Float32[np.ndarray, "n d"], name: str) -> Float64[np.ndarray, "n"]:
    """At least the norm of each row, to within UNIT; of unit rows, which almost all are, exactly 1.

    Raises ValueError for rows that are not finite.
    """
    import torch

    found: np.ndarray = torch.linalg.vector_norm(as_tensor("cpu", rows), dim=1).double().numpy()
    refuse_infinite(found, name)
    return np.where(np.abs(found - 1) < UNIT, 1.0, found * (1 + UNIT))


def refuse_infinite(lengths: Float64[np.ndarray, "n"], name: str) -> None:
    """Raises ValueError for the first row whose norm is not finite."""
    if (bad := np.flatnonzero(~np.isfinite(lengths))).size:
        raise ValueError(f"{name} {bad[0]} holds NaN or infinity")
