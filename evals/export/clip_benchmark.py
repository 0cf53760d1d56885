"""Exports records as the JSON files of CLIP_benchmark, which its `build` joins to one CSV.

Source: `run` and `main_build` in clip_benchmark/cli.py, and the metrics' names in
clip_benchmark/metrics/{zeroshot_retrieval,zeroshot_classification}.py, version 1.6.2.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evals.export.forms import Files
from evals.records.identity import SHOWN
from evals.records.manifest import path_component
from evals.records.record import MetricLine, Run
from evals.schema import NotComparableError

# CLIP_benchmark names a retrieval by what is found: `image_retrieval` has texts as queries.
RETRIEVAL = {"t2i": "image_retrieval_recall@", "i2t": "text_retrieval_recall@"}
CLASSIFICATION = {
    "acc@1": "acc1",
    "acc@5": "acc5",
    "mean_per_class_recall": "mean_per_class_recall",
    "mAP": "mean_average_precision",
}
# clip_benchmark/datasets/builder.py; what it does not have keeps our name
DATASETS = {
    "flickr": "flickr30k",
    "coco": "mscoco_captions",
    "xm3600": "crossmodal3600",
    "xtd": "xtd10",
}


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
        name = _name(line)
        if name:
            metrics[name] = line.value
    return evaluations


def _name(line: MetricLine) -> str | None:
    """What CLIP_benchmark calls the metric; None where it has no such one."""
    # its recall counts queries with at least one hit, as ours does: `(recall_at_k > 0).mean()`
    if line.metric == "R" and line.direction in RETRIEVAL:
        return f"{RETRIEVAL[line.direction]}{line.k}"
    return None if line.direction else CLASSIFICATION.get(line.name)


def _body(run: Run, evaluation: Evaluation, metrics: Mapping[str, float]) -> dict[str, Any]:
    """The keys of clip_benchmark/cli.py's `dump`."""
    model = run.manifest.model_identity
    # Its table tells models apart by model and pretrained only: width and precision belong there.
    variant = f"dim{evaluation.dim}"
    if evaluation.precision != "float32":
        variant += f":{evaluation.precision}"
    weights = f"weights-{model.weights[:SHOWN]}" if model.weights else model.place
    retrieval = any("retrieval" in name for name in metrics)
    return {
        "dataset": _dataset(run),
        "model": model.name,
        "pretrained": f"{weights} {variant}",
        "task": "zeroshot_retrieval" if retrieval else "zeroshot_classification",
        "metrics": dict(metrics),
        "language": evaluation.language,
    }


def _dataset(run: Run) -> str:
    row = run.manifest.config.row
    # a partial run keeps its suffix: it is not the benchmark
    benchmark = run.manifest.benchmark
    if row.name != benchmark:
        return benchmark
    dataset = row.classes.dataset if row.classes else None
    return dataset or DATASETS.get(benchmark, benchmark)
