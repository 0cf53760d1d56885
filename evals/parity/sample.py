"""The items that trials are made with: those that differ most, and some of all others.

Shapes: n items, d dimensions.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from evals.parity.agreement import Compared, unit
from evals.parity.probe import Part
from evals.schema import Kind, Selection, Side

ITEMS = {"text": 48, "image": 24}  # of a trial
WORST = 12  # of these differ most; the others are spread over all


class Sample(NamedTuple):
    """Items that trials are made with, and the unit rows of both models."""

    side: Side
    a: Float64[np.ndarray, "n d"]
    b: Float64[np.ndarray, "n d"]


def sample_of(compared: Compared, parts: Sequence[Part]) -> Sample:
    """The items that differ most, those that were made for the purpose, and some of all others."""
    a, b = unit(compared.a), unit(compared.b)
    apart = ((b - a) ** 2).sum(axis=1)
    order = np.argsort(-apart, kind="stable")
    most = ITEMS[compared.kind]
    shaped = [i for i, label in enumerate(compared.labels) if label.id.startswith("shaped-")]
    spread = np.linspace(0, len(a) - 1, min(most, len(a))).astype(int).tolist()
    # A dict keeps the order, and each item once.
    by_interest = list(dict.fromkeys([*order[:WORST].tolist(), *shaped, *spread]))
    chosen = sorted(by_interest[:most])
    return Sample(_side_of(compared.kind, parts).select(chosen), a[chosen], b[chosen])


def _side_of(kind: Kind, parts: Sequence[Part]) -> Side:
    """All items of a kind as one side, in the order of the parts."""
    sides = [part.side for part in parts if part.side.kind == kind]
    # Items of several languages have none together: no encoder that needs one gets this far.
    languages = {side.language for side in sides}
    items: list[Any] = []
    ids: list[str] = []
    hashes: list[str] = []
    for side in sides:
        items += list(_lazily(side))
        ids += side.ids
        hashes += side.hashes
    language = languages.pop() if len(languages) == 1 else None
    return Side(kind, _Items(items), ids, hashes, role=sides[0].role, language=language)


def _lazily(side: Side) -> list[Callable[[], Any]]:
    """A function per item: an image is decoded when it is wanted."""
    return [lambda place=place: side.items[place] for place in range(len(side))]  # type: ignore[misc]


class _Items(Selection):
    """Items of several sides behind one index."""

    def __init__(self, items: Sequence[Callable[[], Any]]) -> None:
        super().__init__(items, range(len(items)))

    def __getitem__(self, index: Any) -> Any:
        chosen = super().__getitem__(index)
        return _Items(list(chosen)) if isinstance(index, slice) else chosen()
