"""The rows of any table as a page for people: a column per metric, values with intervals, units in the heads.

What all rows have in common stands once above the table, and what none has is left out: files for
programs (table_files.py) have every column in every row.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evals.escape import visible
from evals.ranking.metric_table import RANKS
from evals.views.page import Table, page
from evals.views.style import in_percent, in_points

Row = Mapping[str, Any]
Rows = Sequence[Row]
LABELS = {
    "assumed": "correlation is assumed",
    "bytes_per_million": "bytes per million vectors",
    "detectable": "drop that would be seen",
    "dim": "dimensions",
    "images_now": "images there are",
    "judgement": "verdict",
    "losses": "queries that lost",
    "lower": "at least (95%)",
    "n": "queries",
    "n_gallery": "gallery",
    "n_queries": "queries",
    "new": "this run",
    "old": "baseline",
    "p_family": "p, Holm",
    "power_now": "power now",
    "queries_now": "queries there are",
    "seen_now": "shown now",
    "ties": "queries that tied",
    "tie_rate": "queries with ties",
    "upper": "at most (95%)",
    "wins": "queries that won",
}
SHARES = ("tie_rate", "power_now")  # whatever the metric is
VALUES = ("value", "old", "new", "kept")
CHANGES = ("difference", "lower", "upper")
SIZES = ("seen_now", "detectable")
ENDS = {"kept": ("kept_low", "kept_high"), "value": ("ci_low", "ci_high")}
NAMES = ("dim", "line")  # whole numbers that are no amounts
TESTS = ("p", "p_family")
DIGITS = 2
SCORES = (
    "Scores are in per cent, with 95% intervals in brackets; from 60% to 61% is a difference of one "
    "point. A rank counts from 1, which is the best."
)


class Score(NamedTuple):
    """A score as people read it, with the unit that the head of its column names."""

    text: str
    unit: str


def table_page(rows: Rows, title: str, notes: Sequence[str] = ()) -> str:
    """One page that loads nothing and runs nothing; all text is escaped.

    Rows whose `table` differs stand in tables of their own.
    """
    lines = _a_column_per_metric([_with_scores(row) for row in rows])
    common = _common(lines)
    facts = [(_head(name, lines), _cell(name, lines[0][name])) for name in common]
    tables = []
    for name in dict.fromkeys(line.get("table") for line in lines):
        part = [line for line in lines if line.get("table") == name]
        tables.append(_table(part, {*common, "table"}, "" if name is None else str(name)))
    legend = [SCORES] if any("metric" in row for row in rows) else []
    return page(title, facts=facts, tables=tables, notes=[*legend, *notes])


def columns(rows: Rows) -> list[str]:
    """The names of all columns, in the order in which rows bring them."""
    names: dict[str, None] = {}
    for row in rows:
        names |= dict.fromkeys(row)
    return list(names)


def shown(value: Any) -> str:
    """A value for people: six digits, and nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    # Text may come from a file of others: no control character reaches a page.
    return visible(str(as_text(value)))


def as_text(value: Any) -> str | None:
    """Text as it is, and any other value as JSON; None stays None."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _with_scores(row: Row) -> dict[str, Any]:
    """A row whose scores are Scores, with their intervals; its metric has its cut-off, as in R@5."""
    if "metric" not in row:
        return dict(row)
    metric = f"{row['metric']}@{row['k']}" if row.get("k") else str(row["metric"])
    # Where there is a change, the interval is the change's.
    ends = ENDS | ({"difference": ENDS["value"], "value": ()} if "difference" in row else {})
    hidden = {"k", *(end for pair in ends.values() for end in pair)}
    line: dict[str, Any] = {}
    for name, value in row.items():
        if name not in hidden:
            interval = [row.get(end) for end in ends.get(name, ())]
            line[name] = _score(name, value, interval, metric in RANKS)
    return line | {"metric": metric}


def _score(name: str, value: Any, interval: Sequence[Any], is_rank: bool) -> Any:
    """The value as a Score, where a column of this name holds scores."""
    if name not in (*SHARES, *VALUES, *CHANGES, *SIZES) or value is None:
        return value
    if is_rank and name not in SHARES:
        return Score(shown(value), "")
    write = in_points if name in CHANGES else in_percent
    text = write(value, DIGITS)
    if interval and None not in interval:
        low, high = (write(end, DIGITS) for end in interval)
        text += f" [{low}, {high}]"
    return Score(text, "%" if name in (*SHARES, *VALUES) else "points")


def _a_column_per_metric(lines: Rows) -> Rows:
    """Rows that differ in metric and value alone as one, with a column per metric.

    Where that joins none, or a row has more values of its metric, rows stay as they are.
    """
    of_metric = {*VALUES, *CHANGES, *SIZES}
    joined: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {}
    for line in lines:
        if "metric" not in line or of_metric & line.keys() != {"value"}:
            return lines
        names = list(line)
        at = names.index("metric")
        before = {name: line[name] for name in names[:at]}
        after = {name: line[name] for name in names[at + 1 :] if name != "value"}
        place = json.dumps([before, after])
        _, scores, _ = joined.setdefault(place, (before, {}, after))
        scores[line["metric"]] = line["value"]
    if len(joined) == len(lines):
        return lines
    return [before | scores | after for before, scores, after in joined.values()]


def _common(lines: Rows) -> list[str]:
    """The columns with one value in all of several lines; scores stay where they are looked for."""
    if len(lines) < 2:
        return []
    first = lines[0]
    return [
        name
        for name in columns(lines)
        if _cell(name, first.get(name))
        and not isinstance(first[name], Score)
        and all(line.get(name) == first[name] for line in lines)
    ]


def _table(lines: Rows, left_out: set[str], title: str) -> Table:
    """The columns in which some line has a value."""
    names = [name for name in columns(lines) if name not in left_out]
    names = [name for name in names if any(_cell(name, line.get(name)) for line in lines)]
    cells = [[_cell(name, line.get(name)) for name in names] for line in lines]
    return Table([_head(name, lines) for name in names], cells, title)


def _head(name: str, lines: Rows) -> str:
    """What the cells of a column are, with their unit where it is the same for all."""
    words = LABELS.get(name, name.replace("_", " "))
    values = [line.get(name) for line in lines]
    units = {value.unit for value in values if isinstance(value, Score)}
    return f"{words}, {units.pop()}" if len(units) == 1 and "" not in units else words


def _cell(name: str, value: Any) -> str:
    if isinstance(value, Score):
        return value.text
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in TESTS and value is not None:
        return f"{value:.3f}" if value >= 0.001 else "<0.001"
    if isinstance(value, int) and name not in NAMES:
        return f"{value:,}"
    return shown(value)
