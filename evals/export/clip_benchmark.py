"""Exports records as the JSON files of CLIP_benchmark, which its `build` joins to one CSV.

Source: `run` and `main_build` in clip_benchmark/cli.py, version 1.6.2.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evals.export.forms import Files
from evals.records.identity import SHOWN
from evals.records.manifest import path_component
from evals.records.record import Run
from evals.records.tool_names import clip_dataset, clip_metric, clip_task
from evals.schema import NotComparableError


class Evaluation(NamedTuple):
    """What CLIP_benchmark writes one file of: a language, at one width and precision."""

    language: str
    dim: int
    precision: str


def files(runs: Sequence[Run], form: str) -> Files:
    """One JSON per record, subset, dimension and precision, with CLIP_benchmark's keys.

    NotComparableError for a record without any metric that CLIP_benchmark has.
    """
    written: dict[str, bytes] = {}
    for run in runs:
        evaluations = _metrics(run)
        if not any(evaluations.values()):
            raise NotComparableError(
                f"{run.path}: CLIP_benchmark has none of its metrics. Export it --to csv."
            )
        for evaluation, metrics in evaluations.items():
            parts = (run.manifest.benchmark, run.manifest.model, *evaluation, run.path.name)
            name = path_component("_".join(map(str, parts)))
            body = _body(run, evaluation, metrics)
            written[f"{name}.json"] = (json.dumps(body, ensure_ascii=False) + "\n").encode()
    return written


def _metrics(run: Run) -> dict[Evaluation, dict[str, float]]:
    evaluations: dict[Evaluation, dict[str, float]] = {}
    for line in run.metrics:
        metrics = evaluations.setdefault(Evaluation(line.subset, line.dim, line.precision), {})
        name = clip_metric(line)
        if name:
            metrics[name] = line.value
    return evaluations


def _body(run: Run, evaluation: Evaluation, metrics: Mapping[str, float]) -> dict[str, Any]:
    """The keys of clip_benchmark/cli.py's `dump`."""
    model = run.manifest.model_identity
    # Its table tells models apart by model and pretrained only: width and precision belong there.
    variant = f"dim{evaluation.dim}"
    if evaluation.precision != "float32":
        variant += f":{evaluation.precision}"
    weights = f"weights-{model.weights[:SHOWN]}" if model.weights else model.place
    return {
        "dataset": clip_dataset(run),
        "model": model.name,
        "pretrained": f"{weights} {variant}",
        "task": clip_task(list(metrics)),
        "metrics": dict(metrics),
        "language": evaluation.language,
    }
