"""Results as people and programs read them: a table per benchmark and model, or one JSON object."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evals.config.suites import Suite
from evals.evaluation.averages import Mean
from evals.evaluation.outcome import (
    Failure,
    Outcome,
    Result,
    TaskOutcome,
    TaskScore,
    encoded_words,
)
from evals.evaluation.record_files import curve_lines
from evals.evaluation.recording import metric_lines
from evals.ranking.metric_table import shown
from evals.records.means import plain_mean
from evals.tasks.scores import Scores, Value
from evals.views.style import console, empty_table, in_percent, percent
from evals.views.text_tables import text_table

RECALLS = shown("retrieval")


def print_outcomes(outcomes: Sequence[Result]) -> None:
    """A table for each, in per cent with 95% intervals, and the path of its record."""
    out = console()
    for outcome in outcomes:
        if isinstance(outcome, TaskOutcome):
            out.print(_task_table(outcome))
        else:
            out.print(_table_of(outcome))
        print_origin(out, outcome)


def _table_of(outcome: Outcome) -> Table:
    if outcome.benchmark.size:
        return text_table(outcome)
    return _class_table(outcome) if outcome.benchmark.classes else _table(outcome)


def print_origin(out: Console, outcome: Result, files: Sequence[Path] = ()) -> None:
    """What had to be encoded, the path of the record, and those of files beside it."""
    encoded = encoded_words(outcome.encoded)
    out.print(f"Encoded now: {encoded}; what was stored is not encoded again.", highlight=False)
    # soft_wrap: a path that is broken into lines cannot be copied.
    out.print(f"record: {escape(str(outcome.path))}", soft_wrap=True, highlight=False)
    for path in files:
        out.print(f"wrote: {escape(str(path))}", soft_wrap=True, highlight=False)
    out.print()


def _table(outcome: Outcome) -> Table:
    subsets = list(outcome.scores)
    mean = f" mean: plain mean over {' '.join(subsets)}." if len(subsets) > 1 else ""
    table = empty_table(
        f"{outcome.benchmark.title} · {outcome.model}{_part(outcome)}",
        "t2i: texts find their image; i2t: images find one of their texts. Recall in per cent, "
        f"95% intervals over images; n: queries/gallery; ties count in expectation.{mean}",
    )
    table.add_column("", no_wrap=True)
    table.add_column("dim", justify="right", no_wrap=True)
    # Values are left-justified: intervals differ in length, and the points should stay in line.
    for name in ("", *RECALLS):
        table.add_column(name, no_wrap=True)
    for name in ("n", "ties"):
        table.add_column(name, justify="right", no_wrap=True)
    for subset, subset_scores in outcome.scores.items():
        for score in subset_scores:
            values = [percent(score.values[name]) for name in RECALLS]
            table.add_row(subset, str(score.dim), score.direction, *values, *_counts(score))
    if len(subsets) > 1:
        table.add_section()
        # All subsets have the directions and dimensions of the first.
        for score in outcome.scores[subsets[0]]:
            means = [
                mean_over_subsets(outcome, score.direction, score.dim, name) for name in RECALLS
            ]
            cells = [in_percent(mean) for mean in means]
            table.add_row("mean", str(score.dim), score.direction, *cells)
    return table


def _counts(score: Scores) -> list[str]:
    """Queries and gallery, and the share of queries that tie: a rate that should be about 0."""
    return [
        f"{len(score.query_ids)}/{score.n_gallery}",
        f"{in_percent(score.tie_rate)}%",
    ]


def _part(outcome: Outcome) -> str:
    return " · partial: not the benchmark's number" if outcome.partial else ""


def _class_table(outcome: Outcome) -> Table:
    [class_scores] = outcome.scores.values()
    # In mAP a class is the query and images are ranked; elsewhere an image looks for its class.
    if outcome.benchmark.metric == "mAP":
        values = "Mean average precision in per cent; n: classes/images"
    else:
        values = "In per cent, 95% intervals over images; n: images/classes"
    caption = f"{values}; ties count in expectation."
    table = empty_table(f"{outcome.benchmark.title} · {outcome.model}{_part(outcome)}", caption)
    # Zero-shot classification has one direction without a name; probes have one per neighbours.
    labels = ("", "dim") if class_scores[0].direction else ("dim",)
    for name in labels:
        table.add_column(name, justify="right", no_wrap=True)
    for name in class_scores[0].values:
        table.add_column(name.replace("_", " "), no_wrap=True)
    for name in ("n", "ties"):
        table.add_column(name, justify="right", no_wrap=True)
    for score in class_scores:
        named = [score.direction, str(score.dim)][-len(labels) :]
        table.add_row(*named, *map(percent, score.values.values()), *_counts(score))
    return table


def _task_table(outcome: TaskOutcome) -> Table:
    means = {}
    for key, split_scores in _by_split(outcome).items():
        if len(split_scores) > 1:
            means[key] = plain_mean(score.value for score in split_scores)
    part = " · partial: not all of the task" if outcome.partial else ""
    note = " mean: plain mean over the subsets." if means else ""
    table = empty_table(
        f"{outcome.task} · {outcome.model}{part}",
        "The task's main score in per cent, with its 95% interval where there is one; "
        f"n: queries, or pairs of texts.{note}",
    )
    for name in ("subset", "split"):
        table.add_column(name, overflow="fold")
    table.add_column("dim", justify="right", no_wrap=True)
    table.add_column(outcome.metric, no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for score in outcome.scores:
        # Two digits, as mteb's leaderboard has them, so that the two can be compared.
        value = percent(Value(score.value, score.interval), digits=2)
        place = (escape(score.subset), escape(score.split), str(score.dim))
        table.add_row(*place, value, f"{score.n:,}")
    for (split, dim), mean in means.items():
        table.add_row("mean", escape(split), str(dim), in_percent(mean, digits=2))
    return table


def _by_split(outcome: TaskOutcome) -> dict[tuple[str, int], list[TaskScore]]:
    """The scores of each split and dimension, one per subset."""
    by_split: dict[tuple[str, int], list[TaskScore]] = {}
    for score in outcome.scores:
        by_split.setdefault((score.split, score.dim), []).append(score)
    return by_split


def mean_over_subsets(outcome: Outcome, direction: str, dim: int, name: str) -> float:
    """The plain mean of a metric over the subsets that were run, in float32."""
    place = (direction, dim, "float32")
    total = 0.0
    for subset_scores in outcome.scores.values():
        for score in subset_scores:
            if (score.direction, score.dim, score.precision) == place:
                total += score.values[name].value
    return total / len(outcome.scores)


def print_averages(means: Sequence[Mean], suites: Sequence[Suite] = ()) -> None:
    """A line for each average of a suite: the value in per cent, or which members it lacks.

    Then what the suite says of it.
    """
    out = console()
    for mean in means:
        what = f"{mean.direction} {mean.metric}".strip()
        head = f"{mean.suite}: {mean.title} · {mean.model} · {what}, dim {mean.dim}"
        measured = mean.members - len(mean.missing)
        counts = f"{measured} of {mean.members}"
        # None while a member is missing: a mean over fewer languages is another number.
        if mean.value is None:
            value = f"none, {counts}; {mean.missing[0]} … missing"
        else:
            value = f"[bold]{in_percent(mean.value, digits=2)}[/bold] ({counts})"
        out.print(f"{escape(head)}: {value}", highlight=False)
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
    runs = [
        _task_run(outcome) if isinstance(outcome, TaskOutcome) else _run(outcome)
        for outcome in outcomes
    ]
    described = [
        {"name": suite.name, "title": suite.title, "about": suite.about} for suite in suites
    ]
    return {
        "schema_version": 1,
        "runs": runs,
        "averages": [mean._asdict() for mean in means],
        "suites": described,
        "failures": [_failure(failure) for failure in failures],
    }


def _failure(failure: Failure) -> dict[str, Any]:
    # The code that the command would have ended with, had this been its only work.
    return {
        "benchmark": failure.benchmark,
        "model": failure.model,
        "error": str(failure.error),
        "exit_code": failure.error.exit_code,
    }


def _run(outcome: Outcome) -> dict[str, Any]:
    # Only with distractors: other output is as it was before there were any.
    curves = {}
    if outcome.curves:
        curves["distractors"] = [asdict(line) for line in curve_lines(outcome.curves)]
    return {
        "path": str(outcome.path),
        "benchmark": outcome.name,
        "model": outcome.model,
        "partial": outcome.partial,
        "encoded": outcome.encoded,
        "metrics": [asdict(line) for line in metric_lines(outcome.scores)],
        **curves,
    }


def _task_run(outcome: TaskOutcome) -> dict[str, Any]:
    """A line for each metric of each subset, the main score first.

    Null where mteb's metric is not a number.
    """
    lines = []
    for score in outcome.scores:
        values = {outcome.metric: score.value, **score.values}
        for metric, value in values.items():
            # Intervals follow from the values of queries, which are kept for the main score alone.
            is_main = metric == outcome.metric
            interval = score.interval if is_main else None
            line = {
                "subset": score.subset,
                "split": score.split,
                "dim": score.dim,
                "metric": metric,
                "main": is_main,
                "value": value if math.isfinite(value) else None,
                "n_queries": score.n,
                "ci_low": interval.low if interval else None,
                "ci_high": interval.high if interval else None,
            }
            lines.append(line)
    return {
        "path": str(outcome.path),
        "benchmark": outcome.name,
        "task": outcome.task,
        "model": outcome.model,
        "partial": outcome.partial,
        "encoded": outcome.encoded,
        "metrics": lines,
    }
