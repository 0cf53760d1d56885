"""What a MultiVectorEncoder of sentence-transformers needs beyond what all models of the library need.

Shapes: v vectors of an item, d dimensions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32
from torch import Tensor

from evals.schema import TEXT_IMAGE, ConfigError, Side


def cap_lengths(model: Any, limit: int) -> None:
    """Cut texts at the lower of `limit` and the model's own lengths of queries and documents.

    Queries that are filled up to a fixed length keep it: that length is part of the model.
    """
    for module in model.modules():
        for name in ("query_length", "document_length"):
            length = getattr(module, name, None)
            if isinstance(length, int) and length > limit:
                setattr(module, name, limit)


def check_kind(model: Any, name: str, side: Side) -> None:
    """Refuse items of a kind that a model does not read, as the library would. ConfigError.

    A text and an image in one item are read by models whose processor has a chat template, and by
    some whose architecture takes both (https://sbert.net/docs/package_reference/base).
    """
    # The library's own name of both in one, whatever the order in an item.
    modality = ("image", "text") if side.kind == TEXT_IMAGE else side.kind
    if model.supports(modality):
        return
    if side.kind == TEXT_IMAGE and model.supports("text") and model.supports("image"):
        raise ConfigError(
            f"{name} reads texts and images, but no item that has both: {side.ids[0]!r} and "
            f"{len(side) - 1:,} others have. Keep one of the two, or choose a model that sentence-"
            "transformers gives both, such as one whose processor has a chat template."
        )
    raise ConfigError(
        f"{name} has no {side.kind} tower. "
        f"Choose another model, or a benchmark without {side.kind}s."
    )


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
