"""How many texts an encoder cuts: of a long document or caption it reads the beginning only.

No metric shows that loss by itself, so the record says how many there were.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from evals.schema import Data, ImageText, TextPairs, TextRetrieval, TruncatingEncoder

if TYPE_CHECKING:
    from evals.schema import Encoder, Side

Lengths = dict[str, dict[str, int]]


def lengths_of(encoder: "Encoder", parts: Mapping[str, Data]) -> Lengths:
    """Of captions, of queries and documents, or of sentences: how many `texts`, and how many `truncated`.

    All subsets together; empty for images in classes, and for an encoder that cannot tell.
    """
    lengths: Lengths = {}
    # None rather than 0: of an API nobody knows what it cuts.
    if not isinstance(encoder, TruncatingEncoder):
        return lengths
    for data in parts.values():
        for name, side in _texts_of(data):
            n_cut = encoder.truncated(side)
            if n_cut is None:
                return {}
            count = lengths.setdefault(name, {"texts": 0, "truncated": 0})
            count["texts"] += len(side)
            count["truncated"] += n_cut
    return lengths


def _texts_of(data: Data) -> "list[tuple[str, Side]]":
    if isinstance(data, ImageText):
        return [("captions", data.texts)]
    if isinstance(data, TextRetrieval):
        return [("queries", data.queries.texts), ("documents", data.docs.texts)]
    if isinstance(data, TextPairs):
        return [("sentences", side) for side in data.sides]
    return []
