"""Retrieval with graded judgements by models of several vectors per item, scored by MaxSim.

Judgements, measures and intervals are those of retrieval.py. A query or a document is a text, an
image (a page), or both, which such models read in one pass; all documents are searched, exactly.

Shapes: q queries, k documents of a query.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evals.ranking.maxsim import best_docs, places
from evals.ranking.relevance import Relevant
from evals.schema import ConfigError, Side, TextRetrieval, VectorSource
from evals.tasks.best import Best
from evals.tasks.late_items import groups_of, joined
from evals.tasks.retrieval import judgements, scores_of
from evals.tasks.scores import Scores

__all__ = ["best", "judgements", "score", "sides"]


def sides(data: TextRetrieval) -> list[Side]:
    """The queries, then the documents; of either a side per kind: texts and images, alone or both."""
    groups = [*groups_of(data.queries, "query"), *groups_of(data.docs, "document")]
    return [group.side for group in groups]


def score(
    rows: Sequence[VectorSource],
    data: TextRetrieval,
    *,
    dims: Sequence[int],
    precisions: Sequence[str] = ("float32",),
    device: str = "cpu",
    measures: Sequence[str] = (),
) -> list[Scores]:
    """The measures at the full width, from the vectors of `sides`, multiplied on the device.

    `measures` are further ones by name. Raises ConfigError for several dimensions or precisions.
    """
    dim = only_width(dims, precisions)
    queries, docs = _joined(rows, data)
    relevant = Relevant.from_pairs(data.qrels[:, :2], len(data.queries))
    gains = data.qrels[:, 2].astype(np.float64)
    ranked = places(queries, docs, relevant, gains, device=device)
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
    queries, docs = _joined(rows, data)
    hits = best_docs(queries, docs, k, device=device)
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


class _Sources(NamedTuple):
    queries: VectorSource
    docs: VectorSource


def _joined(rows: Sequence[VectorSource], data: TextRetrieval) -> _Sources:
    """The vectors of the queries and of the documents, from those of `sides`."""
    queries, docs = groups_of(data.queries, "query"), groups_of(data.docs, "document")
    return _Sources(joined(queries, rows[: len(queries)]), joined(docs, rows[len(queries) :]))
