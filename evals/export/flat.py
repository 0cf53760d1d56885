"""Exports records as one table, a row per number, in CSV, Parquet or JSON."""

import csv
import json
from collections.abc import Sequence
from io import BytesIO, StringIO
from typing import Any

from evals.escape import spreadsheet_text
from evals.export.forms import Files
from evals.records.record import MetricLine, Run

# Arrow types by name. Every column is there in every export, so that tables of different days can
# be put below each other.
COLUMNS = {
    "benchmark": "string",
    "model": "string",
    "subset": "string",
    "direction": "string",
    "dim": "int32",
    "precision": "string",
    "metric": "string",
    "value": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "n_queries": "int64",
    "n_gallery": "int64",
    "tie_rate": "float64",
    "place": "string",
    "weights": "string",
    "width": "int32",
    "data": "string",
    "written": "string",
    "commit": "string",
    "record": "string",
}


def files(runs: Sequence[Run], form: str) -> Files:
    """`results.csv`, `.parquet` or `.json`: values are fractions in [0, 1] and ranks from 1.

    `weights` and `data` are hashes (sha256): of the model's weights and of the subset's content.
    """
    rows = [row for run in runs for row in _rows(run)]
    encode = {"csv": _csv, "parquet": _parquet, "json": _json}[form]
    return {f"results.{form}": encode(rows)}


def _rows(run: Run) -> list[dict[str, Any]]:
    model, contents = run.manifest.model_identity, run.manifest.data_identity.contents
    source = run.manifest.source
    shared = {
        "benchmark": run.manifest.benchmark,
        "model": model.name,
        "place": model.place,
        "weights": model.weights,
        "width": model.width,
        "written": run.manifest.written,
        "commit": source.commit if source else None,
        "record": run.path.name,
    }
    return [shared | _numbers(line) | {"data": contents.get(line.subset)} for line in run.metrics]


def _numbers(line: MetricLine) -> dict[str, Any]:
    numbers = {name: value for name, value in vars(line).items() if name != "k"}
    return numbers | {"metric": line.name}


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        # repr of a float is the shortest text that reads back as the same float
        cells = {
            name: spreadsheet_text(value) if isinstance(value, str) else value
            for name, value in row.items()
        }
        writer.writerow(cells)
    return text.getvalue().encode()


def _json(rows: Sequence[dict[str, Any]]) -> bytes:
    ordered = [{name: row[name] for name in COLUMNS} for row in rows]
    return (json.dumps(ordered, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    sink = BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink, compression="zstd")
    return sink.getvalue()
