"""Results as people and programs read them: a table a benchmark and model, or one JSON object."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evals.config.suites import Suite
from evals.evaluation.averages import Mean
from evals.evaluation.outcome import Failure, Outcome, Result, TaskOutcome, TaskScore
from evals.evaluation.recording import metric_lines
from evals.ranking.measures import SHOWN
from evals.tasks.scores import Value
from evals.views.style import console, empty_table, percent


def print_outcomes(outcomes: Sequence[Result]) -> None:
    """A table for each, in per cent with 95% intervals, and the path of its record."""
    out = console()
    for outcome in outcomes:
        if isinstance(outcome, TaskOutcome):
            out.print(_task_table(outcome))
        else:
            out.print(_class_table(outcome) if outcome.benchmark.classes else _table(outcome))
        print_origin(out, outcome)


def print_origin(out: Console, outcome: Result) -> None:
    """What had to be encoded, and the path of the record."""
    encoded = " and ".join(f"{n:,} {kind}s" for kind, n in outcome.encoded.items())
    out.print(f"Encoded now: {encoded}; the rest came from the store.", highlight=False)
    out.print(f"record: {escape(str(outcome.path))}", soft_wrap=True, highlight=False)
    out.print()


def _table(outcome: Outcome) -> Table:
    several = (
        "" if len(outcome.scores) == 1 else f" mean: plain mean over {' '.join(outcome.scores)}."
    )
    table = empty_table(
        f"{outcome.benchmark.title} · {outcome.model}{_part(outcome)}",
        "t2i: texts find their image; i2t: images find one of their texts. Recall in per cent, 95% intervals over "
        f"images; n: queries/gallery; ties count in expectation.{several}",
    )
    for name, justify in (
        ("", "left"),
        ("dim", "right"),
        ("", "left"),
        *((name, "left") for name in SHOWN),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for name in ("n", "ties"):
        table.add_column(name, justify="right", no_wrap=True)
    for subset, subset_scores in outcome.scores.items():
        for score in subset_scores:
            counts = (f"{len(score.query_ids)}/{score.n_gallery}", f"{100 * score.tie_rate:.1f}%")
            table.add_row(
                subset,
                str(score.dim),
                score.direction,
                *(percent(score.values[name]) for name in SHOWN),
                *counts,
            )
    if len(outcome.scores) > 1:
        table.add_section()
        for score in next(iter(outcome.scores.values())):
            means = [
                f"{100 * mean_over_subsets(outcome, score.direction, score.dim, name):.1f}"
                for name in SHOWN
            ]
            table.add_row("mean", str(score.dim), score.direction, *means)
    return table


def _part(outcome: Outcome) -> str:
    return " · partial: not the benchmark's number" if outcome.partial else ""


def _class_table(outcome: Outcome) -> Table:
    [class_scores] = outcome.scores.values()
    if outcome.benchmark.metric == "mAP":
        caption = (
            "Mean average precision in per cent; n: classes/images; ties count in expectation."
        )
    else:
        caption = (
            "In per cent, 95% intervals over images; n: images/classes; ties count in expectation."
        )
    table = empty_table(f"{outcome.benchmark.title} · {outcome.model}{_part(outcome)}", caption)
    labels = ("", "dim") if class_scores[0].direction else ("dim",)
    for name in labels:
        table.add_column(name, justify="right", no_wrap=True)
    for name in class_scores[0].values:
        table.add_column(name.replace("_", " "), no_wrap=True)
    for name in ("n", "ties"):
        table.add_column(name, justify="right", no_wrap=True)
    for score in class_scores:
        counts = (f"{len(score.query_ids)}/{score.n_gallery}", f"{100 * score.tie_rate:.1f}%")
        table.add_row(
            *(score.direction, str(score.dim))[-len(labels) :],
            *map(percent, score.values.values()),
            *counts,
        )
    return table


def _task_table(outcome: TaskOutcome) -> Table:
    several = {
        key: split_scores
        for key, split_scores in _by_split(outcome).items()
        if len(split_scores) > 1
    }
    table = empty_table(
        f"{outcome.task} · {outcome.model}{' · partial: not all of the task' if outcome.partial else ''}",
        "The task's main score in per cent, with its 95% interval where there is one; n: queries, or pairs of texts."
        + (" mean: plain mean over the subsets." if several else ""),
    )
    for name in ("subset", "split"):
        table.add_column(name, overflow="fold")
    table.add_column("dim", justify="right", no_wrap=True)
    table.add_column(outcome.metric, no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for score in outcome.scores:
        table.add_row(
            escape(score.subset),
            escape(score.split),
            str(score.dim),
            percent(Value(score.value, score.interval), digits=2),
            f"{score.n:,}",
        )
    for (split, dim), split_scores in several.items():
        table.add_row(
            "mean",
            escape(split),
            str(dim),
            f"{100 * fmean(score.value for score in split_scores):.2f}",
        )
    return table


def _by_split(outcome: TaskOutcome) -> dict[tuple[str, int], list[TaskScore]]:
    by_split: dict[tuple[str, int], list[TaskScore]] = {}
    for score in outcome.scores:
        by_split.setdefault((score.split, score.dim), []).append(score)
    return by_split


def mean_over_subsets(outcome: Outcome, direction: str, dim: int, name: str) -> float:
    """The plain mean of a metric over the subsets that were run, in float32."""
    place = (direction, dim, "float32")
    values = [
        score.values[name].value
        for subset_scores in outcome.scores.values()
        for score in subset_scores
        if (score.direction, score.dim, score.precision) == place
    ]
    return sum(values) / len(values)


def print_averages(means: Sequence[Mean], suites: Sequence[Suite] = ()) -> None:
    """A line for each average of a suite: the value in per cent, or which members it lacks.

    Then what the suite says of it.
    """
    out = console()
    for mean in means:
        what = f"{mean.direction} {mean.metric}".strip()
        head = f"{mean.suite}: {mean.title} · {mean.model} · {what}, dim {mean.dim}"
        if mean.value is not None:
            out.print(
                f"{escape(head)}: [bold]{100 * mean.value:.2f}[/bold] ({mean.members} of {mean.members})",
                highlight=False,
            )
        else:
            have = mean.members - len(mean.missing)
            out.print(
                f"{escape(head)}: none, {have} of {mean.members}; {mean.missing[0]} … missing",
                highlight=False,
            )
    for suite in suites:
        if suite.about:
            out.print(f"{suite.name}: {escape(suite.about)}", highlight=False)


def as_json(
    outcomes: Sequence[Result],
    failures: Sequence[Failure] = (),
    means: Sequence[Mean] = (),
    suites: Sequence[Suite] = (),
) -> dict[str, Any]:
    """The machine output of an evaluation."""
    return {
        "schema_version": 1,
        "runs": [
            _task_run(outcome) if isinstance(outcome, TaskOutcome) else _run(outcome)
            for outcome in outcomes
        ],
        "averages": [mean._asdict() for mean in means],
        "suites": [
            {"name": suite.name, "title": suite.title, "about": suite.about} for suite in suites
        ],
        "failures": [
            {
                "benchmark": f.benchmark,
                "model": f.model,
                "error": str(f.error),
                "exit_code": f.error.exit_code,
            }
            for f in failures
        ],
    }


def _run(outcome: Outcome) -> dict[str, Any]:
    return {
        "path": str(outcome.path),
        "benchmark": outcome.benchmark.name,
        "model": outcome.model,
        "partial": outcome.partial,
        "encoded": outcome.encoded,
        "metrics": [asdict(line) for line in metric_lines(outcome.scores)],
    }


def _task_run(outcome: TaskOutcome) -> dict[str, Any]:
    """A line for each metric of each subset, the main score first.

    Null where mteb's metric is not a number.
    """
    lines = []
    for s in outcome.scores:
        for metric, value in {outcome.metric: s.value, **s.values}.items():
            main = metric == outcome.metric
            ends = s.interval if main else None
            lines.append(
                {"subset": s.subset, "split": s.split, "dim": s.dim, "metric": metric, "main": main}
                | {"value": value if math.isfinite(value) else None, "n_queries": s.n}
                | {"ci_low": ends.low if ends else None, "ci_high": ends.high if ends else None}
            )
    return {
        "path": str(outcome.path),
        "benchmark": f"mteb:{outcome.task}",
        "task": outcome.task,
        "model": outcome.model,
        "partial": outcome.partial,
        "encoded": outcome.encoded,
        "metrics": lines,
    }
