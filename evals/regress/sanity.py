"""Checks a single run: it is whole, its numbers follow from its queries, and they are possible."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from evals.config.catalog import Benchmark, benchmarks
from evals.paths import configs
from evals.ranking.ranges import Range, range_of
from evals.records.manifest import read_manifest
from evals.records.places import check_placed
from evals.records.queries import Cell, PerQuery, cell_of, per_query
from evals.records.record import MetricLine, Run, list_runs, read_run

# a mean in float64 of the same values, added in another order
EXACT = 1e-9
# mteb keeps five decimals of its means
ROUNDED = 1e-5
# embeddings made in passes of other sizes may differ in the last bits, and flip single queries
FLIPS = 0.003
# metrics in [0, 1] whatever the model
SHARES = ("R", "acc", "MRR", "nDCG", "MAP", "Recall", "P", "RR", "Success")
# two runs with these in common differ in the dimensions that were scored
SAME = ("encoder", "data", "source", "packages")
# A random order has a mean rank of half the gallery, or less where several documents count. From
# 100 queries on, 0.6 of it is 3 standard errors beyond: 0.5 + 3 / sqrt(12 * 100) = 0.587.
WORSE_THAN_CHANCE, ENOUGH_QUERIES = 0.6, 100


def faults(run: Run) -> list[str]:
    """What is wrong with a run by itself, one sentence each; empty when it is sound.

    InvalidError for unreadable files.
    """
    partial = run.manifest.partial
    if partial:
        return [f"a partial run ({partial}), which is never compared. Run the whole benchmark."]
    status = run.manifest.status
    if status != "complete":
        return [f"its status is {status!r}. Run it again."]
    if not run.metrics:
        return ["no metrics. Run it again."]
    cells: dict[Cell, list[MetricLine]] = {}
    for line in run.metrics:
        cell = cell_of(line)
        cells.setdefault(cell, []).append(line)
    queries = per_query(run)
    sentences = [*_miscounted(run), *_without_metrics(cells, queries)]
    for cell, lines in cells.items():
        where = f"{cell.subset} {cell.direction} at {cell.dim}"
        sentences += [f"{where}: {fault}" for fault in _of_cell(lines, queries.get(cell))]
    # a record that is unsound by itself says nothing about its sweep
    return sentences or list(_unlike_its_sweep(run))


def _miscounted(run: Run) -> Iterator[str]:
    """Subsets and items that are not those that configs/benchmarks.yaml declares."""
    row = _rows_of(configs()).get(run.manifest.benchmark)
    # a row of somebody else's configs, or a task without captions
    if row is None or row.task != "image_text":
        return
    measured = {line.subset for line in run.metrics}
    lost = [subset for subset in row.subsets if subset not in measured]
    if lost:
        names = ", ".join(lost)
        yield f"{names} missing of the {len(row.subsets)} subsets of {row.name}. Run the whole benchmark."
    for line in run.metrics:
        if line.subset not in row.subsets:
            yield f"{line.subset} is no subset of {row.name}."
            return
        # t2i: every text asks the gallery of images; i2t the other way round
        texts = row.count_texts(line.subset)
        queries, gallery = (texts, row.images) if line.direction == "t2i" else (row.images, texts)
        if (line.n_queries, line.n_gallery) != (queries, gallery):
            counts = f"{line.n_queries}/{line.n_gallery} items, {row.name} {queries}/{gallery}"
            yield f"{line.subset} {line.direction} has {counts}."
            return


@cache
def _rows_of(folder: Path) -> dict[str, Benchmark]:
    """The rows of a folder of configs, which is a quarter of a second of YAML per reading."""
    return benchmarks()


def _without_metrics(
    cells: dict[Cell, list[MetricLine]], queries: dict[Cell, PerQuery]
) -> Iterator[str]:
    """A cell that has queries and no line in metrics.jsonl."""
    stray = queries.keys() - cells.keys()
    if stray:
        cell = min(stray)
        where = f"{cell.subset} {cell.direction} at {cell.dim}"
        yield f"{where} has queries and no metrics. Run it again."


def _of_cell(lines: list[MetricLine], queries: PerQuery | None) -> Iterator[str]:
    """What is wrong with the lines of one cell."""
    for line in lines:
        name = line.name
        yield from _impossible(line, name)
        yield from _out_of_range(name, line.value, range_of(name), queries)
        if queries is not None and name in queries.values:
            yield from _unlike_its_queries(line, name, queries.values[name])
        elif line.metric in SHARES:
            yield f"{name} has no queries it follows from."
    yield from _falling_with_k(lines)


def _unlike_its_queries(line: MetricLine, name: str, values: np.ndarray) -> Iterator[str]:
    """A mean that is not the one that its queries make."""
    mean = float(np.mean(values)) if len(values) else float("nan")
    tolerance = EXACT if line.metric in SHARES else ROUNDED
    # `not <=` rather than `>`, so that NaN is a fault
    if not abs(mean - line.value) <= tolerance or len(values) != line.n_queries:
        queries = f"its {len(values)} queries make {mean:.6f}"
        yield f"{name} is {line.value:.6f} over {line.n_queries}, {queries}."


def _falling_with_k(lines: list[MetricLine]) -> Iterator[str]:
    """A hit among the first 5 is one among the first 10 too."""
    for metric in ("R", "acc", "Recall", "Success"):
        curve = sorted((line.k, line.value) for line in lines if line.metric == metric and line.k)
        for (k, value), (deeper, larger) in pairwise(curve):
            if larger < value - EXACT:
                yield f"{metric}@{deeper} is below {metric}@{k}."


def _out_of_range(
    name: str, value: float, bounds: Range | None, queries: PerQuery | None
) -> Iterator[str]:
    """A metric, or its value for a query, that is outside of what the metric can be."""
    if bounds is None:
        return
    within = f"[{bounds.low}, {bounds.high}]"
    if bounds.outside(np.array([value])).size:
        yield f"{name} is {value}, outside of {within}."
    if queries is None or name not in queries.values:
        return
    # a mean can hide a value of one query
    values = queries.values[name]
    outside = bounds.outside(values)
    if outside.size:
        place = int(outside[0])
        yield f"{name} of query {queries.ids[place]} is {values[place]}, outside of {within}."


def _impossible(line: MetricLine, name: str) -> Iterator[str]:
    """A value that no ranking has."""
    if line.metric.endswith("_rank") and not 1 <= line.value <= line.n_gallery:
        yield f"{name} is {line.value} among {line.n_gallery}."
    worst = WORSE_THAN_CHANCE * (line.n_gallery + 1)
    if line.metric == "mean_rank" and line.n_queries >= ENOUGH_QUERIES and line.value > worst:
        rank = f"the mean rank {line.value:.1f} among {line.n_gallery}"
        yield f"{rank} is worse than chance: reversed ranks, or mixed-up pairs."
    # intervals are of the same queries, so that they hold the value
    low, high = line.ci_low, line.ci_high
    if low is not None and high is not None and not low - EXACT <= line.value <= high + EXACT:
        yield f"{name} {line.value:.4f} lies outside of its interval [{low:.4f}, {high:.4f}]."


def _unlike_its_sweep(run: Run) -> Iterator[str]:
    """Cells that disagree with the newest run beside this one that scored other dimensions."""
    path = run.path.resolve()
    # a record alone, at the root of a file system
    if len(path.parents) < 3:
        return
    names = run.manifest.benchmark, run.manifest.model
    for sweep in reversed(list_runs(path.parents[2], *names)):
        if sweep != path and _is_sweep_of(run, sweep):
            yield from _disagreeing(run, read_run(sweep))
            return


def _is_sweep_of(run: Run, path: Path) -> bool:
    """Whether a record is of the same model, data, code and packages at other dimensions."""
    manifest = read_manifest(path)
    check_placed(path, manifest)
    same = all(manifest.raw.get(key) == run.manifest.raw.get(key) for key in SAME)
    return same and manifest.config.dims != run.manifest.config.dims


def _disagreeing(run: Run, sweep: Run) -> Iterator[str]:
    """The first cell of both whose values are further apart than flips of single queries."""
    values = _shares(run.metrics)
    for (cell, name), value in _shares(sweep.metrics).items():
        if (cell, name) in values and abs(values[cell, name] - value) > FLIPS:
            where = f"{name} of {cell.subset} {cell.direction} at {cell.dim}"
            yield f"{where} is {values[cell, name]:.4f}, and {value:.4f} in {sweep.path}."
            return


def _shares(lines: Sequence[MetricLine]) -> dict[tuple[Cell, str], float]:
    """The metrics that lie in [0, 1], by cell and public name."""
    return {(cell_of(line), line.name): line.value for line in lines if line.metric in SHARES}
