"""What the measurement of a benchmark or an mteb task gives back: scores, costs, the record's place.

Light, so that a command can show it without torch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.config.catalog import Benchmark
from evals.records.manifest import PARTIAL
from evals.schema import EvalError
from evals.stats.bootstrap import Interval

if TYPE_CHECKING:
    from evals.tasks.gallery_curve import Curve
    from evals.tasks.scores import Scores


def encoded_words(encoded: Mapping[str, int]) -> str:
    """How many items of each kind were encoded: `4 images, 6 texts and 1 text+image`.

    The third kind is there where a model reads a text and an image in one.
    """
    *counts, last = [f"{n:,} {kind}{'' if n == 1 else 's'}" for kind, n in encoded.items()]
    return f"{', '.join(counts)} and {last}"


class Outcome(NamedTuple):
    """One benchmark by one model: the record's folder, and the scores of each subset.

    `encoded` counts what the store did not have yet. `curves` over gallery sizes are there where
    distractors were named.
    """

    path: Path
    benchmark: Benchmark
    model: str
    partial: dict[str, Any] | None
    encoded: dict[str, int]
    scores: dict[str, list["Scores"]]
    curves: Mapping[str, Sequence["Curve"]] = MappingProxyType({})

    @property
    def name(self) -> str:
        """What the record is called: a part of a benchmark has a name of its own."""
        return self.benchmark.name + (PARTIAL if self.partial else "")


class TaskScore(NamedTuple):
    """One subset and split of an mteb task at one dimension.

    `value` is the task's main score in [0, 1], `interval` that of its mean over `n` queries or
    pairs (None where there is no such mean); `values` holds all metrics by mteb's names.
    """

    subset: str
    split: str
    dim: int
    value: float
    interval: Interval | None
    n: int
    values: dict[str, float]


class TaskOutcome(NamedTuple):
    """One mteb task by one model: the record's folder, and the scores of subsets and splits.

    `encoded` counts what the store did not have yet, and `name` is what the record is called.
    """

    path: Path
    task: str
    model: str
    partial: dict[str, Any] | None
    encoded: dict[str, int]
    metric: str
    scores: list[TaskScore]
    name: str = ""


class Failure(NamedTuple):
    """One benchmark or mteb task by one model that could not be evaluated, and why."""

    benchmark: str
    model: str
    error: EvalError


# Two kinds, since mteb scores its tasks itself and gives no ranks.
Result = Outcome | TaskOutcome  # of a row, or of an mteb task


class Results(NamedTuple):
    """What all work by all models gave: what was measured, and what could not be."""

    outcomes: list[Result]
    failures: list[Failure]

    @property
    def exit_code(self) -> int:
        """The first failure's, or 0."""
        # The first, because later ones are often of the same cause: no network, a full disk.
        return self.failures[0].error.exit_code if self.failures else 0
