"""The averages that suites define, over their members and nothing else."""

from collections.abc import Sequence
from typing import NamedTuple

from evals.config.suites import Average, Suite, TaskRef
from evals.evaluation.outcome import Outcome, Result, TaskOutcome
from evals.records.means import plain_mean

# By model, direction and dimension: the values of each member, by metric.
ValuesByPlace = dict[tuple[str, str, int], dict[str, dict[str, float]]]


class Mean(NamedTuple):
    """An average of a suite for a model, a direction and a dimension.

    `value` is None while members are `missing`. mteb tasks have no direction (""); where their main
    scores are not of one kind, `metric` is "main score".
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
    """Every average of the suite for every model that was run.

    Members are whole benchmarks: a partial run gives none.
    """
    rows, tasks = values_of_rows(outcomes), _of_tasks(suite, outcomes)
    means = []
    for title, average in suite.averages.items():
        members = _members(suite, average)
        values_by_place = tasks if average.of_tasks else rows
        for (model, direction, dim), values in values_by_place.items():
            # What was run beside the suite, or has another direction, is no average of it at all.
            if not values.keys() & set(members):
                continue
            usable = {name for name, metrics in values.items() if _has_metric(average, metrics)}
            missing = [member for member in members if member not in usable]
            scores = [values[member] for member in members if member in usable]
            metric = _metric(scores) if average.of_tasks else average.metric
            mean = Mean(
                suite=suite.name,
                title=title,
                model=model,
                direction=direction,
                dim=dim,
                metric=metric,
                members=len(members),
                missing=missing,
                # Over all members or none: a mean over fewer is another number.
                value=None
                if missing
                else plain_mean(_value(average, metrics) for metrics in scores),
            )
            means.append(mean)
    return means


def _members(suite: Suite, average: Average) -> list[str]:
    """The members, tasks with the split that the suite runs: a member may leave it out."""
    members = []
    for member in average.of:
        task = suite.task(member)
        members.append(task.name if task else member)
    return members


def _has_metric(average: Average, metrics: dict[str, float]) -> bool:
    return average.of_tasks or average.metric in metrics


def _value(average: Average, metrics: dict[str, float]) -> float:
    # A task's main score is all that is known of it here.
    return next(iter(metrics.values())) if average.of_tasks else metrics[average.metric]


def _metric(scores: Sequence[dict[str, float]]) -> str:
    names = {name for scores_of_task in scores for name in scores_of_task}
    return names.pop() if len(names) == 1 else "main score"


def values_of_rows(outcomes: Sequence[Result]) -> ValuesByPlace:
    """The metrics of every subset that was measured whole, in float32."""
    values_by_place: ValuesByPlace = {}
    for outcome in outcomes:
        if not isinstance(outcome, Outcome):
            continue
        # A run of some languages is a part of its benchmark, but each of these languages is whole.
        if set(outcome.partial or ()) - {"subsets"}:
            continue
        for subset, subset_scores in outcome.scores.items():
            member = f"{outcome.benchmark.name}/{subset}"
            for score in subset_scores:
                if score.precision == "float32":
                    place = (outcome.model, score.direction, score.dim)
                    metrics = {name: value.value for name, value in score.values.items()}
                    values_by_place.setdefault(place, {})[member] = metrics
    return values_by_place


def _of_tasks(suite: Suite, outcomes: Sequence[Result]) -> ValuesByPlace:
    """The main score of each task at the suite's split: the mean over all subsets of the suite."""
    values_by_place: ValuesByPlace = {}
    for task in suite.tasks:
        for outcome in outcomes:
            if not isinstance(outcome, TaskOutcome) or outcome.task != task.task:
                continue
            if not _whole(outcome, task):
                continue
            values_by_dim: dict[int, list[float]] = {}
            for score in outcome.scores:
                in_suite = task.subsets is None or score.subset in task.subsets
                if score.split == task.split and in_suite:
                    values_by_dim.setdefault(score.dim, []).append(score.value)
            for dim, values in values_by_dim.items():
                # Fewer than the suite names: what was run is not what it averages.
                if task.subsets is None or len(values) == len(task.subsets):
                    place = (outcome.model, "", dim)
                    values_by_place.setdefault(place, {})[task.name] = {
                        outcome.metric: plain_mean(values)
                    }
    return values_by_place


def _whole(outcome: TaskOutcome, task: TaskRef) -> bool:
    """Whether the subsets that were run are whole, and all when the suite wants all.

    Other splits do not matter.
    """
    harmless = {"splits"} if task.subsets is None else {"splits", "subsets"}
    return not set(outcome.partial or ()) - harmless
