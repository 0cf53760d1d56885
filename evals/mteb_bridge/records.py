"""One mteb task as our record, and beside it as mteb's own JSON and as an `.eval_results` file of the Hugging Face Hub."""

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
from evals.files import write_atomically
from evals.schema import InvalidError
from evals.settings import Settings
from evals.stats.bootstrap import Interval

if TYPE_CHECKING:
    from evals.records.record import MetricLine
    from evals.schema import Encoder

KEYS = {"subset": "string", "direction": "string", "dim": "int32", "precision": "string"}
IDS = {"query_id": "string", "group_id": "string"}
OF_QUERIES = {"value": "float64"}
OF_PAIRS = {"score": "float64", "gold": "float64"}
MTEB_URL = "https://github.com/embeddings-benchmark/mteb/"


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
    """A score and what it was made of; `details` is None for tasks that have neither queries nor pairs."""

    score: TaskScore
    details: Details | None


@dataclass(frozen=True)
class Task:
    """What a record tells of its task. `partial` says why it is not the whole task (None: it is)."""

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
    task: Any, result: Any, dim: int, kept: Mapping[tuple[str, str], Details]
) -> list[tuple[TaskScore, list[str]]]:
    """The scores of mteb's result, each with the names of its undefined metrics; InvalidError when the main one is undefined."""
    metric, found = task.metadata.main_score, []
    for split, entries in result.scores.items():
        for entry in entries:
            subset = entry["hf_subset"]
            values, missing = _numbers(entry)
            if metric not in values:
                raise InvalidError(
                    f"{metric} of {subset} {split} is undefined at {dim} dimensions."
                )
            details = kept.get((subset, split))
            n = len(details.ids) if details else _size(task, subset, split)
            interval = details.interval if details else None
            found.append(
                (TaskScore(subset, split, dim, values[metric], interval, n, values), missing)
            )
    return found


def about(task: Any, undefined: list[str], *, instruction: bool) -> dict[str, Any]:
    """What the manifest tells of the task; `undefined` names the metrics without a value."""
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
    from evals.records.record import write_run

    own = next((d.columns for _, d in measured if d), {})
    columns = KEYS | IDS | (OF_PAIRS if "gold" in own else OF_QUERIES)
    return write_run(
        settings.results,
        manifest=_manifest(task, encoder, dims, settings),
        metrics=[line for one in measured for line in _metric_lines(one, task.metric)],
        queries=_query_table(measured, columns),
        columns=columns,
    )


def export(path: Path, told: Task, results: Mapping[int, Any], scores: Sequence[TaskScore]) -> None:
    """mteb's JSON: `task_result.json` of the most dimensions, `task_result-DIM.json` of the others; and the Hub's YAML."""
    for place, (dim, result) in enumerate(results.items()):
        with tempfile.TemporaryDirectory() as folder:
            result.to_disk(Path(folder) / "result.json")
            data = (Path(folder) / "result.json").read_bytes()
        write_atomically(path / (f"task_result-{dim}.json" if place else "task_result.json"), data)
    if not told.aggregate:  # a mean has no data set of its own to name
        _write_eval_results(path / "eval_results.yaml", told, scores)


def _numbers(scores: Mapping[str, Any]) -> tuple[dict[str, float], list[str]]:
    """The metrics of mteb's dictionary that are numbers, and the names of those that are undefined (NaN) or infinite."""
    found = {
        key: float(value)
        for key, value in scores.items()
        if key != "main_score"
        and isinstance(value, int | float | np.number)
        and not isinstance(value, bool)
    }
    return {k: v for k, v in found.items() if math.isfinite(v)}, [
        k for k, v in found.items() if not math.isfinite(v)
    ]


def _size(task: Any, subset: str, split: str) -> int:
    """How many items a split has; 0 for a mean of tasks."""
    parts = task.dataset or {}
    parts = parts.get(subset, parts)
    return len(parts[split]) if split in parts else 0


def _write_eval_results(path: Path, task: Task, scores: Sequence[TaskScore]) -> None:
    """The `.eval_results` YAML (https://huggingface.co/docs/hub/eval-results), with mteb's task ids and percent."""
    import yaml

    note = f"Obtained using MTEB v{task.mteb['mteb_version']}"
    entries = [(f"{task.name}_{score.subset}_{score.split}", score.value) for score in scores]
    if task.partial is None and task.mteb["splits"] == task.mteb["all_splits"]:
        entries.append((task.name, float(np.mean([score.value for score in scores]))))
    results = [
        {
            "dataset": {
                "id": task.mteb["dataset"],
                "task_id": task_id,
                "revision": task.mteb["revision"],
            },
            "value": round(value * 100, 5),
            "date": time.strftime("%Y-%m-%d", time.gmtime(task.started)),
            "notes": note,
            "source": {"url": MTEB_URL, "name": note},
        }
        for task_id, value in entries
    ]
    write_atomically(path, yaml.safe_dump(results, sort_keys=False, allow_unicode=True).encode())


def _metric_lines(one: Measured, metric: str) -> list["MetricLine"]:
    from evals.records.record import MetricLine

    score, details = one
    if metric not in score.values:
        raise InvalidError(
            f"{metric} of {score.subset} {score.split} at {score.dim} dimensions is not a finite number."
        )
    names = [metric, *(name for name in score.values if name != metric)]
    return [
        MetricLine(
            subset=score.subset,
            direction=score.split,
            dim=score.dim,
            precision="float32",
            metric=name,
            k=None,
            value=score.values[name],
            ci_low=score.interval.low if score.interval and name == metric else None,
            ci_high=score.interval.high if score.interval and name == metric else None,
            n_queries=score.n,
            n_gallery=details.n_gallery if details else 0,
            tie_rate=0.0,
        )
        for name in names
    ]


def _query_table(measured: Sequence[Measured], columns: Mapping[str, str]) -> Any:
    """The rows of queries.parquet as an Arrow table; without rows where the task has neither queries nor pairs."""
    import pyarrow as pa

    empty = pa.table(
        {name: pa.array([], pa.type_for_alias(kind)) for name, kind in columns.items()}
    )
    tables = [empty]
    for score, details in measured:
        if details is None:
            continue
        same = {
            "subset": score.subset,
            "direction": score.split,
            "dim": score.dim,
            "precision": "float32",
        }
        ids = pa.array(list(details.ids), pa.string())
        rows = {name: pa.repeat(value, len(ids)) for name, value in same.items()} | {
            "query_id": ids,
            "group_id": pa.array(list(details.groups), pa.string()),
        }
        tables.append(
            pa.table(rows | {k: pa.array(v) for k, v in details.columns.items()}).cast(empty.schema)
        )
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
            name: {"origin": task.origin[name], "content": content}
            for name, content in task.content.items()
        },
        "mteb": task.mteb | {"query_metric": task.query_metric},
    }
