"""The best documents of each query and the judgements: what `--keep-top` keeps beside the ranks.

Ranks and metrics do not come from these: they are counted exactly, over all documents.

Shapes: q queries, n documents, d dimensions, k documents of a query.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int, Int64

from evals.ranking.search import top_k
from evals.ranking.shapes import DocRows, QueryRows


class Best(NamedTuple):
    """The k best documents of each query at one width and precision, best first.

    `docs` are places in `doc_ids`; `scores` are dot products of the unit rows, float32. Of equal
    scores the document with the smaller place comes first.
    """

    direction: str
    dim: int
    precision: str
    query_ids: Sequence[str]
    doc_ids: Sequence[str]
    docs: Int64[np.ndarray, "q k"]
    scores: Float32[np.ndarray, "q k"]


class Judgements(NamedTuple):
    """What is relevant to what in one direction: a row of `qrels` is a query, a document, a grade."""

    direction: str
    query_ids: Sequence[str]
    doc_ids: Sequence[str]
    qrels: Int[np.ndarray, "judgements 3"]


@runtime_checkable
class RankingTask(Protocol):
    """A task whose queries rank documents, so that the best of them can be kept."""

    def best(
        self,
        rows: Sequence[np.ndarray],
        data: Any,
        *,
        dims: Sequence[int],
        precisions: Sequence[str],
        k: int,
        device: str,
    ) -> list[Best]:
        """The best documents at each dimension, precision and direction, from the full-width rows."""
        ...

    def judgements(self, data: Any) -> list[Judgements]:
        """What is relevant, for each direction."""
        ...


def best_docs(
    queries: QueryRows, docs: DocRows, k: int, *, device: str
) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]]:
    """Places and scores of the k best documents of each query; of all, where there are fewer."""
    hits = list(top_k(queries, docs, k, device=device))
    return np.concatenate([part.docs for part in hits]), np.concatenate(
        [part.scores for part in hits]
    )
