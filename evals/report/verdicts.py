"""Judges each cell of a table: published, measured, difference, interval, verdict, in per cent."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from evals.records.shelf import Choice
from evals.report.checkpoints import Pinned, stand_in_of
from evals.report.measured import Mean, Number, Records
from evals.report.tables import Block, Cell, Line, Table

Verdict = Literal["exact", "reproduced", "deviates", "not run"]
NO_RECORD = "no record has it"
VERDICTS: tuple[Verdict, ...] = ("exact", "reproduced", "deviates", "not run")
# a difference of 0.3 in floating point is 0.30000000000001
_SLACK = 1e-9


class Result(NamedTuple):
    """A cell and what was measured for it, in per cent.

    `measured` is None unless all its members are there, and `why` then says why. `coverage` is
    "26 of 26 languages", "" for a single number. `numbers` are the members, those that a change is
    relative to last. `stands_in` is a footnote where another model counts for the published one.
    `refused` names a record that is called like the published model and does not count.
    """

    cell: Cell
    measured: float | None
    low: float | None
    high: float | None
    difference: float | None
    verdict: Verdict
    coverage: str
    why: str
    numbers: tuple[Number, ...]
    stands_in: str | None = None
    refused: str | None = None

    @property
    def records(self) -> tuple[Path, ...]:
        """The records that the number is made of."""
        return tuple(dict.fromkeys(number.record for number in self.numbers))


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
    def stand_ins(self) -> list[str]:
        """The footnotes of models that count for a published one, in the order of reading."""
        notes = (placed.result.stands_in for placed in self.results)
        return list(dict.fromkeys(note for note in notes if note))

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many cells got each verdict."""
        counts = Counter(placed.result.verdict for placed in self.results)
        return {verdict: counts[verdict] for verdict in VERDICTS}


def judge(table: Table, records: Records, stand_in: Mapping[str, str] | None = None) -> Judged:
    """All cells of a table against the records.

    `stand_in` gives a published model the name, or the folder, of one whose records count for it.
    InvalidError names a record that is broken.
    """
    judging = _Judging(records, stand_in or {})
    return Judged(table, tuple(_block(block, judging) for block in table.sections))


def verdict(measured: float, cell: Cell) -> Verdict:
    """Exact within the printed rounding, reproduced within the table's tolerance, or it deviates.

    A number that is too high deviates as much as one that is too low.
    """
    # half a unit of the last printed digit is what rounding can hide
    off = abs(measured - cell.published.value) - _SLACK
    if off <= 0.5 * 10**-cell.published.digits:
        return "exact"
    return "reproduced" if off <= cell.tolerance else "deviates"


class _Judging(NamedTuple):
    """What cells are held against."""

    records: Records
    stand_in: Mapping[str, str]

    def choice(self, checkpoint: Pinned) -> Choice:
        """The checkpoint whose records count for a published one."""
        text = stand_in_of(checkpoint, self.stand_in)
        return self.records.stand_in(text) if text else checkpoint


def _block(block: Block, judging: _Judging) -> JudgedBlock:
    lines = []
    for line in block.lines:
        results = (_result(cell, judging) if cell else None for cell in line.cells)
        lines.append(JudgedLine(line, tuple(results)))
    return JudgedBlock(block.title, block.footnotes, tuple(lines))


def _result(cell: Cell, judging: _Judging) -> Result:
    if cell.selector.not_run or cell.checkpoint is None:
        return _not_run(cell, cell.selector.not_run or "")
    mean = judging.records.mean(judging.choice(cell.checkpoint), cell.selector)
    base = judging.records.mean(judging.choice(cell.base), cell.selector) if cell.base else None
    numbers = (*mean.numbers, *(base.numbers if base else ()))
    if mean.value is None:
        return _missing(cell, cell.checkpoint, mean, numbers, judging)
    if cell.base and base and base.value is None:
        return _missing(cell, cell.base, base, numbers, judging)
    coverage = _coverage(mean, cell)
    if base and base.value == 0:
        return _not_run(cell, "relative to a score of 0", coverage, numbers)
    if base:
        # a ratio of two means has no interval
        measured, low, high = _change(mean, base), None, None
    else:
        measured, low, high = 100 * mean.value, _percent(mean.low), _percent(mean.high)
    difference = measured - cell.published.value
    word = verdict(measured, cell)
    stands_in = _stands_in(cell, mean, base, judging.stand_in)
    return Result(
        cell, measured, low, high, difference, word, coverage, "", numbers, stands_in=stands_in
    )


def _missing(
    cell: Cell, checkpoint: Pinned, mean: Mean, numbers: tuple[Number, ...], judging: _Judging
) -> Result:
    coverage = _coverage(mean, cell)
    refused = None
    if not stand_in_of(checkpoint, judging.stand_in):
        refused = judging.records.refused(checkpoint, cell.selector)
    # A record of that name that does not count is the likeliest surprise, and is named.
    why = f"no record of the published checkpoint has it; {refused}" if refused else NO_RECORD
    return _not_run(cell, why, coverage, numbers)._replace(refused=refused)


def _not_run(cell: Cell, why: str, coverage: str = "", numbers: tuple[Number, ...] = ()) -> Result:
    return Result(cell, None, None, None, None, "not run", coverage, why, numbers)


def _stands_in(
    cell: Cell, mean: Mean, base: Mean | None, stand_in: Mapping[str, str]
) -> str | None:
    """The footnote of a cell in which another model counts for a published one."""
    notes = []
    for checkpoint, measured in ((cell.checkpoint, mean), (cell.base, base)):
        if checkpoint and measured and stand_in_of(checkpoint, stand_in):
            models = ", ".join(dict.fromkeys(str(number.model) for number in measured.numbers))
            notes.append(f"Where the table says {checkpoint.names[0]}, {models} was measured")
    return ". ".join(notes) or None


def _coverage(mean: Mean, cell: Cell) -> str:
    return f"{mean.have} of {mean.of} {cell.selector.unit}" if mean.of > 1 else ""


def _change(mean: Mean, base: Mean) -> float:
    """100 (a / b - 1): by how much per cent a score is above another."""
    assert mean.value is not None and base.value is not None
    return 100 * (mean.value / base.value - 1)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
