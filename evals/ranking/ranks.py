"""The ranks of definition.py in bounded memory, of one direction or of both in one pass.

The definition takes the whole matrix of scores in float64. Here the scores of the relevant
documents come first, in float64, for they are few. All others are float32 and only counted: how
many lie above each level, how many on it. Both directions are counted in the same pass. `python -m
benchmarks.recall`: 5.3 times as fast as CLIP_benchmark at 5,000 images and 25,000 texts, which
gives recall alone (benchmarks/results/recall-cpu.json).

Shapes: q queries, n documents or rows, d dimensions, pairs of a query and a document relevant to
it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from evals.ranking.definition import DEPTH, GAIN, TIE, Both, Ranks, gain_of_places
from evals.ranking.dispatch import count_all
from evals.ranking.levels import Levels, Step, Tally, docs_above
from evals.ranking.products import as_tensor, many_pair_scores
from evals.ranking.relevance import Relevant
from evals.ranking.shapes import (
    DocRows,
    ImageRows,
    PairFloats,
    QueryCounts,
    QueryFloats,
    QueryRows,
    RowNorms,
    TextRows,
)

UNIT = 1e-4  # rows whose norm is this near to 1 are unit rows: margins have that to spare
CHUNK = 960  # queries scored at once, by one thread


class Norms(NamedTuple):
    """The norms of the rows of images and of texts, as `norm_bounds` gives them."""

    images: RowNorms
    texts: Float64[np.ndarray, "texts"]


def ranks(
    queries: QueryRows,
    docs: DocRows,
    relevant: Relevant,
    *,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> Ranks:
    """Rank the relevant documents of every query by dot product, `chunk` queries at a time.

    A function of the rows alone: chunk, threads, device and the order of the items change no bit. A
    matmul kernel gives equal rows scores that differ in the last bits with their place in the
    block, so float32 scores compared with each other would break ties by position. Here they decide
    only what no rounding can change: a score nearer to a level than the worst-case error of a
    float32 dot product is a close call, and is decided in float64. Raises ValueError for NaN,
    infinity, a chunk below 1, or relevant documents that do not fit.
    """
    check_relevant(len(queries), len(docs), relevant, chunk)
    query_norms, doc_norms = norm_bounds(queries, "query"), norm_bounds(docs, "document")
    largest_score = query_norms * doc_norms.max(initial=0.0)  # Cauchy and Schwarz
    scores = relevant_scores(queries, docs, relevant)
    tally = new_tally(scores, relevant, largest_score, queries.shape[1])
    step = Step(queries, docs, tally, None, queries, docs)
    count_all([step], relevant, chunk=chunk, device=device)
    return ranks_of(step.query_tally, relevant)


def cross_ranks(
    images: ImageRows,
    texts: TextRows,
    images_of_texts: Relevant,
    *,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> Both:
    """Both directions from one pass over the scores, bit for bit as two calls of `ranks`.

    `chunk` images are scored at a time. Raises ValueError as `ranks` does, and for an image without
    text.
    """
    t2i = images_of_texts
    check_relevant(len(texts), len(images), t2i, chunk)
    i2t = t2i.inverse(len(images))
    image_norms = norm_bounds(images, "image")
    norms = Norms(image_norms, norm_bounds(texts, "text"))
    step = cross_step(images, texts, t2i, i2t, norms)
    count_all([step], i2t, chunk=chunk, device=device)
    return cross_ranks_of(step, t2i, i2t)


def check_relevant(n_queries: int, n_docs: int, relevant: Relevant, chunk: int) -> None:
    """Raises ValueError for a chunk below 1 and for relevant documents that do not fit."""
    if chunk < 1:
        raise ValueError(f"cannot take {chunk} queries at a time")
    there = (relevant.docs >= 0) & (relevant.docs < n_docs)
    if len(relevant.counts) != n_queries or not there.all():
        raise ValueError(
            f"the relevant documents do not fit {n_queries} queries and {n_docs} documents"
        )


def cross_step(
    images: ImageRows,
    texts: TextRows,
    t2i: Relevant,
    i2t: Relevant,
    norms: Norms,
) -> Step:
    """The step of both directions before counting; images are its queries and texts its documents."""
    scores = relevant_scores(texts, images, t2i)
    width = images.shape[1]
    largest_t2i = norms.texts * norms.images.max(initial=0.0)
    largest_i2t = norms.images * norms.texts.max(initial=0.0)
    t2i_tally = new_tally(scores, t2i, largest_t2i, width)
    i2t_tally = new_tally(scores[t2i.by_doc], i2t, largest_i2t, width)
    return Step(images, texts, i2t_tally, t2i_tally, images, texts)


def cross_ranks_of(step: Step, t2i: Relevant, i2t: Relevant) -> Both:
    """The ranks of both directions, when all is counted."""
    assert step.doc_tally is not None
    return Both(ranks_of(step.doc_tally, t2i), ranks_of(step.query_tally, i2t))


def ranks_of(tally: Tally, relevant: Relevant) -> Ranks:
    """The ranks of one direction, when all is counted."""
    levels = tally.levels
    return Ranks(
        better=levels.better[:, 0],
        tied=levels.tied[:, 0],
        tied_relevant=levels.relevant[:, 0],
        score=levels.score[:, 0].astype(np.float32),
        ndcg10=_ndcg10(levels, relevant.counts),
    )


def norm_bounds(rows: DocRows, name: str) -> RowNorms:
    """At least the norm of each row, to within UNIT; of unit rows, which almost all are, exactly 1.

    Raises ValueError for rows that are not finite, with `name` and number of the first.
    """
    import torch

    norms: np.ndarray = torch.linalg.vector_norm(as_tensor(rows), dim=1).double().numpy()
    refuse_infinite(norms, name)
    # exactly 1, or the last bit of a norm would move the margins, and with them what is a tie
    return np.where(np.abs(norms - 1) < UNIT, 1.0, norms * (1 + UNIT))


def refuse_infinite(norms: RowNorms, name: str) -> None:
    """Raises ValueError for the first row whose norm is not finite."""
    bad = np.flatnonzero(~np.isfinite(norms))
    if bad.size:
        raise ValueError(f"{name} {bad[0]} holds NaN or infinity")


def relevant_scores(queries: np.ndarray, docs: np.ndarray, relevant: Relevant) -> PairFloats:
    """The float64 scores of all relevant documents, in the order of `relevant`."""
    return many_pair_scores(queries, docs, relevant.queries, relevant.docs)


def new_tally(
    scores: PairFloats,
    relevant: Relevant,
    largest_score: QueryFloats,
    width: int,
    *,
    depth: int = DEPTH,
) -> Tally:
    """The tally before counting, from the scores of the relevant documents.

    `largest_score` bounds all scores of a query, and `width` is that of the rows. The best `depth`
    relevant documents have levels.
    """
    # width u |q||d| bounds the error of a float32 dot product in any order of summation (u = 2^-24;
    # Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1);
    # a sweep's scaling adds 8 u, the rounding of levels 2 u
    close_margin = (width + 16) * 2.0**-24 * largest_score
    tie_margin = TIE * largest_score
    levels = _new_levels(scores, relevant, tie_margin, depth)
    return Tally(levels, close_margin, tie_margin, depth)


def _new_levels(
    scores: PairFloats, relevant: Relevant, tie_margin: QueryFloats, depth: int
) -> Levels:
    """The levels of each query, with nothing counted yet."""
    counts, queries = relevant.counts, relevant.queries
    # a row per query, padded with minus infinity, best first
    by_query = np.full((len(counts), counts.max(initial=1)), -np.inf)
    column = np.arange(len(queries)) - relevant.indptr[queries]
    by_query[queries, column] = scores
    by_query = -np.sort(-by_query, axis=1)
    places = min(by_query.shape[1], depth)
    is_level = np.isfinite(by_query[:, :places])
    sizes = np.zeros(is_level.shape, dtype=np.int64)
    level = np.full(len(counts), np.inf)  # that the place before belongs to
    for place in range(places):
        # a score that ties with the level before it belongs to that
        is_level[:, place] &= by_query[:, place] < level - tie_margin
        level = np.where(is_level[:, place], by_query[:, place], level)
        on_level = (by_query >= (level - tie_margin)[:, None]) & (by_query <= level[:, None])
        sizes[:, place] = on_level.sum(axis=1)
    return Levels(
        is_level=is_level,
        score=by_query[:, :places],
        relevant=sizes,
        better=np.zeros_like(sizes),
        tied=np.zeros_like(sizes),
    )


def _ndcg10(levels: Levels, n_relevant: QueryCounts) -> QueryFloats:
    """nDCG@10 in expectation: definition._ndcg10, of whole levels at once."""
    # a level that is no longer needed has stale counts, but then an earlier one has ten above
    above = docs_above(levels.better)
    group = np.maximum(levels.tied + levels.relevant, 1)
    gains = levels.relevant * gain_of_places(above, group) / group
    dcg = np.where(levels.is_level, gains, 0.0).sum(axis=1)
    ndcg: np.ndarray = dcg / GAIN[np.minimum(n_relevant, DEPTH)]
    return ndcg
