"""The machine output of a report: all cells with published, measured and verdict as one object."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.report.measured import Number
from evals.report.verdicts import Judged, Placed
from evals.report.words import overview


def as_json(judged: Sequence[Judged], paths: Sequence[Path]) -> dict[str, Any]:
    """The report as one JSON object, in per cent; `paths` are the files that were written."""
    return {
        "schema_version": 1,
        "sentence": overview([table.counts for table in judged]),
        "files": [str(path) for path in paths],
        "tables": [_table(table) for table in judged],
    }


def cell_rows(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """A row per cell of all tables, without the members of means."""
    rows = []
    for table in judged:
        for placed in table.results:
            cell = _cell(placed)
            del cell["measurements"]
            rows.append({"table": table.table.row.name} | cell)
    return rows


def _table(judged: Judged) -> dict[str, Any]:
    row = judged.table.row
    return {
        "name": row.name,
        "title": row.title,
        "counts": judged.counts,
        "footnotes": judged.table.footnotes,
        "stand_ins": judged.stand_ins,
        "cells": [_cell(placed) for placed in judged.results],
    }


def _cell(placed: Placed) -> dict[str, Any]:
    result = placed.result
    published = result.cell.published
    return {
        "section": placed.section or None,
        "row": placed.row,
        "column": placed.column,
        "published": published._asdict() | {"score": published.value},
        "measured": result.measured,
        "difference": result.difference,
        # Both ends or none: a list of two, so that no reader meets half an interval.
        "interval": None if result.low is None else [result.low, result.high],
        "verdict": result.verdict,
        "coverage": result.coverage or None,
        "why": result.why or None,
        "tolerance": result.cell.tolerance,
        "stands_in": result.stands_in,
        "records": [str(path) for path in result.records],
        "measurements": [_measurement(number) for number in result.numbers],
    }


def _measurement(number: Number) -> dict[str, Any]:
    """A member of a cell: whose number it is, on which data, at which dimension."""
    return {
        "value": number.value,
        "benchmark": number.benchmark,
        "subset": number.subset,
        "data": number.data,
        "dim": number.dim,
        "model": vars(number.model),
        "record": str(number.record),
    }
