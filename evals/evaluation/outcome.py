"""What the command is told about one mteb task by one model; light, so that nothing of mteb is imported for it."""

from pathlib import Path
from typing import Any, NamedTuple

from evals.evaluation.evaluate import Outcome
from evals.stats.bootstrap import Interval


class TaskScore(NamedTuple):
    """One subset and split at one dimension.

    `value` is the task's main score in [0, 1], `interval` that of its mean over `n` queries or pairs (None where there is no
    such mean); `values` holds all metrics by mteb's names.
    """

    subset: str
    split: str
    dim: int
    value: float
    interval: Interval | None
    n: int
    values: dict[str, float]


class TaskOutcome(NamedTuple):
    """One mteb task by one model: the record's folder, what it says, and how much had to be encoded for it."""

    path: Path
    task: str
    model: str
    partial: dict[str, Any] | None
    encoded: dict[str, int]
    metric: str
    scores: list[TaskScore]


Result = Outcome | TaskOutcome  # of a row, or of an mteb task
