"""What a MultiVectorEncoder of sentence-transformers needs beside what every model of the library does.

Shapes: v vectors of an item, d dimensions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32
from torch import Tensor

from evals.schema import ConfigError, Side


def cap_lengths(model: Any, limit: int) -> None:
    """Cut texts at the lower of `limit` and the model's own lengths of queries and documents.

    Queries that are filled up to a fixed length keep it: that length is part of the model.
    """
    for module in model.modules():
        for name in ("query_length", "document_length"):
            length = getattr(module, name, None)
            if isinstance(length, int) and length > limit:
                setattr(module, name, limit)


def check_side(model: Any, name: str, side: Side) -> None:
    """Refuse what such a model would silently take for something else. ConfigError."""
    if side.role is None:
        raise ConfigError(
            f"{name} encodes queries otherwise than documents, and these {side.kind}s are neither. "
            "Measure it by evals.run, on captions:DIR, beir:DIR or retrieval tasks of mteb."
        )
    # Processors of ColPali and its like have one form for texts, that of a query.
    reads_pages = any(
        getattr(module, "transformer_task", None) == "retrieval" for module in model.modules()
    )
    if reads_pages and side.kind == "text" and side.role == "document":
        raise ConfigError(
            f"{name} reads documents as images of pages: it would take a text for a query. Choose "
            "another model, or documents that are images."
        )


def vectors_of(
    model: Any, items: Sequence[Any], side: Side, batch: int
) -> list[Float32[np.ndarray, "v d"]]:
    """The vectors of each item as the model gives them, which is what MaxSim multiplies."""
    encoders: dict[str | None, Callable[..., list[Tensor]]] = {
        "query": model.encode_query,
        "document": model.encode_document,
    }
    tokens = encoders[side.role](list(items), batch_size=batch, show_progress_bar=False)
    # Brought over one by one: the batches that they are views of stay on the device until then.
    return [vectors.float().cpu().numpy() for vectors in tokens]
