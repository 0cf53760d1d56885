"""Judges each cell of a table: published, measured, difference, interval, verdict, in per cent."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from evals.report.measured import Mean, Records
from evals.report.tables import Block, Cell, Line, Table

Verdict = Literal["exact", "reproduced", "deviates", "not run"]
VERDICTS: tuple[Verdict, ...] = ("exact", "reproduced", "deviates", "not run")
# a difference of 0.3 in floating point is 0.30000000000001
_SLACK = 1e-9


class Result(NamedTuple):
    """A cell and what was measured for it, in per cent.

    `measured` is None unless all its members are there, and `why` then says why. `coverage` is
    "26 of 26 languages", "" for a single number.
    """

    cell: Cell
    measured: float | None
    low: float | None
    high: float | None
    difference: float | None
    verdict: Verdict
    coverage: str
    why: str
    records: tuple[Path, ...]


class Placed(NamedTuple):
    """A result with the titles of its section ("" without one), row and column."""

    section: str
    row: str
    column: str
    result: Result


class JudgedLine(NamedTuple):
    """A row of a table and the results of its cells, None where it has no cell."""

    line: Line
    results: tuple[Result | None, ...]


class JudgedBlock(NamedTuple):
    """Judged lines under a heading; `title` is None for a table without sections."""

    title: str | None
    footnotes: tuple[str, ...]
    lines: tuple[JudgedLine, ...]


class Judged(NamedTuple):
    """A table with its results in the places of its cells."""

    table: Table
    sections: tuple[JudgedBlock, ...]

    @property
    def results(self) -> list[Placed]:
        """All results in the order of reading."""
        columns = [column.label for column in self.table.row.columns]
        placed = []
        for block in self.sections:
            for line, results in block.lines:
                for column, result in zip(columns, results, strict=True):
                    if result:
                        placed.append(Placed(block.title or "", line.label, column, result))
        return placed

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many cells got each verdict."""
        counts = Counter(placed.result.verdict for placed in self.results)
        return {verdict: counts[verdict] for verdict in VERDICTS}


def judge(table: Table, records: Records, stand_in: Mapping[str, str] | None = None) -> Judged:
    """All cells of a table against the records.

    `stand_in` names the model whose records count as another's. InvalidError names a record that
    is broken.
    """
    names = stand_in or {}
    return Judged(table, tuple(_block(block, records, names) for block in table.sections))


def verdict(measured: float, cell: Cell) -> Verdict:
    """Exact within the printed rounding, reproduced within the table's tolerance, or it deviates.

    A number that is too high deviates as much as one that is too low.
    """
    # half a unit of the last printed digit is what rounding can hide
    off = abs(measured - cell.published.value) - _SLACK
    if off <= 0.5 * 10**-cell.published.digits:
        return "exact"
    return "reproduced" if off <= cell.tolerance else "deviates"


def _block(block: Block, records: Records, names: Mapping[str, str]) -> JudgedBlock:
    lines = []
    for line in block.lines:
        results = (_result(cell, records, names) if cell else None for cell in line.cells)
        lines.append(JudgedLine(line, tuple(results)))
    return JudgedBlock(block.title, block.footnotes, tuple(lines))


def _result(cell: Cell, records: Records, names: Mapping[str, str]) -> Result:
    if cell.selector.not_run:
        return _not_run(cell, cell.selector.not_run)
    mean = records.mean(_renamed(cell.records, names), cell.selector)
    base = records.mean(_renamed(cell.base, names), cell.selector) if cell.base else None
    paths = tuple(dict.fromkeys([*mean.records, *(base.records if base else ())]))
    if mean.value is None:
        return _not_run(cell, "no record has it", _coverage(mean, cell), paths)
    if base and base.value is None:
        return _not_run(cell, "no record has it", _coverage(base, cell), paths)
    coverage = _coverage(mean, cell)
    if base and base.value == 0:
        return _not_run(cell, "relative to a score of 0", coverage, paths)
    # a ratio of two means has no interval
    if base:
        measured, low, high = _change(mean, base), None, None
    else:
        measured, low, high = 100 * mean.value, _percent(mean.low), _percent(mean.high)
    difference = measured - cell.published.value
    word = verdict(measured, cell)
    return Result(cell, measured, low, high, difference, word, coverage, "", paths)


def _not_run(cell: Cell, why: str, coverage: str = "", paths: tuple[Path, ...] = ()) -> Result:
    return Result(cell, None, None, None, None, "not run", coverage, why, paths)


def _renamed(models: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    # one stand-in for all names that a model goes by
    renamed = [names[model] for model in models if model in names]
    return tuple(renamed or models)


def _coverage(mean: Mean, cell: Cell) -> str:
    return f"{mean.have} of {mean.of} {cell.selector.unit}" if mean.of > 1 else ""


def _change(mean: Mean, base: Mean) -> float:
    """100 (a / b - 1): by how much per cent a score is above another."""
    assert mean.value is not None and base.value is not None
    return 100 * (mean.value / base.value - 1)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
