"""Puts results into words that all formats share; each format only escapes them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from evals.counts import counted
from evals.records.identity import SHOWN
from evals.report.published_csv import GRADES
from evals.report.tables import footnotes
from evals.report.verdicts import Judged, Result, Verdict

SECOND_HAND = "†"
DASH = "–"
# models and subsets that are named below a table
MOST = 8
LEGEND = (
    "Per cent. Each cell: measured [95% interval] (published, difference) verdict; "
    "“–” where nothing was measured. exact: equal as printed; reproduced: within the table's "
    "tolerance; deviates: further off, too high included. "
    f"{SECOND_HAND} published number known at {GRADES['C'].split(':')[0]} only. A mean is plain, "
    "over the members named, and has no interval of its own; it is measured only when every "
    "member is."
)


class Words(NamedTuple):
    """A cell in words; what does not apply is empty. `measured` never holds a published number.

    `mark` is the number of the footnote that says which model stands in for the published one.
    """

    measured: str
    mark: str
    interval: str
    published: str
    difference: str
    verdict: str
    coverage: str

    def __str__(self) -> str:
        """`89.10 [88.20, 90.00] (89.02, +0.08) reproduced`, or `– (89.02)`."""
        # "not run" is what the dash says already
        verdict = self.verdict if self.difference else ""
        tail = _joined(", ", verdict, self.coverage)
        return _joined(" ", f"{self.measured}{self.mark}", self.interval, self.in_brackets, tail)

    @property
    def in_brackets(self) -> str:
        """`(89.02, +0.08)`: the published number, and the difference where there is one."""
        return f"({_joined(', ', self.published, self.difference)})"


def words(judged: Judged, result: Result) -> Words:
    """A result of a table in words."""
    published = result.cell.published
    printed = _minus(published.score) + (SECOND_HAND if published.grade == "C" else "")
    if result.measured is None or result.difference is None:
        return Words(DASH, "", "", printed, "", result.verdict, result.coverage)
    interval = ""
    if result.low is not None and result.high is not None:
        interval = _minus(f"[{result.low:.2f}, {result.high:.2f}]")
    # + 0.0 makes 0 of -0
    measured = _minus(f"{round(result.measured, 2) + 0.0:.2f}")
    difference = signed(result.difference)
    mark = _stand_in_mark(judged, result)
    return Words(measured, mark, interval, printed, difference, result.verdict, result.coverage)


def signed(value: float) -> str:
    """A difference with its sign, a real minus."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else _minus(text)


def summary(judged: Judged) -> str:
    """`3 exact, 1 reproduced, 8 not run`."""
    counts = [f"{n} {verdict}" for verdict, n in judged.counts.items() if n]
    return ", ".join(counts) or "no cells"


def overview(tables: Sequence[Mapping[Verdict, int]]) -> str:
    """`12 of 30 tables measured, 3 of them in part; 1 deviates, in 2 cells.`, from the counts of tables.

    Of a single table: `4 of 12 cells measured; 1 deviates.`
    """
    if len(tables) == 1:
        return _overview_of_cells(tables[0])
    measured = partly = deviating = cells = 0
    for counts in tables:
        n_measured = sum(counts.values()) - counts["not run"]
        measured += n_measured > 0
        partly += n_measured > 0 and counts["not run"] > 0
        deviating += counts["deviates"] > 0
        cells += counts["deviates"]
    parts = f", {partly} of them in part" if partly else ""
    text = f"{measured} of {counted(len(tables), 'table')} measured{parts}"
    if not measured:
        return f"{text}."
    where = f", in {counted(cells, 'cell')}" if deviating else ""
    return f"{text}; {_deviating(deviating)}{where}."


def _overview_of_cells(counts: Mapping[Verdict, int]) -> str:
    n_cells = sum(counts.values())
    measured = n_cells - counts["not run"]
    text = f"{measured} of {counted(n_cells, 'cell')} measured"
    return f"{text}; {_deviating(counts['deviates'])}." if measured else f"{text}."


def _deviating(count: int) -> str:
    return counted(count, "deviates", "deviate") if count else "none deviates"


def tolerance(judged: Judged) -> str:
    """What the table tolerates and why."""
    row = judged.table.row
    changes = f", ±{row.change_tolerance:g}% for changes" if row.change_tolerance else ""
    return f"Tolerance ±{row.tolerance:g} points{changes}: {row.reason}."


def notes(judged: Judged) -> list[str]:
    """The footnotes of a table in the order of their numbers, which count from 1.

    Those that say which models stand in for published ones come last.
    """
    texts = [footnotes()[name].text for name in judged.table.footnotes]
    return texts + [f"{note}." for note in judged.stand_ins]


def marks(judged: Judged, names: Sequence[str]) -> str:
    """`[1][3]`: the footnotes of these names by their numbers in the table."""
    numbered = judged.table.footnotes
    return "".join(f"[{numbered.index(name) + 1}]" for name in names)


def provenance(judged: Judged) -> list[str]:
    """What was measured: the models with their weights, and the data by its content hash."""
    models: dict[str, None] = {}
    data: dict[str, None] = {}
    for placed in judged.results:
        for number in placed.result.numbers:
            models[str(number.model)] = None
            if number.data:
                data[f"{number.benchmark} {number.subset} {number.data[:SHOWN]}"] = None
    lines = []
    if models:
        lines.append(f"Measured models: {_first(models)}.")
    if data:
        lines.append(f"Measured data, by content hash: {_first(data)}.")
    return lines


def below(judged: Judged) -> list[str]:
    """The lines below a table: counts, tolerance, numbered footnotes, and what was measured."""
    lines = [f"{summary(judged)}. {tolerance(judged)}{marks(judged, judged.table.row.footnotes)}"]
    lines += [f"[{i}] {note}" for i, note in enumerate(notes(judged), 1)]
    return lines + provenance(judged)


def _stand_in_mark(judged: Judged, result: Result) -> str:
    if result.stands_in is None:
        return ""
    number = len(judged.table.footnotes) + judged.stand_ins.index(result.stands_in) + 1
    return f"[{number}]"


def _first(names: Iterable[str]) -> str:
    """The first names of a list, and how many there are beyond."""
    texts = list(names)
    rest = f", and {len(texts) - MOST} more in the CSV" if len(texts) > MOST else ""
    return ", ".join(texts[:MOST]) + rest


def _minus(text: str) -> str:
    # U+2212: a hyphen is narrower than a plus, and columns of signs would not line up.
    return text.replace("-", "−")


def _joined(between: str, *parts: str) -> str:
    return between.join(part for part in parts if part)
