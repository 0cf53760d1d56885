"""What CLIP_benchmark and mteb call the data and the metrics that a record has.

Sources: `run` in clip_benchmark/cli.py and the metrics' names in
clip_benchmark/metrics/{zeroshot_retrieval,zeroshot_classification}.py, version 1.6.2;
mteb/results/task_result.py of mteb 2.26.
"""

from collections.abc import Sequence

from evals.records.record import MetricLine, Run

MTEB, CLIP_BENCHMARK = "mteb", "CLIP_benchmark"
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


def clip_metric(line: MetricLine) -> str | None:
    """What CLIP_benchmark calls the metric; None where it has no such one."""
    # its recall counts queries with at least one hit, as ours does: `(recall_at_k > 0).mean()`
    if line.metric == "R" and line.direction in RETRIEVAL:
        return f"{RETRIEVAL[line.direction]}{line.k}"
    return None if line.direction else CLASSIFICATION.get(line.name)


def clip_dataset(run: Run) -> str:
    """What CLIP_benchmark calls the data of a record."""
    row = run.manifest.config.row
    # a partial run keeps its suffix: it is not the benchmark
    benchmark = run.manifest.benchmark
    if row.name != benchmark:
        return benchmark
    dataset = row.classes.dataset if row.classes else None
    return dataset or DATASETS.get(benchmark, benchmark)


def clip_task(metrics: Sequence[str]) -> str:
    """The task of CLIP_benchmark that measures these metrics of its."""
    retrieval = any("retrieval" in name for name in metrics)
    return "zeroshot_retrieval" if retrieval else "zeroshot_classification"


def measured_by_clip(metric: str) -> tuple[str, str]:
    """The direction and the name that our records give a metric of CLIP_benchmark.

    What they do not have keeps CLIP_benchmark's name, and has no direction.
    """
    for direction, prefix in RETRIEVAL.items():
        if metric.startswith(prefix):
            return direction, f"R@{metric.removeprefix(prefix)}"
    ours = {theirs: name for name, theirs in CLASSIFICATION.items()}
    return "", ours.get(metric, metric)


def mteb_mean(split: str, subset: str) -> str:
    """What a mean of mteb's main score is called here: of a split and a subset of the data."""
    return f"{split} {subset} main_score"
