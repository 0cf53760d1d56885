"""Puts results into words that all formats share; each format only escapes them."""

from collections.abc import Sequence
from typing import NamedTuple

from evals.report.published import GRADES
from evals.report.tables import footnotes
from evals.report.verdicts import Judged, Result

SECOND_HAND = "†"
DASH = "–"
LEGEND = (
    "Per cent. Each cell: measured [95% interval] (published, difference) verdict; "
    "“–” where nothing was measured. exact: equal as printed; reproduced: within the table's "
    "tolerance; deviates: further off, too high included. "
    f"{SECOND_HAND} published number known at {GRADES['C'].split(':')[0]} only. A mean is plain, "
    "over the members named, and has no interval of its own; it is measured only when every "
    "member is."
)


class Words(NamedTuple):
    """A cell in words; what does not apply is empty. `measured` never holds a published number."""

    measured: str
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
        return _joined(" ", self.measured, self.interval, self.in_brackets, tail)

    @property
    def in_brackets(self) -> str:
        """`(89.02, +0.08)`: the published number, and the difference where there is one."""
        return f"({_joined(', ', self.published, self.difference)})"


def words(result: Result) -> Words:
    """A result in words."""
    published = result.cell.published
    printed = _minus(published.score) + (SECOND_HAND if published.grade == "C" else "")
    if result.measured is None or result.difference is None:
        return Words(DASH, "", printed, "", result.verdict, result.coverage)
    interval = ""
    if result.low is not None and result.high is not None:
        interval = _minus(f"[{result.low:.2f}, {result.high:.2f}]")
    # + 0.0 makes 0 of -0
    measured = _minus(f"{round(result.measured, 2) + 0.0:.2f}")
    difference = signed(result.difference)
    return Words(measured, interval, printed, difference, result.verdict, result.coverage)


def signed(value: float) -> str:
    """A difference with its sign, a real minus."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else _minus(text)


def summary(judged: Judged) -> str:
    """`3 exact, 1 reproduced, 8 not run`."""
    counts = [f"{n} {verdict}" for verdict, n in judged.counts.items() if n]
    return ", ".join(counts) or "no cells"


def tolerance(judged: Judged) -> str:
    """What the table tolerates and why."""
    row = judged.table.row
    changes = f", ±{row.change_tolerance:g}% for changes" if row.change_tolerance else ""
    return f"Tolerance ±{row.tolerance:g} points{changes}: {row.reason}."


def notes(judged: Judged) -> list[str]:
    """The footnotes of a table in the order of their numbers, which count from 1."""
    return [footnotes()[name].text for name in judged.table.footnotes]


def marks(judged: Judged, names: Sequence[str]) -> str:
    """`[1][3]`: the footnotes of these names by their numbers in the table."""
    numbered = judged.table.footnotes
    return "".join(f"[{numbered.index(name) + 1}]" for name in names)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _joined(between: str, *parts: str) -> str:
    return between.join(part for part in parts if part)
