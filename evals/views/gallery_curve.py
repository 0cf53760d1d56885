"""Recall by the size of the gallery, as people and programs read it: table, markdown, CSV, JSON."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from evals.escape import markdown_text, spreadsheet_text
from evals.evaluation.outcome import Outcome, Result
from evals.evaluation.record_files import curve_lines
from evals.records.curves import CurveLine
from evals.stats.bootstrap import Interval
from evals.tasks.scores import Value
from evals.views.style import console, empty_table, in_percent, percent

LEGEND = (
    "Recall in per cent with 95% intervals over images, when the gallery has so many items; those that "
    "are not the benchmark's are distractors drawn at random, and a value is the mean over all draws."
)


class Row(NamedTuple):
    """One gallery of a curve: its place, its size, and each metric there."""

    subset: str
    direction: str
    dim: int
    n_gallery: int
    n_distractors: int
    values: dict[str, Value]


def with_curves(outcomes: Iterable[Result]) -> list[Outcome]:
    """The outcomes that have curves."""
    return [outcome for outcome in outcomes if isinstance(outcome, Outcome) and outcome.curves]


def rows_of(lines: Iterable[CurveLine]) -> list[Row]:
    """The galleries of curves, in the order of the lines, each with all of its metrics."""
    # A line of the file is one metric; a reader compares metrics side by side.
    rows: dict[tuple[str, str, int, int], Row] = {}
    for line in lines:
        place = (line.subset, line.direction, line.dim, line.n_gallery)
        row = rows.setdefault(place, Row(*place, line.n_distractors, {}))
        interval = None
        if line.ci_low is not None and line.ci_high is not None:
            interval = Interval(line.ci_low, line.ci_high)
        row.values[line.name] = Value(line.value, interval)
    return list(rows.values())


def print_curves(outcomes: Sequence[Result]) -> None:
    """A table for each outcome that has curves."""
    out = console()
    for outcome in with_curves(outcomes):
        out.print(_table(outcome))
        out.print()


def _table(outcome: Outcome) -> Table:
    rows = rows_of(curve_lines(outcome.curves))
    table = empty_table(escape(title(outcome)), LEGEND)
    for name in ("", "dim", "", "gallery", "distractors"):
        is_number = name in ("dim", "gallery", "distractors")
        table.add_column(name, justify="right" if is_number else "left", no_wrap=True)
    for name in rows[0].values:
        table.add_column(name, no_wrap=True)
    # A line between curves: sizes of one fall again into the next.
    previous = rows[0]
    for row in rows:
        if row[:3] != previous[:3]:
            table.add_section()
        previous = row
        sizes = (f"{row.n_gallery:,}", f"{row.n_distractors:,}")
        values = [percent(value) for value in row.values.values()]
        table.add_row(row.subset, str(row.dim), row.direction, *sizes, *values)
    return table


def title(outcome: Outcome) -> str:
    """What the curves are of."""
    part = " · partial: not the benchmark's number" if outcome.partial else ""
    return f"{outcome.benchmark.title} with distractors · {outcome.model}{part}"


def as_markdown(outcome: Outcome) -> str:
    """The table of an outcome in markdown."""
    rows = rows_of(curve_lines(outcome.curves))
    head = ["subset", "dim", "direction", "gallery", "distractors", *rows[0].values]
    # Subsets are called as folders are, and a pipe in a name would end a cell.
    lines = [f"# {markdown_text(title(outcome))}", ""]
    lines += [_line(head), _line(["---"] * len(head))]
    for row in rows:
        # Each value with its interval: a curve without one invites reading its wiggles.
        values = [_in_words(value) for value in row.values.values()]
        sizes = [f"{row.n_gallery:,}", f"{row.n_distractors:,}"]
        names = [markdown_text(row.subset), str(row.dim), row.direction]
        lines.append(_line([*names, *sizes, *values]))
    return "\n".join([*lines, "", LEGEND]) + "\n"


def as_csv(outcome: Outcome) -> bytes:
    """A line for each point, fractions as they are; what there is not is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(CurveLine)])
    for line in curve_lines(outcome.curves):
        cells = asdict(line).values()
        # Names of subsets come from folders, and no spreadsheet is to calculate one.
        writer.writerow(spreadsheet_text(v) if isinstance(v, str) else v for v in cells)
    return text.getvalue().encode()


def _in_words(value: Value) -> str:
    if value.interval is None:
        return in_percent(value.value)
    low, high = (in_percent(end) for end in value.interval)
    return f"{in_percent(value.value)} ({low} to {high})"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
