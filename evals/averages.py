"""The averages that suites define, over their members and nothing else."""

from collections.abc import Sequence
from typing import NamedTuple

from evals.catalog import Suite
from evals.evaluate import Outcome


class Mean(NamedTuple):
    """An average of a suite for a model, a direction and a dimension; `value` is None while members are `missing`."""

    suite: str
    title: str
    model: str
    direction: str
    dim: int
    metric: str
    members: int
    missing: list[str]
    value: float | None


def averages(suite: Suite, outcomes: Sequence[Outcome]) -> list[Mean]:
    """Every average of the suite for every model that was run, from whole benchmarks only: a partial run gives no member."""
    found: dict[tuple[str, str, int], dict[str, dict[str, float]]] = {}
    for outcome in outcomes:
        if outcome.partial and set(outcome.partial) != {"subsets"}:  # languages that were measured are whole
            continue
        for subset, every in outcome.scores.items():
            for s in every:
                values = found.setdefault((outcome.model, s.direction, s.dim), {})
                values[f"{outcome.benchmark.name}/{subset}"] = {name: value.value for name, value in s.values.items()}
    means = []
    for title, average in suite.averages.items():
        for (model, direction, dim), values in found.items():
            missing = [member for member in average.of if member not in values]
            value = None if missing else sum(values[member][average.metric] for member in average.of) / len(average.of)
            means.append(Mean(suite.name, title, model, direction, dim, average.metric, len(average.of), missing, value))
    return means
