"""Records for tests, all by one builder: a whole manifest, a row per query, a line per metric; say only what matters."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from evals.records.manifest import checksum_of, place_of
from evals.records.parquet import QUERY_COLUMNS
from evals.records.record import (
    MetricLine,
    read_queries,
    read_run,
    write_run,
)

CELL = {"subset": "en", "direction": "t2i", "dim": 8, "precision": "float32"}
# what `write_run` adds by itself
ADDED = ("schema_version", "written", "files", "attempt", "checksum")


def manifest(
    *, benchmark: str = "toy", model: str = "m", subsets: Sequence[str] = ("en",), **fields: Any
) -> dict[str, Any]:
    """What an evaluation writes, as far as readers look at it; `fields` replace whole entries."""
    entries = {
        "benchmark": benchmark,
        "model": model,
        "status": "complete",
        "partial": None,
        "command": ["python", "-m", "evals.run", benchmark, "--model", model],
        "config": {"dims": [8]},
        "data": {subset: {"content": content(subset)} for subset in subsets},
        "encoder": encoder(model),
        "host": {"python": "3.11.7"},
        "packages": {"torch": "2.9.0"},
        "seconds": {"encode": 1.5, "score": 0.25},
        "source": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "zero_rows": 0,
    }
    if "mteb" in fields:
        fields["mteb"] = {"task": "T"} | fields["mteb"]
    return entries | fields


def encoder(name: str = "m", dim: int = 8, **fingerprint: str) -> dict[str, Any]:
    """What a manifest says of a model; `fingerprint` replaces or adds entries of that."""
    usual = {"device": "cpu", "dtype": "float32", "weights": "a" * 64}
    return {"name": name, "dim": dim, "fingerprint": usual | fingerprint}


def content(subset: str) -> str:
    """The sha256 that stands for the data of a subset."""
    return hashlib.sha256(subset.encode()).hexdigest()


def line(metric: str = "R@1", value: float = 0.5, **fields: Any) -> MetricLine:
    """`R@1` or another metric of one query, English texts that look for images in 8 dimensions."""
    name, _, k = metric.partition("@")
    without = {"ci_low": None, "ci_high": None, "n_queries": 1, "n_gallery": 1, "tie_rate": 0.0}
    numbers = {"metric": name, "k": int(k) if k else None, "value": value}
    return MetricLine(**(CELL | numbers | without | fields))


def queries(n: int = 1, **columns: Any) -> dict[str, Any]:
    """A row per query, each at the first place, two of each image; a single value stands for all rows."""
    ranks = {"better": 0, "tied": 0, "tied_relevant": 1, "score": 0.5, "ndcg10": 1.0}
    ids = {
        "query_id": [f"q{i}" for i in range(n)],
        "group_id": [f"i{i // 2}" for i in range(n)],
    }
    return spread(n, {**CELL, **ids, **ranks, **columns})


def values(n: int, **columns: Any) -> dict[str, Any]:
    """A row per query as of a task of mteb: `columns` in place of ranks."""
    ids = {name: [f"q{i}" for i in range(n)] for name in ("query_id", "group_id")}
    return spread(n, {**CELL, "direction": "test", **ids, **columns})


def spread(n: int, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of n rows, where a single value stands for all of them."""
    return {
        name: [column] * n if isinstance(column, str | int | float) else column
        for name, column in columns.items()
    }


def write(
    root: Path,
    lines: Sequence[MetricLine],
    table: Any = None,
    *,
    day: int | None = None,
    **fields: Any,
) -> Path:
    """A record of these lines and of one query, or of a `table`; written now, or on a day of January 2026.

    `fields` are those of `manifest`, whose subsets are those of the lines.
    """
    table = queries() if table is None else table
    lines = counted(lines, table)
    described = manifest(**{"subsets": dict.fromkeys(each.subset for each in lines)} | fields)
    names = table if isinstance(table, Mapping) else table.column_names
    kinds = {name: _kind(name, names) for name in names}
    with patch("evals.records.record.datetime") if day else nullcontext() as clock:
        if clock is not None:
            clock.now.return_value = datetime(2026, 1, day or 1, 12, 30, tzinfo=UTC)
        return write_run(root, manifest=described, metrics=lines, queries=table, columns=kinds)


def counted(lines: Sequence[MetricLine], table: Any) -> list[MetricLine]:
    """The lines with as many queries as their cell has in the table, unless they say more than one.

    A gallery of one document becomes one that all ranks fit in.
    """
    cells = Counter(zip(*(_column(table, name) for name in CELL), strict=True))
    names = set(table) if isinstance(table, Mapping) else set(table.column_names)
    ranks = [_column(table, name) for name in ("better", "tied", "tied_relevant") if name in names]
    gallery = 1 + max((int(value) for column in ranks for value in column), default=0)
    corrected = []
    for each in lines:
        count = cells.get(tuple(getattr(each, name) for name in CELL))
        n_queries = count if count and each.n_queries == 1 else each.n_queries
        n_gallery = gallery if each.n_gallery == 1 else each.n_gallery
        corrected.append(replace(each, n_queries=n_queries, n_gallery=n_gallery))
    return corrected


def _column(table: Any, name: str) -> list[Any]:
    column = table[name]
    return column.to_pylist() if hasattr(column, "to_pylist") else list(column)


def _kind(name: str, names: Any) -> str:
    """The Arrow type of a column: `score` of a pair of texts is not that of a rank."""
    if name == "label":
        return "int32"
    return "float64" if name == "score" and "gold" in names else QUERY_COLUMNS.get(name, "float64")


def rewritten(
    path: Path,
    root: Path,
    *,
    lines: Sequence[MetricLine] | None = None,
    table: Any = None,
    **fields: Any,
) -> Path:
    """A record once more below another root, with other lines, another table or other entries in its manifest."""
    run = read_run(path)
    entries = json.loads(json.dumps(dict(run.manifest.raw)))
    kept = {name: entry for name, entry in entries.items() if name not in ADDED}
    lines = run.metrics if lines is None else lines
    return write(root, lines, read_queries(run) if table is None else table, **kept | fields)


def resigned(path: Path, **fields: Any) -> Path:
    """A record as if its manifest had been written so: checksum, folder and name follow from it."""
    manifest = json.loads((path / "manifest.json").read_text()) | fields
    manifest["checksum"] = checksum_of(manifest, "test")
    (path / "manifest.json").write_text(json.dumps(manifest))
    target = path.parents[2] / place_of(
        *(manifest[key] for key in ("benchmark", "model", "written", "checksum"))
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    return path.rename(target)


def columns_of(path: Path) -> dict[str, np.ndarray]:
    """The per-query table of a record as arrays that can be changed."""
    table = read_queries(read_run(path))
    return {name: table[name].to_numpy(zero_copy_only=False).copy() for name in table.column_names}
