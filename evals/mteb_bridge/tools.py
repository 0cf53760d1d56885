"""The parts of mteb that the adapter needs, passed to it so that it need not import mteb."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Tools(NamedTuple):
    """What the adapter needs of mteb.

    `meta` describes the model. `loader(dataset, metadata, prompt_type)` joins titles and texts as
    mteb does. `query` and `document` are its prompt types.
    """

    meta: Any
    cos_sim: Callable[[Any, Any], Any]
    pairwise_cos_sim: Callable[[Any, Any], Any]
    loader: Callable[[Any, Any, Any], Any]
    query: Any
    document: Any
