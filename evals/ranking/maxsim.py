"""MaxSim, the score of items with several vectors each: exact, block by block, in bounded memory.

    MaxSim(q, d) = sum over the vectors q_i of the query of max_j q_i . d_j over those of the document

ColBERT (Khattab & Zaharia 2020, https://arxiv.org/abs/2004.12832) scores texts by it, ColPali
(Faysse et al. 2024, https://arxiv.org/abs/2407.01449) pages as images. It is not symmetric: the
query's vectors look for the document's. Vectors are multiplied as the model gives them.

Products are added in float64, so that no order of summation decides anything, and scores nearer
than TIE are equal, as in definition.py. So the device that multiplies decides nothing either: it
changes last bits. Beside the vectors of a block, memory holds the scores of some queries for all
documents; documents are read once for each such part of the queries.

Shapes: q queries, n documents, c queries and b documents of a block, v and t vectors of all
documents and queries of a block, k documents of a query, pairs of a query and a document relevant to it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from evals.ranking.definition import TIE, Places
from evals.ranking.products import as_tensor
from evals.ranking.relevance import Relevant
from evals.ranking.shapes import PairFloats
from evals.schema import Vectors, VectorSource

# Vectors of documents and of queries that are multiplied at once: their products take 8 MB.
DOC_VECTORS, QUERY_VECTORS = 4096, 256
ON_DEVICE = 8  # times as many of either: 512 MB
SCORES = 2**23  # that are held at once: 64 MB


class Scored(NamedTuple):
    """The scores of neighbouring queries and all documents; scores within `ties` are equal."""

    first: int
    scores: Float64[np.ndarray, "c n"]
    ties: Float64[np.ndarray, "c"]


def maxsim(queries: Vectors, docs: Vectors, *, device: str = "cpu") -> Float64[np.ndarray, "c b"]:
    """The score of every query and document, multiplied on the device.

    Raises ValueError for an item without vectors, for which a maximum does not exist.
    """
    for what, items in (("query", queries), ("document", docs)):
        empty = np.flatnonzero(items.counts == 0)
        if empty.size:
            raise ValueError(f"{what} {empty[0]} has no vector")
    on_host = device == "cpu"
    times = 1 if on_host else ON_DEVICE
    scores = np.empty((len(queries), len(docs)))
    for doc_part in _parts(docs, times * DOC_VECTORS):
        block = _part(docs, doc_part)
        for query_part in _parts(queries, times * QUERY_VECTORS):
            part = _part(queries, query_part)
            scores[query_part, doc_part] = (
                _on_host(part, block) if on_host else _on_device(part, block, device)
            )
    return scores


def scored(
    queries: VectorSource, docs: VectorSource, *, at_once: int = SCORES, device: str = "cpu"
) -> Iterator[Scored]:
    """The scores of all queries, so many numbers at a time."""
    step = max(1, at_once // max(1, len(docs)))
    for first in range(0, len(queries), step):
        part = queries.take(np.arange(first, min(first + step, len(queries))))
        scores = np.empty((len(part), len(docs)))
        longest = 0.0
        for positions, vectors in docs.blocks():
            scores[:, positions] = maxsim(part, vectors, device=device)
            longest = max(longest, float(_norms(vectors).max(initial=0.0)))
        # Cauchy and Schwarz: no score exceeds the summed lengths of the query's vectors times it.
        lengths = np.add.reduceat(_norms(part), part.offsets[:-1])
        yield Scored(first, scores, TIE * longest * lengths)


def places(
    queries: VectorSource,
    docs: VectorSource,
    relevant: Relevant,
    gains: PairFloats,
    *,
    at_once: int = SCORES,
    device: str = "cpu",
) -> Places:
    """Where the relevant documents of every query stand, by MaxSim.

    `gains` has the grade of each, in the order of `relevant`. Raises ValueError as `maxsim` does.
    """
    columns = np.zeros((5, len(relevant.docs)))
    for part in scored(queries, docs, at_once=at_once, device=device):
        for row, tie in enumerate(part.ties.tolist()):
            query = part.first + row
            pairs = slice(relevant.indptr[query], relevant.indptr[query + 1])
            columns[:, pairs] = _stand(part.scores[row], relevant.docs_of(query), tie)
    score, above, equal, relevant_above, relevant_equal = columns
    order = np.lexsort((-score, relevant.queries))
    return Places(
        query=relevant.queries[order],
        gain=gains[order],
        score=score[order],
        above=above[order].astype(np.int64),
        equal=equal[order].astype(np.int64),
        relevant_above=relevant_above[order].astype(np.int64),
        relevant_equal=relevant_equal[order].astype(np.int64),
        n_relevant=relevant.counts,
        ideal=gains[np.lexsort((-gains, relevant.queries))],
    )


class Top(NamedTuple):
    """The k best documents of each query, best first; of equal scores the smaller place first.

    Equal documents all have the score of the best of them.
    """

    docs: Int64[np.ndarray, "q k"]
    scores: Float64[np.ndarray, "q k"]


def best_docs(queries: VectorSource, docs: VectorSource, k: int, *, device: str = "cpu") -> Top:
    """The k best documents of every query; of all, where there are fewer."""
    parts = [top(part, k) for part in scored(queries, docs, device=device)]
    return Top(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def top(part: Scored, k: int) -> Top:
    """The best documents of the queries of a part; of all, where there are fewer."""
    docs = np.argsort(-part.scores, axis=1, kind="stable")
    scores = np.take_along_axis(part.scores, docs, axis=1)
    # A score within the tie of the one before it is equal to that: their last bits depend on the
    # block and the device.
    is_new = np.ones(scores.shape, dtype=bool)
    is_new[:, 1:] = scores[:, :-1] - scores[:, 1:] > part.ties[:, None]
    # as far as documents go that are equal to the k-th
    ends_group = np.concatenate([is_new[:, 1:], np.ones((len(scores), 1), dtype=bool)], axis=1)
    width = min(k, scores.shape[1])
    width += int(np.argmax(ends_group[:, width - 1 :], axis=1).max(initial=0))
    docs, scores, is_new = docs[:, :width], scores[:, :width], is_new[:, :width]
    by_place = np.lexsort((docs, np.cumsum(is_new, axis=1)), axis=1)
    first_of_group = np.maximum.accumulate(np.where(is_new, np.arange(width), 0), axis=1)
    return Top(
        np.take_along_axis(docs, by_place, axis=1)[:, :k],
        np.take_along_axis(scores, first_of_group, axis=1)[:, :k],
    )


def _stand(
    scores: Float64[np.ndarray, "n"], relevant_docs: Int64[np.ndarray, "_"], tie: float
) -> Float64[np.ndarray, "5 _"]:
    """Of each relevant document its score, and how many documents are above it and equal to it.

    Then how many of these are relevant themselves.
    """
    levels = scores[relevant_docs]
    counts = [levels]
    for ranked in (np.sort(scores), np.sort(levels)):
        above = len(ranked) - np.searchsorted(ranked, levels + tie, side="right")
        at_least = len(ranked) - np.searchsorted(ranked, levels - tie, side="left")
        counts += [above, at_least - above]
    return np.stack(counts)


def _parts(items: Vectors, most: int) -> Iterator[slice]:
    """Neighbouring items with `most` vectors at most together, or one that has more."""
    start = 0
    for stop in range(1, len(items) + 1):
        is_last = stop == len(items)
        if is_last or items.offsets[stop + 1] - items.offsets[start] > most:
            yield slice(start, stop)
            start = stop


def _part(items: Vectors, part: slice) -> Vectors:
    """Neighbouring items."""
    offsets = items.offsets[part.start : part.stop + 1]
    return Vectors(items.rows[offsets[0] : offsets[-1]], offsets - offsets[0])


def _on_host(queries: Vectors, docs: Vectors) -> Float64[np.ndarray, "c b"]:
    products = docs.rows.astype(np.float64) @ queries.rows.astype(np.float64).T  # v t
    best = np.maximum.reduceat(products, docs.offsets[:-1], axis=0)
    scores: np.ndarray = np.add.reduceat(best, queries.offsets[:-1], axis=1).T
    return scores


def _on_device(queries: Vectors, docs: Vectors, device: str) -> Float64[np.ndarray, "c b"]:
    import torch

    doc_vectors = as_tensor(docs.rows, device).double()
    query_vectors = as_tensor(queries.rows, device).double()
    doc_counts, query_counts = as_tensor(docs.counts, device), as_tensor(queries.counts, device)
    # unsafe: without a check of the counts, for which the host would wait
    products = doc_vectors @ query_vectors.T
    best = torch.segment_reduce(products, "max", lengths=doc_counts, unsafe=True)
    sums = torch.segment_reduce(best.T.contiguous(), "sum", lengths=query_counts, unsafe=True)
    scores: np.ndarray = sums.cpu().numpy()
    return scores


def _norms(vectors: Vectors) -> Float64[np.ndarray, "v"]:
    norms: np.ndarray = np.linalg.norm(vectors.rows.astype(np.float64), axis=1)
    return norms
