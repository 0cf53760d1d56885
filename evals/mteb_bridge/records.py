"""One mteb task as our record, and beside it mteb's own JSON and the Hub's `.eval_results`."""

import importlib.metadata
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evals.evaluation.outcome import TaskScore
from evals.evaluation.recording import Costs, circumstances
from evals.mteb_bridge.eval_results import as_yaml, task_entries
from evals.records.additions import write_into
from evals.schema import InvalidError
from evals.settings import Settings
from evals.stats.bootstrap import Interval

if TYPE_CHECKING:
    from evals.records.record import MetricLine
    from evals.schema import Encoder


class Details(NamedTuple):
    """What is kept of each query or pair, and the main score's interval.

    `columns` has `value` for queries, and for pairs `score` (the cosine) and `gold` (in [0, 1]).
    `groups` names the cluster of each: the first query that it shares relevant documents with.
    """

    ids: Sequence[str]
    groups: Sequence[str]
    columns: dict[str, np.ndarray]
    interval: Interval | None
    n_gallery: int


class Measured(NamedTuple):
    """A score and what it was made of: None for tasks that have neither queries nor pairs."""

    score: TaskScore
    details: Details | None


@dataclass(frozen=True)
class Task:
    """What a record says of its task. `partial` says why it is not the whole task (None: it is).

    `metric` is mteb's main score, `query_metric` what the record has per query. `origin` and
    `content` (a hash) are by subset; `mteb` is `about` the task.
    """

    name: str
    benchmark: str
    metric: str
    query_metric: str | None
    partial: dict[str, Any] | None
    origin: dict[str, dict[str, str]]
    content: dict[str, str]
    mteb: dict[str, Any]
    aggregate: bool = False
    costs: Costs = field(default_factory=Costs)
    started: float = field(default_factory=time.time)


def task_scores(
    task: Any, result: Any, dim: int, details_of: Mapping[tuple[str, str], Details]
) -> list[tuple[TaskScore, list[str]]]:
    """The scores of mteb's result, each with the names of its undefined metrics.

    `details_of` is by subset and split. Raises InvalidError when the main score is undefined.
    """
    metric = task.metadata.main_score
    scores = []
    for split, entries in result.scores.items():
        for entry in entries:
            subset = entry["hf_subset"]
            values, undefined = _numbers(entry)
            if metric not in values:
                raise InvalidError(
                    f"{metric} of {subset} {split} is undefined at {dim} dimensions."
                )
            details = details_of.get((subset, split))
            score = TaskScore(
                subset=subset,
                split=split,
                dim=dim,
                value=values[metric],
                interval=details.interval if details else None,
                n=len(details.ids) if details else _size(task, subset, split),
                values=values,
            )
            scores.append((score, undefined))
    return scores


def about(task: Any, undefined: list[str], *, instruction: bool) -> dict[str, Any]:
    """What the manifest says of the task; `undefined` names the metrics without a value."""
    return {
        "task": task.metadata.name,
        "dataset": task.metadata.dataset["path"],
        "revision": task.metadata.dataset["revision"],
        "mteb_version": importlib.metadata.version("mteb"),
        "instruction": instruction,
        "splits": list(task.eval_splits),
        "all_splits": list(task.metadata.eval_splits),
        "subsets": list(task.metadata.hf_subsets if task.is_aggregate else task.hf_subsets),
        "undefined": undefined,
    }


def write(
    task: Task,
    encoder: "Encoder",
    dims: Sequence[int],
    settings: Settings,
    measured: Sequence[Measured],
) -> Path:
    """Write the record of a task and return its folder."""
    from evals.records.parquet import ID_COLUMNS, PAIR_COLUMNS, VALUE_COLUMNS
    from evals.records.record import write_run

    has_pairs = any(details and "gold" in details.columns for _, details in measured)
    columns = ID_COLUMNS | (PAIR_COLUMNS if has_pairs else VALUE_COLUMNS)
    return write_run(
        settings.records,
        manifest=_manifest(task, encoder, dims, settings),
        # The order of this list is that of the lines: it is part of what a record's hash covers.
        metrics=[line for entry in measured for line in _metric_lines(entry, task.metric)],
        queries=_query_table(measured, columns),
        columns=columns,
    )


def export(path: Path, task: Task, results: Mapping[int, Any], scores: Sequence[TaskScore]) -> None:
    """Write what others read beside the record in `path`: mteb's JSON and the Hub's YAML.

    `task_result.json` is of the most dimensions, `task_result-DIM.json` of each other. `results`
    come in this order. The YAML has the `scores`; a mean of tasks has no data set of its own to
    name in it, and no YAML.
    """
    for place, (dim, result) in enumerate(results.items()):
        name = f"task_result-{dim}.json" if place else "task_result.json"
        # `to_disk` writes in place; the record must never hold half a file.
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / "result.json"
            result.to_disk(written)
            data = written.read_bytes()
        write_into(path / name, data)
    if not task.aggregate:
        values = {(score.subset, score.split): score.value for score in scores}
        whole_task = task.partial is None
        date = time.strftime("%Y-%m-%d", time.gmtime(task.started))
        entries = task_entries(task.mteb, values, whole_task=whole_task, date=date)
        write_into(path / "eval_results.yaml", as_yaml(entries))


def _numbers(scores: Mapping[str, Any]) -> tuple[dict[str, float], list[str]]:
    """The metrics of mteb's dictionary, and the names of those that are NaN or infinite."""
    defined: dict[str, float] = {}
    undefined: list[str] = []
    for name, value in scores.items():
        # bool is an int to Python, and mteb's dictionaries hold flags.
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        # `main_score` repeats the metric that the task is judged by.
        if name == "main_score" or not is_number:
            continue
        if math.isfinite(value):
            defined[name] = float(value)
        else:
            undefined.append(name)
    return defined, undefined


def _size(task: Any, subset: str, split: str) -> int:
    """How many items a split has; 0 for a mean of tasks."""
    # Tasks of one language may leave out the level of subsets.
    splits = task.dataset or {}
    splits = splits.get(subset, splits)
    return len(splits[split]) if split in splits else 0


def _metric_lines(measured: Measured, metric: str) -> list["MetricLine"]:
    """The lines of metrics.jsonl: the main score, which has the interval, before the others."""
    from evals.records.record import MetricLine

    score, details = measured
    lines = []
    for name in (metric, *(name for name in score.values if name != metric)):
        interval = score.interval if name == metric else None
        lines.append(
            MetricLine(
                subset=score.subset,
                direction=score.split,
                dim=score.dim,
                precision="float32",
                metric=name,
                k=None,
                value=score.values[name],
                ci_low=interval.low if interval else None,
                ci_high=interval.high if interval else None,
                n_queries=score.n,
                n_gallery=details.n_gallery if details else 0,
                tie_rate=0.0,  # mteb breaks ties by id: no metric is an expectation
            )
        )
    return lines


def _query_table(measured: Sequence[Measured], columns: Mapping[str, str]) -> Any:
    """The rows of queries.parquet as an Arrow table; none for a task without queries and pairs."""
    import pyarrow as pa

    empty = pa.table(
        {name: pa.array([], pa.type_for_alias(kind)) for name, kind in columns.items()}
    )
    tables = [empty]  # so that there is a table, with its columns, where no score has details
    for score, details in measured:
        if details is None:
            continue
        keys = {
            "subset": score.subset,
            "direction": score.split,
            "dim": score.dim,
            "precision": "float32",
        }
        table = {name: pa.repeat(value, len(details.ids)) for name, value in keys.items()}
        table["query_id"] = pa.array(list(details.ids), pa.string())
        table["group_id"] = pa.array(list(details.groups), pa.string())
        table |= {name: pa.array(values) for name, values in details.columns.items()}
        tables.append(pa.table(table).cast(empty.schema))
    return pa.concat_tables(tables)


def _manifest(
    task: Task, encoder: "Encoder", dims: Sequence[int], settings: Settings
) -> dict[str, Any]:
    manifest = circumstances(encoder, settings, task.costs, task.started)
    return manifest | {
        "benchmark": task.benchmark,
        "partial": task.partial,
        "config": manifest["config"] | {"dims": list(dims)},
        "data": {
            subset: {"origin": task.origin[subset], "content": content}
            for subset, content in task.content.items()
        },
        "mteb": task.mteb | {"query_metric": task.query_metric},
    }
