"""Retrieval tasks of mteb by models of several vectors per item: what is embedded, and the hits by MaxSim.

Scores are exact and in float64 (evals.ranking.maxsim), where mteb's are float32 of padded vectors.

Shapes: n documents.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from evals.mteb_bridge.sides import sides_of
from evals.ranking.best_docs import Hits
from evals.ranking.maxsim import maxsim, scored, top
from evals.schema import Modality, Role, Side, VectorSource, text_image_side


def only_side(loader: Any, role: Role) -> Side:
    """The items of a data loader of mteb as one side: where they have a text and an image, of both.

    Raises InvalidError as `sides_of` does, and for a text or an image that is missing.
    """
    sides = sides_of(loader, role=role, language=None)
    if len(sides) == 1:
        return sides[0]
    # mteb's wrapper hands an item over as a dict in the order of the columns, and models with a
    # chat template read it in that order.
    columns = getattr(loader.dataset, "column_names", None) or next(iter(loader))
    order: list[Modality] = [name for name in columns if name in ("text", "image")]
    texts, images = sides
    return text_image_side(texts, images, texts.ids, order=order)


def search_vectors(
    queries: VectorSource, docs: VectorSource, k: int, *, device: str = "cpu"
) -> Iterator[Hits]:
    """The `k` best documents of each query, block by block; of all, where there are fewer."""
    for part in scored(queries, docs, device=device):
        best = top(part, k)
        yield Hits(part.first, best.docs, best.scores.astype(np.float32))


def candidate_scores(
    queries: VectorSource, query: int, docs: VectorSource, candidates: Sequence[int]
) -> Float32[np.ndarray, "1 n"]:
    """The scores of a query with some documents."""
    return maxsim(queries.take([query]), docs.take(candidates)).astype(np.float32)
