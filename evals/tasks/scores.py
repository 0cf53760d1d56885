"""The shape of a task and of its scores: one `Scores` per direction, dimension and precision."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from evals.embeddings.rows import RowSource
from evals.schema import Side
from evals.stats.bootstrap import Interval
from evals.tasks.best import Best


class Value(NamedTuple):
    """A metric over all queries; what is no mean over queries may have no interval."""

    value: float
    interval: Interval | None


class Scores(NamedTuple):
    """One direction at one dimension and precision: the metrics, and what each query contributed.

    A task without directions calls the only one "". `values` are by the metrics' public names, such
    as `R@5`. `columns` are those of queries.parquet beside the keys and ids, one value per query.
    Queries of one `group_id` are a cluster. `n_gallery` counts what is ranked, `tie_rate` is the
    share of queries whose best relevant item ties with another.
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
    """What the module of a task gives."""

    def sides(self, data: Any) -> list[Side]:
        """What of the data is embedded, in the order in which `score` takes the rows."""
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
        """The scores in the order of dimension, precision, direction.

        `rows` are those of `sides` at full width, float32, as the encoder gave them.
        """
        ...


@runtime_checkable
class StoredTask(Protocol):
    """A task that can also be scored from rows on disk, with the same result."""

    def score_stored(
        self,
        rows: Sequence[RowSource],
        data: Any,
        *,
        dims: Sequence[int],
        precisions: Sequence[str],
        memory: int,
        device: str,
    ) -> list[Scores]:
        """What `Task.score` gives, in about `memory` bytes."""
        ...

    def best_stored(
        self,
        rows: Sequence[RowSource],
        data: Any,
        *,
        dims: Sequence[int],
        precisions: Sequence[str],
        k: int,
        memory: int,
        device: str,
    ) -> list[Best]:
        """What `RankingTask.best` gives, in about `memory` bytes."""
        ...
