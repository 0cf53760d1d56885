"""Retrieval tasks of mteb by models of several vectors per item: what is embedded, and the hits by MaxSim.

Scores are exact and in float64 (evals.ranking.maxsim), where mteb's are float32 of padded vectors.

Shapes: n documents.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32

from evals.ranking.maxsim import maxsim, scored, top
from evals.ranking.search import Hits
from evals.schema import ConfigError, Side, VectorSource


def only_side(sides: Sequence[Side]) -> Side:
    """The one side of what mteb hands over. ConfigError for items with a text and an image."""
    if len(sides) != 1:
        raise ConfigError(
            "the items have a text and an image, which models of several vectors per item read in "
            "one pass. Choose another model or another task."
        )
    return sides[0]


def search_vectors(queries: VectorSource, docs: VectorSource, k: int) -> Iterator[Hits]:
    """The `k` best documents of each query, block by block; of all, where there are fewer."""
    for part in scored(queries, docs):
        best = top(part, k)
        yield Hits(part.first, best.docs, best.scores.astype(np.float32))


def candidate_scores(
    queries: VectorSource, query: int, docs: VectorSource, candidates: Sequence[int]
) -> Float32[np.ndarray, "1 n"]:
    """The scores of a query with some documents."""
    return maxsim(queries.take([query]), docs.take(candidates)).astype(np.float32)
