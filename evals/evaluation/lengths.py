"""How many texts an encoder cuts: of a long document or caption it reads the beginning only.

No metric shows that loss by itself, so the record says how many there were. Where that cannot be
counted it says null, and the terminal says why.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from evals.schema import Data, ImageText, MissingError, TextPairs, TextRetrieval, TruncatingEncoder

if TYPE_CHECKING:
    from evals.schema import Encoder, Side

Counts = dict[str, int | None]


class Lengths(NamedTuple):
    """By what texts are: how many `texts`, and how many `truncated`, None where nobody can count.

    `reason` says why, None where all were counted.
    """

    counts: dict[str, Counts]
    reason: str | None


class Cut(NamedTuple):
    """How many texts of a side are cut, or None and the reason."""

    n_cut: int | None
    reason: str | None


def lengths_of(encoder: "Encoder", parts: Mapping[str, Data]) -> Lengths:
    """Of captions, of queries and documents, or of sentences, all subsets together.

    Empty for images in classes, and for an encoder that is no `TruncatingEncoder`.
    """
    counts: dict[str, Counts] = {}
    reason = None
    # Nothing rather than 0: of an API nobody knows what it cuts.
    if not isinstance(encoder, TruncatingEncoder):
        return Lengths(counts, reason)
    for data in parts.values():
        for name, side in _texts_of(data):
            cut = cut_of(encoder, side)
            reason = reason or cut.reason
            add_side(counts.setdefault(name, {"texts": 0, "truncated": 0}), side, cut)
    return Lengths(counts, reason)


def cut_of(encoder: TruncatingEncoder, side: "Side") -> Cut:
    """How many texts of a side the encoder cuts. What it raises beside MissingError goes on."""
    try:
        n_cut = encoder.truncated(side)
    except MissingError as error:
        return Cut(None, str(error).rstrip("."))
    return Cut(n_cut, "it does not say" if n_cut is None else None)


def add_side(counts: Counts, side: "Side", cut: Cut) -> None:
    """Count a side among others: what is unknown of one is unknown of all."""
    texts, truncated = counts["texts"], counts["truncated"]
    assert texts is not None  # `truncated` alone may be unknown
    counts["texts"] = texts + len(side)
    if truncated is None or cut.n_cut is None:
        counts["truncated"] = None
    else:
        counts["truncated"] = truncated + cut.n_cut


def unknown_words(encoder: "Encoder", reason: str) -> str:
    """The line for texts that could not be counted."""
    return f"{encoder.name}: texts longer than its maximum could not be counted: {reason}"


def _texts_of(data: Data) -> "list[tuple[str, Side]]":
    if isinstance(data, ImageText):
        return [("captions", data.texts)]
    if isinstance(data, TextRetrieval):
        return [("queries", data.queries.texts), ("documents", data.docs.texts)]
    if isinstance(data, TextPairs):
        return [("sentences", side) for side in data.sides]
    return []
