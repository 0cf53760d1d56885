"""Exports the kept rankings of records as TREC runs and qrels, which trec_eval and ranx read.

Format: https://trec.nist.gov: `query Q0 document rank score tag`, and `query 0 document grade`.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from evals.export.forms import Files, add
from evals.records.manifest import path_component
from evals.records.rankings import BEST, QRELS, read_rankings
from evals.records.record import Run

# Columns are parted by white space, so an id may hold none; `%` escapes it and hence itself.
SAFE = "".join(chr(code) for code in range(33, 127) if chr(code) != "%")


def files(runs: Sequence[Run], form: str) -> Files:
    """One run per record, subset, direction, width and precision, and the qrels of each subset and direction.

    Ids keep all visible ASCII characters but `%`; the rest is percent-encoded, in runs and qrels
    alike. Raises MissingError for a record without --keep-top.
    """
    written: dict[str, bytes] = {}
    for run in runs:
        benchmark, model = run.manifest.benchmark, run.manifest.model
        keys = ("subset", "direction", "dim", "precision")
        for cell, rows in _parts(read_rankings(run, BEST), keys):
            subset, direction, dim, precision = cell
            variant = f"dim{dim}" + ("" if precision == "float32" else f"-{precision}")
            name = ".".join(filter(None, (benchmark, subset, direction, model, variant)))
            tag = escape(f"{model}.{variant}")
            add(written, f"{path_component(name)}.run", _run_lines(rows, tag))
        for cell, rows in _parts(read_rankings(run, QRELS), keys[:2]):
            name = ".".join(filter(None, (benchmark, *cell)))
            # two models of one benchmark have the same judgements
            written[f"{path_component(name)}.qrels"] = _qrel_lines(rows)
    return written


def escape(name: str) -> str:
    """An id as one word."""
    return quote(name, safe=SAFE)


def _run_lines(rows: dict[str, Any], tag: str) -> bytes:
    columns = (rows["query_id"], rows["doc_id"], rows["rank"], rows["score"])
    lines = []
    for query, doc, rank, score in zip(*columns, strict=True):
        # the shortest decimal that reads back as this float32
        number = np.format_float_positional(np.float32(score), unique=True, trim="0")
        lines.append(f"{escape(query)} Q0 {escape(doc)} {rank} {number} {tag}\n")
    return "".join(lines).encode()


def _qrel_lines(rows: dict[str, Any]) -> bytes:
    columns = (rows["query_id"], rows["doc_id"], rows["grade"])
    lines = [f"{escape(q)} 0 {escape(d)} {grade}\n" for q, d, grade in zip(*columns, strict=True)]
    return "".join(lines).encode()


def _parts(table: Any, keys: Sequence[str]) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The rows of each combination of keys, in the order of the table."""
    import pyarrow.compute as pc

    parts = []
    cells = table.group_by(list(keys), use_threads=False).aggregate([]).to_pylist()
    for cell in cells:
        rows = table
        for key in keys:
            rows = rows.filter(pc.equal(rows[key], cell[key]))
        parts.append((tuple(cell[key] for key in keys), rows.to_pydict()))
    return parts
