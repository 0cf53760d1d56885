"""The results of an mteb task at all dimensions, or of an aggregate from those of its members."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from evals.evaluation.outcome import TaskScore
from evals.mteb_bridge.checks import Repeated
from evals.mteb_bridge.records import Measured, task_scores


class TaskRun(NamedTuple):
    """A task at all dimensions: mteb's results by dimension, and what is kept for the record.

    `scores` are those that are shown, `measured` all that are recorded. `origin` and `content` are
    by subset, or by member of an aggregate.
    """

    results: dict[int, Any]
    scores: list[TaskScore]
    measured: list[Measured]
    origin: dict[str, dict[str, str]]
    content: dict[str, str]
    query_metric: str | None
    undefined: list[str]
    repeated: Repeated


def combined(task: Any, members: Sequence[TaskRun], dims: Sequence[int]) -> TaskRun:
    """The mean of an aggregate's members as mteb combines them, before the members' own scores."""
    results: dict[int, Any] = {}
    means: list[TaskScore] = []
    # Queries or pairs of all members, once and not per dimension.
    counts = [score.n for member in members for score in member.scores if score.dim == dims[0]]
    for dim in dims:
        # mteb's own function: which members weigh how much is a matter of the aggregate.
        results[dim] = task.combine_task_results([member.results[dim] for member in members])
        for score, _ in task_scores(task, results[dim], dim, {}):
            means.append(score._replace(n=sum(counts)))
    measured = [Measured(mean, None) for mean in means]
    origin: dict[str, dict[str, str]] = {}
    content: dict[str, str] = {}
    undefined: list[str] = []
    repeated = Repeated(0, 0)
    for member in members:
        repeated = Repeated(*(a + b for a, b in zip(repeated, member.repeated, strict=True)))
        measured += member.measured
        origin |= member.origin
        content |= member.content
        undefined += member.undefined
    return TaskRun(
        results=results,
        scores=means,
        measured=measured,
        origin=origin,
        content=content,
        # Members of an aggregate are tasks of one kind, with one main score.
        query_metric=members[0].query_metric,
        undefined=undefined,
        repeated=repeated,
    )
