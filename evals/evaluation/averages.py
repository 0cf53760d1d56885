"""The averages that suites define, over their members and nothing else."""

from collections.abc import Sequence
from typing import NamedTuple

from evals.config.suites import Average, Suite, TaskRef
from evals.evaluation.outcome import Outcome, Result, TaskOutcome
from evals.records.means import plain_mean

ValuesByPlace = dict[
    tuple[str, str, int], dict[str, dict[str, float]]
]  # (model, direction, dim): member: metric: value


class Mean(NamedTuple):
    """An average of a suite for a model, a direction and a dimension; `value` is None while members are `missing`.

    mteb tasks have no direction (""); where their main scores are not of one kind, `metric` is
    "main score".
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
            members_scores = {
                m: s for m, s in values.items() if average.of_tasks or average.metric in s
            }
            missing = [member for member in members if member not in members_scores]
            scores = [members_scores[member] for member in members if member in members_scores]
            if not values.keys() & set(
                members
            ):  # what was run beside the suite, or has another direction
                continue
            metric = _metric(scores) if average.of_tasks else average.metric
            value = (
                None
                if missing
                else plain_mean(
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
    names = {name for scores_of_task in scores for name in scores_of_task}
    return names.pop() if len(names) == 1 else "main score"


def values_of_rows(outcomes: Sequence[Result]) -> ValuesByPlace:
    """The metrics of every subset that was measured whole, in float32."""
    values_by_place: ValuesByPlace = {}
    for outcome in outcomes:
        if not isinstance(outcome, Outcome) or set(outcome.partial or ()) - {
            "subsets"
        }:  # languages that were measured are whole
            continue
        for subset, subset_scores in outcome.scores.items():
            for score in (score for score in subset_scores if score.precision == "float32"):
                values = values_by_place.setdefault((outcome.model, score.direction, score.dim), {})
                values[f"{outcome.benchmark.name}/{subset}"] = {
                    name: value.value for name, value in score.values.items()
                }
    return values_by_place


def _of_tasks(suite: Suite, outcomes: Sequence[Result]) -> ValuesByPlace:
    """The main score of each task at the suite's split: the mean over the subsets that the suite wants, all of them."""
    values_by_place: ValuesByPlace = {}
    for task in suite.tasks:
        for outcome in outcomes:
            if (
                not isinstance(outcome, TaskOutcome)
                or outcome.task != task.task
                or not _whole(outcome, task)
            ):
                continue
            task_scores = [
                score
                for score in outcome.scores
                if score.split == task.split and score.subset in (task.subsets or (score.subset,))
            ]
            for dim in {score.dim for score in task_scores}:
                values = [score.value for score in task_scores if score.dim == dim]
                if len(values) == len(task.subsets or values):
                    values_by_place.setdefault((outcome.model, "", dim), {})[task.name] = {
                        outcome.metric: plain_mean(values)
                    }
    return values_by_place


def _whole(outcome: TaskOutcome, task: TaskRef) -> bool:
    """Whether the subsets that were run are whole, and all when the suite wants all.

    Other splits do not matter.
    """
    return not set(outcome.partial or ()) - (
        {"splits"} if task.subsets is None else {"splits", "subsets"}
    )
