"""Writes reports as CSV: one line per cell, numbers as numbers, text that is never a formula."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from evals.escape import spreadsheet_text
from evals.report.verdicts import Judged, Placed

COLUMNS = (
    "table",
    "section",
    "row",
    "column",
    "published",
    "grade",
    "measured",
    "difference",
    "ci_low",
    "ci_high",
    "verdict",
    "coverage",
    "why",
    "model",
    "benchmark",
    "direction",
    "metric",
    "language",
    "published_dim",
    "source",
    "note",
    "footnotes",
    # what was measured
    "dim",
    "measured_model",
    "place",
    "weights",
    "data",
    "records",
)


def page(tables: Sequence[Judged]) -> str:
    """All tables, in per cent; empty where nothing was measured."""
    out = StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for judged in tables:
        for placed in judged.results:
            writer.writerow(_fields(judged, placed))
    return out.getvalue()


def _fields(judged: Judged, placed: Placed) -> dict[str, str]:
    result = placed.result
    printed = result.cell.published
    models = [number.model for number in result.numbers]
    data = [
        f"{number.benchmark}/{number.subset}={number.data}"
        for number in result.numbers
        if number.data
    ]
    texts = {
        "table": judged.table.row.name,
        "section": placed.section,
        "row": placed.row,
        "column": placed.column,
        "grade": printed.grade,
        "verdict": result.verdict,
        "coverage": result.coverage,
        "why": result.why,
        "model": printed.model,
        "benchmark": printed.benchmark,
        "direction": printed.direction,
        "metric": printed.metric,
        "language": printed.language,
        "published_dim": printed.dim,
        "source": printed.source,
        "note": printed.note,
        "footnotes": " ".join([*judged.table.footnotes, *filter(None, [result.stands_in])]),
        "dim": _distinct(number.dim for number in result.numbers),
        "measured_model": _distinct(model.name for model in models),
        "place": _distinct(model.place for model in models),
        "weights": _distinct(model.weights or "unknown" for model in models),
        "data": _distinct(data),
        "records": _distinct(result.records),
    }
    numbers = {
        "measured": result.measured,
        "difference": result.difference,
        "ci_low": result.low,
        "ci_high": result.high,
    }
    fields = {name: spreadsheet_text(value) for name, value in texts.items()}
    fields |= {name: _number(value) for name, value in numbers.items()}
    return fields | {"published": printed.score}


def _distinct(values: Iterable[object]) -> str:
    """Each value once, in order; of a change, those that it is relative to last."""
    return " ".join(dict.fromkeys(map(str, values)))


def _number(value: float | None) -> str:
    # + 0.0 makes 0 of -0
    return "" if value is None else f"{round(value, 4) + 0.0:.4f}"
