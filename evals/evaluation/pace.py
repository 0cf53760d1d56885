"""How fast a model encodes on this machine: by this run's own rate, or by records while that says too little."""

import time
from collections.abc import Mapping
from typing import NamedTuple

from evals.evaluation.forecast import FEWEST


class Timed(NamedTuple):
    """Items, and the seconds that they took."""

    items: int
    seconds: float


class Pace:
    """Items per second of one model by kind: as measured now, or by records where that says too little."""

    def __init__(self, recorded: Mapping[str, float]) -> None:
        self._recorded = recorded
        self._first: dict[str, Timed] = {}
        self._later: dict[str, Timed] = {}
        self._since = 0.0

    def start(self) -> None:
        """The clock runs from here: what passed before was no encoding."""
        self._since = time.monotonic()

    def count(self, kind: str, items: int) -> None:
        """So many were encoded since the last call."""
        now = time.monotonic()
        timed, self._since = Timed(items, now - self._since), now
        # The first of a kind waits for the weights to be loaded.
        if kind not in self._first:
            self._first[kind] = timed
            return
        before = self._later.get(kind, Timed(0, 0.0))
        self._later[kind] = Timed(before.items + items, before.seconds + timed.seconds)

    def rate(self, kind: str) -> float | None:
        """None where neither this run nor a record tells."""
        later = self._later.get(kind, Timed(0, 0.0))
        if later.items >= FEWEST and later.seconds > 0:
            return later.items / later.seconds
        first = self._first.get(kind, Timed(0, 0.0))
        measured = first.items / first.seconds if first.seconds > 0 else None
        return self._recorded.get(kind, measured)
