"""Each cell of a table judged: published, measured, difference, interval and verdict, in per cent."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from evals.report.measured import Mean, Records
from evals.report.tables import Cell, Line, Table

Verdict = Literal["exact", "reproduced", "deviates", "not run"]
VERDICTS: tuple[Verdict, ...] = ("exact", "reproduced", "deviates", "not run")
_SLACK = 1e-9  # a difference of 0.3 in floating point is 0.30000000000001


class Result(NamedTuple):
    """A cell and what was measured for it, in per cent; `measured` is None unless all its members are there.

    `coverage` is "26 of 26 languages", "" for a single number; `why` says why nothing was measured.
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


class Judged(NamedTuple):
    """A table with its results in the places of its cells, None where it has none."""

    table: Table
    sections: tuple[
        tuple[str | None, tuple[str, ...], tuple[tuple[Line, tuple[Result | None, ...]], ...]], ...
    ]

    @property
    def results(self) -> list[tuple[str, str, str, Result]]:
        """All results with the titles of their section ("" without), row and column, in the order of reading."""
        return [
            (title or "", line.label, column.label, result)
            for title, _, lines in self.sections
            for line, results in lines
            for column, result in zip(self.table.row.columns, results, strict=True)
            if result
        ]

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many cells got each verdict."""
        found = Counter(result.verdict for *_, result in self.results)
        return {verdict: found[verdict] for verdict in VERDICTS}


def judge(table: Table, records: Records, stand_in: Mapping[str, str] | None = None) -> Judged:
    """All cells of a table against the records; `stand_in` names the model whose records count as another's."""
    names = stand_in or {}

    def judged(line: Line) -> tuple[Line, tuple[Result | None, ...]]:
        return line, tuple(_result(cell, records, names) if cell else None for cell in line.cells)

    return Judged(
        table,
        tuple((title, notes, tuple(map(judged, lines))) for title, notes, lines in table.sections),
    )


def verdict(measured: float, cell: Cell) -> Verdict:
    """Exact within rounding of what was printed, reproduced within the table's tolerance; else it deviates, too high included."""
    off = abs(measured - cell.published.value) - _SLACK
    if off <= 0.5 * 10**-cell.published.digits:
        return "exact"
    return "reproduced" if off <= cell.tolerance else "deviates"


def _result(cell: Cell, records: Records, names: Mapping[str, str]) -> Result:
    if cell.selector.not_run:
        return Result(cell, None, None, None, None, "not run", "", cell.selector.not_run, ())
    own = records.mean(_renamed(cell.records, names), cell.selector)
    means = [own]
    if cell.base:
        means.append(records.mean(_renamed(cell.base, names), cell.selector))
    missing = [mean for mean in means if mean.value is None]
    coverage = _coverage(missing[0] if missing else own, cell.selector.unit)
    paths = tuple(dict.fromkeys(path for mean in means for path in mean.records))
    if missing:
        return Result(cell, None, None, None, None, "not run", coverage, "no record has it", paths)
    if cell.base and means[1].value == 0:
        return Result(
            cell, None, None, None, None, "not run", coverage, "relative to a score of 0", paths
        )
    measured, low, high = _percent(own, means[1] if cell.base else None)
    return Result(
        cell,
        measured,
        low,
        high,
        measured - cell.published.value,
        verdict(measured, cell),
        coverage,
        "",
        paths,
    )


def _renamed(models: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    found = [names[model] for model in models if model in names]
    return tuple(found or models)


def _coverage(mean: Mean, unit: str) -> str:
    return f"{mean.have} of {mean.of} {unit}" if mean.of > 1 else ""


def _percent(own: Mean, base: Mean | None) -> tuple[float, float | None, float | None]:
    """A value in per cent with its interval, or its change in per cent of another, which has none."""
    assert own.value is not None
    if base is None:
        low, high = (None if end is None else 100 * end for end in (own.low, own.high))
        return 100 * own.value, low, high
    assert base.value is not None
    return 100 * (own.value / base.value - 1), None, None
