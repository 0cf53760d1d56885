"""What must hold of a run whatever its baseline: it is whole, its numbers follow from its queries, and they are possible."""

import json
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from evals.config.catalog import benchmarks
from evals.records.queries import Cell, PerQuery, metric_name, per_query
from evals.records.record import MANIFEST, MetricLine, Run, list_runs, read_run
from evals.schema import InvalidError

EXACT = 1e-9
ROUNDED = 1e-5  # mteb keeps five decimals of its means
FLIPS = 0.003  # embeddings made in passes of other sizes may differ in the last bits, and flip single queries
SHARES = ("R", "acc", "MRR", "nDCG")  # metrics in [0, 1] whatever the model
SAME = (
    "encoder",
    "data",
    "source",
    "packages",
)  # two runs with these in common differ in the dimensions that were scored


def faults(run: Run) -> list[str]:
    """What is wrong with a run by itself, one sentence each; none when it is sound. Raises InvalidError for unreadable files."""
    if partial := run.manifest.get("partial"):
        return [f"a partial run ({partial}), which is never compared. Run the whole benchmark."]
    if (status := run.manifest.get("status", "complete")) != "complete":
        return [f"its status is {status!r}. Run it again."]
    if not run.metrics:
        return ["no metrics. Run it again."]
    lines: dict[Cell, list[MetricLine]] = {}
    for line in run.metrics:
        lines.setdefault(Cell(line.subset, line.direction, line.dim, line.precision), []).append(
            line
        )
    queries = per_query(run)
    found = [*_counts(run), *_lost(lines, queries)]
    for cell, every in lines.items():
        found += [
            f"{cell.subset} {cell.direction} at {cell.dim}: {fault}"
            for fault in _of_cell(every, queries.get(cell))
        ]
    return found or list(_unlike_its_sweep(run))


def _counts(run: Run) -> Iterator[str]:
    """Subsets and items as configs/benchmarks.yaml declares them."""
    row = benchmarks().get(str(run.manifest["benchmark"]))
    if row is None or row.task != "image_text":
        return
    measured = {line.subset for line in run.metrics}
    if lost := [subset for subset in row.subsets if subset not in measured]:
        yield f"{', '.join(lost)} missing of the {len(row.subsets)} subsets of {row.name}. Run the whole benchmark."
    for line in run.metrics:
        if line.subset not in row.subsets:
            yield f"{line.subset} is no subset of {row.name}."
            return
        texts = row.count_texts(line.subset)
        want = (texts, row.images) if line.direction == "t2i" else (row.images, texts)
        if (line.n_queries, line.n_gallery) != want:
            yield f"{line.subset} {line.direction} has {line.n_queries}/{line.n_gallery} items, {row.name} {want[0]}/{want[1]}."
            return


def _lost(lines: dict[Cell, list[MetricLine]], queries: dict[Cell, PerQuery]) -> Iterator[str]:
    if stray := queries.keys() - lines.keys():
        yield f"{min(stray).subset} {min(stray).direction} at {min(stray).dim} has queries and no metrics. Run it again."


def _of_cell(lines: list[MetricLine], queries: PerQuery | None) -> Iterator[str]:
    names = [metric_name(line) for line in lines]
    if len(set(names)) < len(names):
        yield "a metric stands twice."
    for line, name in zip(lines, names, strict=True):
        yield from _of_line(line, name)
        if queries is not None and name in queries.values:
            mean = float(np.mean(queries.values[name])) if queries.ids else float("nan")
            if (
                not abs(mean - line.value) <= (EXACT if line.metric in SHARES else ROUNDED)
                or len(queries.ids) != line.n_queries
            ):
                yield f"{name} is {line.value:.6f} over {line.n_queries}, its {len(queries.ids)} queries make {mean:.6f}."
        elif line.metric in SHARES:
            yield f"{name} has no queries it follows from."
    curve = sorted(
        (line.metric, line.k, line.value)
        for line in lines
        if line.k is not None and line.metric in ("R", "acc")
    )
    for (metric, k, value), (other, deeper, larger) in pairwise(curve):
        if metric == other and larger < value - EXACT:
            yield f"{metric}@{deeper} is below {metric}@{k}."


def _of_line(line: MetricLine, name: str) -> Iterator[str]:
    if line.metric in SHARES and not 0 <= line.value <= 1:
        yield f"{name} is {line.value}, outside of [0, 1]."
    if line.metric.endswith("_rank") and not 1 <= line.value <= line.n_gallery:
        yield f"{name} is {line.value} among {line.n_gallery}."
    # a random order has a mean rank of half the gallery, or less where several documents count; this is 3 standard errors beyond
    if (
        line.metric == "mean_rank"
        and line.n_queries >= 100
        and line.value > 0.6 * (line.n_gallery + 1)
    ):
        yield f"the mean rank {line.value:.1f} among {line.n_gallery} is worse than chance: reversed ranks, or mixed-up pairs."
    low, high = line.ci_low, line.ci_high
    if low is not None and high is not None and not low - EXACT <= line.value <= high + EXACT:
        yield f"{name} {line.value:.4f} lies outside of its interval [{low:.4f}, {high:.4f}]."


def _unlike_its_sweep(run: Run) -> Iterator[str]:
    """The newest record beside it of the same model, data, code and packages at other dimensions: common cells must agree."""
    own_path = run.path.resolve()
    if len(own_path.parents) < 3:  # a record alone, at the root of a file system
        return
    for path in reversed(
        list_runs(own_path.parents[2], str(run.manifest["benchmark"]), str(run.manifest["model"]))
    ):
        try:
            beside = json.loads((path / MANIFEST).read_bytes())
            same = all(beside.get(key) == run.manifest.get(key) for key in SAME)
            if (
                path == own_path
                or not same
                or beside["config"]["dims"] == run.manifest["config"]["dims"]
            ):
                continue
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidError(
                f"{path / MANIFEST}: unreadable ({error}). Remove this record or run it again."
            ) from error
        own = {
            (Cell(m.subset, m.direction, m.dim, m.precision), metric_name(m)): m.value
            for m in run.metrics
        }
        for line in read_run(path).metrics:
            key = Cell(line.subset, line.direction, line.dim, line.precision), metric_name(line)
            if line.metric in SHARES and key in own and abs(own[key] - line.value) > FLIPS:
                where = f"{key[1]} of {line.subset} {line.direction} at {line.dim}"
                yield f"{where} is {own[key]:.4f}, and {line.value:.4f} in {path}."
                return
        return
