"""Reports as CSV: one line a cell, numbers as numbers, text that no spreadsheet takes for a formula."""

import csv
from collections.abc import Sequence
from io import StringIO

from evals.report.verdicts import Judged, Result

COLUMNS = ("table", "section", "row", "column", "published", "grade", "measured", "difference", "ci_low", "ci_high", "verdict",
    "coverage", "why", "model", "benchmark", "direction", "metric", "language", "dim", "source", "note", "footnotes",
    "records")  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def page(tables: Sequence[Judged]) -> str:
    """All tables, in per cent; empty where nothing was measured."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for judged in tables:
        notes = " ".join(judged.table.footnotes)
        for section, row, column, result in judged.results:
            writer.writerow(_fields((judged.table.row.name, section, row, column), result, notes))
    return out.getvalue()


def _fields(place: tuple[str, ...], result: Result, notes: str) -> list[str]:
    printed = result.cell.published
    numbers = (result.measured, result.difference, result.low, result.high)
    texts = [
        result.verdict,
        result.coverage,
        result.why,
        printed.model,
        printed.benchmark,
        printed.direction,
        printed.metric,
    ]
    texts += [
        printed.language,
        printed.dim,
        printed.source,
        printed.note,
        notes,
        " ".join(map(str, result.records)),
    ]
    measured = ["" if value is None else f"{round(value, 4) + 0.0:.4f}" for value in numbers]
    return [*map(text, place), printed.score, text(printed.grade), *measured, *map(text, texts)]


def text(value: str) -> str:
    """A text field: one that a spreadsheet would calculate gets an apostrophe in front."""
    return f"'{value}" if value.lstrip(" ").startswith(_FORMULA) else value
