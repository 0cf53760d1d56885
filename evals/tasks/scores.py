"""What a task measures from embeddings: one `Scores` for each direction, dimension and precision."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from evals.schema import Side
from evals.stats.bootstrap import Interval


class Value(NamedTuple):
    """A metric over all queries; what is no mean over queries may have no interval."""

    value: float
    interval: Interval | None


class Scores(NamedTuple):
    """One direction ("" for tasks without) at one dimension and precision: the metrics, and what each query contributed.

    `columns` are those of queries.parquet beside the keys and ids, one value a query.
    """

    direction: str
    dim: int
    values: Mapping[str, Value]
    columns: Mapping[str, np.ndarray]
    query_ids: Sequence[str]
    group_ids: Sequence[str]
    n_gallery: int
    tie_rate: float
    precision: str = "float32"


@runtime_checkable
class Task(Protocol):
    """What the module of a task gives: the sides of its data that want embedding, and the scores of their full-width rows."""

    def sides(self, data: Any) -> list[Side]:
        """What is embedded, in the order in which `score` takes the rows."""
        ...

    def score(
        self,
        rows: Sequence[np.ndarray],
        data: Any,
        *,
        dims: Sequence[int],
        precisions: Sequence[str],
        device: str,
    ) -> list[Scores]:
        """Every direction at every dimension and precision, in this order: dimension, precision, direction."""
        ...
