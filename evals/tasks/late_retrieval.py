"""Retrieval with graded judgements by models of several vectors per item, scored by MaxSim.

Judgements, measures and intervals are those of retrieval.py. A query or a document is a text or an
image (a page); all documents are searched, exactly. What has a text and an image is refused: such
models read both in one pass, and no sum of vectors stands for that.

Shapes: q queries, k documents of a query.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evals.ranking.maxsim import best_docs, places
from evals.ranking.relevance import Relevant
from evals.schema import ConfigError, Items, Role, Side, TextRetrieval, VectorSource
from evals.tasks.best import Best
from evals.tasks.retrieval import judgements, scores_of
from evals.tasks.scores import Scores

__all__ = ["best", "judgements", "score", "sides"]


def sides(data: TextRetrieval) -> list[Side]:
    """The queries, then the documents. ConfigError where they are texts and images in one.

    Roles are always set: such models encode a query otherwise than a document.
    """
    return [_only_side(data.queries, "query"), _only_side(data.docs, "document")]


def score(
    rows: Sequence[VectorSource],
    data: TextRetrieval,
    *,
    dims: Sequence[int],
    precisions: Sequence[str] = ("float32",),
    device: str = "cpu",
    measures: Sequence[str] = (),
) -> list[Scores]:
    """The measures at the full width, from the vectors of `sides`; products are made on the CPU.

    `measures` are further ones by name. Raises ConfigError for several dimensions or precisions.
    """
    dim = only_width(dims, precisions)
    queries, docs = rows
    relevant = Relevant.from_pairs(data.qrels[:, :2], len(data.queries))
    ranked = places(queries, docs, relevant, data.qrels[:, 2].astype(np.float64))
    return [scores_of(ranked, data, dim=dim, measures=measures)]


def best(
    rows: Sequence[VectorSource],
    data: TextRetrieval,
    *,
    dims: Sequence[int],
    precisions: Sequence[str],
    k: int,
    device: str,
) -> list[Best]:
    """The best documents of each query, as `RankingTask.best` says; scores are MaxSim."""
    dim = only_width(dims, precisions)
    queries, docs = rows
    hits = best_docs(queries, docs, k)
    scores = hits.scores.astype(np.float32)
    return [Best("", dim, "float32", data.queries.ids, data.docs.ids, hits.docs, scores)]


def only_width(dims: Sequence[int], precisions: Sequence[str]) -> int:
    """The one dimension that is scored. ConfigError for more, and for other precisions."""
    if len(dims) != 1 or tuple(precisions) != ("float32",):
        raise ConfigError(
            "Several vectors per item are scored at their full width in float32 alone. "
            "Leave out --dims, --precisions and --rescore."
        )
    return dims[0]


def _only_side(items: Items, role: Role) -> Side:
    if len(items.sides) != 1:
        what = "queries" if role == "query" else "documents"
        raise ConfigError(
            f"The {what} have texts and images. A model of several vectors per item reads a text or "
            "an image here: keep one of them, or choose another model."
        )
    return replace(items.sides[0], role=role)
