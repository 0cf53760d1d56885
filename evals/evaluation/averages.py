"""The averages that suites define, over their members and nothing else."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from evals.config.suites import Average, Suite, TaskRef
from evals.evaluation.outcome import Outcome, Result, TaskOutcome

Found = dict[
    tuple[str, str, int], dict[str, dict[str, float]]
]  # (model, direction, dim): member: metric: value


class Mean(NamedTuple):
    """An average of a suite for a model, a direction and a dimension; `value` is None while members are `missing`.

    mteb tasks have no direction (""); where their main scores are not of one kind, `metric` is "main score".
    """

    suite: str
    title: str
    model: str
    direction: str
    dim: int
    metric: str
    members: int
    missing: list[str]
    value: float | None


def averages(suite: Suite, outcomes: Sequence[Result]) -> list[Mean]:
    """Every average of the suite for every model that was run, from whole benchmarks only: a partial run gives no member."""
    rows, tasks = values_of_rows(outcomes), _of_tasks(suite, outcomes)
    means = []
    for title, average in suite.averages.items():
        members = _members(suite, average)
        for (model, direction, dim), values in (tasks if average.of_tasks else rows).items():
            known = {m: s for m, s in values.items() if average.of_tasks or average.metric in s}
            missing = [member for member in members if member not in known]
            scores = [known[member] for member in members if member in known]
            if not values.keys() & set(
                members
            ):  # what was run beside the suite, or has another direction
                continue
            metric = _metric(scores) if average.of_tasks else average.metric
            value = (
                None
                if missing
                else fmean(
                    next(iter(s.values())) if average.of_tasks else s[metric] for s in scores
                )
            )
            means.append(
                Mean(suite.name, title, model, direction, dim, metric, len(members), missing, value)
            )
    return means


def _members(suite: Suite, average: Average) -> list[str]:
    return [task.name if (task := suite.task(member)) else member for member in average.of]


def _metric(scores: Sequence[dict[str, float]]) -> str:
    names = {name for of_task in scores for name in of_task}
    return names.pop() if len(names) == 1 else "main score"


def values_of_rows(outcomes: Sequence[Result]) -> Found:
    """The metrics of every subset that was measured whole, in float32."""
    found: Found = {}
    for outcome in outcomes:
        if not isinstance(outcome, Outcome) or set(outcome.partial or ()) - {
            "subsets"
        }:  # languages that were measured are whole
            continue
        for subset, every in outcome.scores.items():
            for s in (s for s in every if s.precision == "float32"):
                values = found.setdefault((outcome.model, s.direction, s.dim), {})
                values[f"{outcome.benchmark.name}/{subset}"] = {
                    name: value.value for name, value in s.values.items()
                }
    return found


def _of_tasks(suite: Suite, outcomes: Sequence[Result]) -> Found:
    """The main score of each task at the suite's split: the mean over the subsets that the suite wants, all of them."""
    found: Found = {}
    for task in suite.tasks:
        for outcome in outcomes:
            if (
                not isinstance(outcome, TaskOutcome)
                or outcome.task != task.task
                or not _whole(outcome, task)
            ):
                continue
            wanted = [
                s
                for s in outcome.scores
                if s.split == task.split and s.subset in (task.subsets or (s.subset,))
            ]
            for dim in {s.dim for s in wanted}:
                values = [s.value for s in wanted if s.dim == dim]
                if len(values) == len(task.subsets or values):
                    found.setdefault((outcome.model, "", dim), {})[task.name] = {
                        outcome.metric: fmean(values)
                    }
    return found


def _whole(outcome: TaskOutcome, task: TaskRef) -> bool:
    """Whether the subsets that were run are whole, and all when the suite wants all; other splits do not matter."""
    return not set(outcome.partial or ()) - (
        {"splits"} if task.subsets is None else {"splits", "subsets"}
    )
