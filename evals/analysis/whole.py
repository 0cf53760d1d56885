"""Whether a record holds all that it says was measured: its cells, its metrics, and how much there was.

A number may be taken out of a record, or a count of it changed, and all hashes made anew. What a
record says in two places shows that: its settings name dimensions and subsets, its data has
counts, and directions of one search hold the same queries.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

from evals.ranking.metric_table import MEASURES
from evals.records.manifest import MANIFEST, PARTIAL, Manifest
from evals.records.queries import Cell, cell_name, lines_by_cell
from evals.records.record import METRICS, QUERIES, MetricLine, Run, main_metric
from evals.schema import LAYOUT, MULTI_VECTOR

# The settings of version 0.1.0. One that came later has no row: records without it are older.
SETTINGS = (
    "allow_subset",
    "attention",
    "batch_images",
    "batch_tokens",
    "calibration",
    "columns",
    "compile",
    "data",
    "device",
    "dtype",
    "instruction",
    "keep_top",
    "limit",
    "max_length",
    "measures",
    "name",
    "precisions",
    "preprocess",
    "results",
    "split",
    "store",
    "subsets",
)
# What every evaluation writes into its manifest.
ENTRIES = (
    "batches",
    "command",
    "config.dims",
    "config.model",
    "data",
    "encoded.image",
    "encoded.text",
    "encoder.dim",
    "encoder.fingerprint",
    "encoder.name",
    "encoder.source",
    "finished",
    "host",
    "main_metric",
    "packages",
    "partial",
    "peak_memory_mb",
    "seconds",
    "source",
    "started",
    "status",
    "usage",
)
RETRIEVAL = tuple(row.name for row in MEASURES if row.task == "retrieval")
# The metrics of a task, where its records always have all of them.
SINGLE_LABEL = ("acc@1", "mean_per_class_recall")
NAMES = {"image_text": RETRIEVAL, "fusion": RETRIEVAL, "text_pairs": ("spearman",)}
IMAGES_ASK = ("image_text", "classification", "retrieval")
DIRECTIONS = {"image_text": ("t2i", "i2t")}


class _Sizes(NamedTuple):
    """By the entries of a manifest's counts: what asks, and what is ranked. None where neither is."""

    queries: str | None
    gallery: str | None


SIZES = {
    ("image_text", "t2i"): _Sizes("texts", "images"),
    ("image_text", "i2t"): _Sizes("images", "texts"),
    ("fusion", None): _Sizes(None, "images"),
    ("classification", None): _Sizes("images", "classes"),
    ("retrieval", None): _Sizes("queries", "documents"),
    ("text_pairs", None): _Sizes("pairs", None),  # which search nothing: their gallery is 0
}
# Of several labels per image each class is a query, if any image has it, and ranks the images.
SEVERAL_LABELS = _Sizes(None, "images")


def lacks(run: Run, tables: Mapping[Cell, Any]) -> Iterator[str]:
    """In what a record is not whole, or says two things, a sentence each; `tables` are its queries."""
    cells = lines_by_cell(run)
    yield from _of_manifest(run)
    yield from _cells(run, cells)
    for cell, lines in cells.items():
        yield from _sizes(run, cell, lines)
    yield from _names(run, cells)
    yield from _other_queries(tables)
    yield from _other_groups(run, tables)


def absent(manifest: Mapping[str, Any]) -> list[str]:
    """The entries that evaluations have written since 0.1.0, and that a manifest does not have."""
    names = list(ENTRIES)
    if "mteb" not in manifest:
        names += [f"config.{name}" for name in SETTINGS]
        task = manifest.get("config", {}).get("row", {}).get("task")
        sizes = [parts for (name, _), parts in SIZES.items() if name == task]
        counts = {entry for parts in sizes for entry in parts if entry}
        for subset in manifest.get("data", {}):
            names += [f"data.{subset}.{entry}" for entry in ("content", *sorted(counts))]
        names += ["config.row.task", "zero_rows"]
    return [name for name in names if not _has(manifest, name.split("."))]


def disorder(manifest: Manifest) -> str | None:
    """In what the hours of a record contradict each other; None where they are in order.

    Hours are those of the machine's clock. Where it was set during the run, the record is as it was
    written, so this proves nothing.
    """
    raw = manifest.raw
    hours = {name: raw[name] for name in ("started", "finished") if isinstance(raw.get(name), str)}
    hours["written"] = manifest.written
    for (earlier, first), (later, second) in pairwise(hours.items()):
        if first > second:
            return f"{MANIFEST}: {later} at {second}, before it was {earlier} at {first}"
    return None


def _has(entries: Any, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(entries, Mapping) or key not in entries:
            return False
        entries = entries[key]
    return True


def _of_manifest(run: Run) -> Iterator[str]:
    manifest = run.manifest
    raw, encoder = manifest.raw, manifest.encoder
    first = main_metric(run.metrics)
    if manifest.main_metric is not None and manifest.main_metric != first:
        yield f"{MANIFEST}: main_metric is {manifest.main_metric!r}, and {METRICS} begins with {first!r}."
    names = {
        "encoder.name": encoder.name,
        "config.model": raw.get("config", {}).get("model"),
    }
    for entry, name in names.items():
        if name is not None and name != manifest.model:
            yield f"{MANIFEST}: model is {manifest.model!r}, and {entry} {name!r}."
    if manifest.benchmark.endswith(PARTIAL) and manifest.partial is None:
        yield f"{MANIFEST}: {manifest.benchmark} is a part of a benchmark, and partial does not say which."
    if manifest.partial is not None and not manifest.benchmark.endswith(PARTIAL):
        yield f"{MANIFEST}: partial says that {manifest.benchmark} is none of its own."
    row = manifest.config.row
    if row.name is not None and row.name != manifest.whole_benchmark:
        yield f"{MANIFEST}: benchmark is {manifest.benchmark!r}, and config.row.name {row.name!r}."


def _cells(run: Run, cells: Mapping[Cell, Sequence[MetricLine]]) -> Iterator[str]:
    """Cells that the settings name and that have no numbers, and others that have some."""
    manifest = run.manifest
    config = manifest.raw.get("config", {})
    if manifest.mteb is not None or not manifest.data or "precisions" not in config:
        return
    task = manifest.config.row.task or ""
    directions = {cell.direction for cell in cells}
    # MaxSim ranks pages by texts alone.
    if manifest.encoder.fingerprint.get(LAYOUT) != MULTI_VECTOR:
        directions |= set(DIRECTIONS.get(task, ()))
    dims, precisions = manifest.config.dims or (), config["precisions"]
    expected = product(manifest.data, sorted(directions), dims, precisions)
    named = [Cell(*place) for place in expected]
    for cell in named:
        if cell not in cells:
            yield f"{METRICS}: no numbers of {cell_name(cell)}, which {MANIFEST} says was measured."
    for cell in cells.keys() - set(named):
        yield f"{METRICS}: {cell_name(cell)} is nothing that {MANIFEST} says was measured."
    if manifest.encoder.dim is not None and any(cell.dim > manifest.encoder.dim for cell in cells):
        yield f"{MANIFEST}: encoder.dim is {manifest.encoder.dim}, and {METRICS} has more dimensions."
    subsets = config.get("subsets")
    if subsets is not None and sorted(subsets) != sorted(manifest.data):
        yield f"{MANIFEST}: config.subsets are not the subsets of data."


def _sizes(run: Run, cell: Cell, lines: Sequence[MetricLine]) -> Iterator[str]:
    """Counts of lines that are not those of the data, or not one for all lines of a cell."""
    galleries = {line.n_gallery for line in lines}
    if len(galleries) > 1:
        low, *_, high = sorted(galleries)
        yield f"{METRICS}: {cell_name(cell)} has an n_gallery of {low:,} and one of {high:,}."
        return
    task, counts = run.manifest.config.row.task or "", run.manifest.raw.get("data", {})
    sizes = SIZES.get((task, cell.direction)) or SIZES.get((task, None))
    if sizes is None or run.manifest.mteb is not None:
        return
    if lines[0].metric == "mAP":
        sizes = SEVERAL_LABELS
    of_data = counts.get(cell.subset, {})
    line = lines[0]
    measured = {"n_queries": line.n_queries, "n_gallery": line.n_gallery}
    if task == "text_pairs" and line.n_gallery:
        yield f"{METRICS}: {cell_name(cell)} has an n_gallery of {line.n_gallery:,}, and pairs search nothing."
    for name, entry in zip(measured, sizes, strict=True):
        number = of_data.get(entry) if entry else None
        if number is not None and number != measured[name]:
            yield (
                f"{METRICS}: {cell_name(cell)} has an {name} of {measured[name]:,}, and "
                f"{MANIFEST} counts {number:,} {entry}."
            )


def _names(run: Run, cells: Mapping[Cell, Sequence[MetricLine]]) -> Iterator[str]:
    """Metrics that a cell lacks, and its task or another cell has."""
    if run.manifest.mteb is not None:
        return
    task = run.manifest.config.row.task or ""
    measured = dict.fromkeys(line.name for line in run.metrics)
    expected = dict.fromkeys(NAMES.get(task, ())) | measured
    if task == "classification" and "mAP" not in measured:
        expected |= dict.fromkeys(SINGLE_LABEL)
    for cell, lines in cells.items():
        there = {line.name for line in lines}
        for name in expected:
            if name not in there:
                yield f"{METRICS}: {name} of {cell_name(cell)} is missing."


def _other_queries(tables: Mapping[Cell, Any]) -> Iterator[str]:
    """A cell whose queries or groups are not those of the other dimensions of its search."""
    first: dict[tuple[str, str], tuple[Cell, Any]] = {}
    for cell, table in tables.items():
        ids = table["query_id"]
        if len(ids.unique()) < len(ids):
            yield f"{QUERIES}: {cell_name(cell)} has a query twice."
        other, known = first.setdefault((cell.subset, cell.direction), (cell, table))
        for column in ("query_id", "group_id"):
            if known[column].to_pylist() != table[column].to_pylist():
                yield f"{QUERIES}: {column} of {cell_name(cell)} is not that of {cell_name(other)}."


def _other_groups(run: Run, tables: Mapping[Cell, Any]) -> Iterator[str]:
    """A group that is called like no query of its subset: images are queries, too, of most tasks."""
    manifest = run.manifest
    if (
        manifest.config.row.task not in IMAGES_ASK
        or manifest.encoder.fingerprint.get(LAYOUT) == MULTI_VECTOR
    ):
        return
    ids: dict[str, set[str]] = {}
    for cell, table in tables.items():
        ids.setdefault(cell.subset, set()).update(table["query_id"].to_pylist())
    for cell, table in tables.items():
        unknown = set(table["group_id"].to_pylist()) - ids[cell.subset]
        if unknown:
            yield f"{QUERIES}: the group {min(unknown)!r} of {cell_name(cell)} is no query of {cell.subset}."
