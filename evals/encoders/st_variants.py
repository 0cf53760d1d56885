"""sentence-transformers models run in other ways on purpose: pooling, padding side, cuts and GELU.

Nothing here is used to measure a model; see variants.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from evals.encoders.variant import Cut, Rows, Variant, gelu_variants
from evals.schema import Encoder, Side

# The library's names of what its Pooling can do with the states of tokens.
POOLS = {
    "mean": "with the mean over tokens",
    "cls": "with the first token's state",
    "lasttoken": "with the last token's state",
    "max": "with the maximum over tokens",
}
SIDES = ("left", "right")
LONGEST = 8192  # tokens of a model that states no limit


def plain_st(encoder: Encoder) -> list[Variant]:
    """Those that each item shows by itself."""
    model = getattr(encoder, "model")  # noqa: B009 - the protocol does not have it
    variants = gelu_variants(encoder.encode, model)
    pooling = _pooling(model)
    if pooling is not None:
        for pool, words in POOLS.items():
            rows = _with(encoder, pooling, "pooling_mode", pool)
            variants.append(Variant(f"pool_{pool}", "pooling", "text", words, rows))
    return variants


def cuts_st(encoder: Encoder) -> list[Cut]:
    """Texts cut at fewer tokens than the model reads."""
    model = getattr(encoder, "model")  # noqa: B009 - the protocol does not have it
    # Beyond its own limit a model may have no positions.
    longest = model.max_seq_length or LONGEST

    def at(limit: int) -> Variant:
        words = f"with texts cut at {limit} tokens"
        rows = _with(encoder, model, "max_seq_length", limit)
        return Variant(f"cut_{limit}", "truncation", "text", words, rows)

    return [Cut(longest - 1, at)]


def padded_st(encoder: Encoder) -> list[Variant]:
    """Padding on the one side and on the other."""
    tokenizer = getattr(getattr(encoder, "model", None), "tokenizer", None)
    if not hasattr(tokenizer, "padding_side"):
        return []
    return [
        Variant(
            f"padding_{side}",
            "padding",
            "text",
            f"with padding on the {side}",
            _with(encoder, tokenizer, "padding_side", side),
        )
        for side in SIDES
    ]


def _pooling(model: Any) -> Any:
    """The Pooling of a model of one; of a concatenation the width would change."""
    poolings = [part for part in model.modules() if isinstance(_mode(part), str)]
    return poolings[0] if len(poolings) == 1 else None


def _mode(part: Any) -> Any:
    return getattr(part, "pooling_mode", None)


def _with(encoder: Encoder, holder: Any, attribute: str, value: Any) -> Rows:
    def rows(side: Side) -> np.ndarray:
        with _set(holder, attribute, value):
            return encoder.encode(side)

    return rows


@contextmanager
def _set(holder: Any, attribute: str, value: Any) -> Iterator[None]:
    """Another value of an attribute for the time of a block."""
    before = getattr(holder, attribute)
    setattr(holder, attribute, value)
    try:
        yield
    finally:
        setattr(holder, attribute, before)
