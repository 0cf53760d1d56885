"""Results in words, the same in every format; each format only escapes them."""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from evals.report.published import GRADES
from evals.report.tables import footnotes
from evals.report.verdicts import Judged, Result

SECOND_HAND = "†"
DASH = "–"
LEGEND = (
    "Per cent. Each cell: measured [95% interval] (published, difference) verdict; “–” where nothing was measured. "
    "exact: equal as printed; reproduced: within the table's tolerance; deviates: further off, too high included. "
    f"{SECOND_HAND} published number known at {GRADES['C'].split(':')[0]} only. A mean is plain, over the members named, and has "
    "no interval of its own; it is measured only when every member is."
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
        told = f"({', '.join(filter(None, (self.published, self.difference)))})"
        end = ", ".join(filter(None, (self.verdict if self.difference else "", self.coverage)))
        return " ".join(filter(None, (self.measured, self.interval, told, end)))


def words(result: Result) -> Words:
    """A result in words."""
    printed = _minus(result.cell.published.score) + (
        SECOND_HAND if result.cell.published.grade == "C" else ""
    )
    if result.measured is None or result.difference is None:
        return Words(DASH, "", printed, "", result.verdict, result.coverage)
    interval = (
        ""
        if result.low is None or result.high is None
        else _minus(f"[{result.low:.2f}, {result.high:.2f}]")
    )
    measured = _minus(f"{round(result.measured, 2) + 0.0:.2f}")
    return Words(
        measured, interval, printed, signed(result.difference), result.verdict, result.coverage
    )


def signed(value: float) -> str:
    """A difference with its sign, a real minus."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else _minus(text)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def summary(judged: Judged) -> str:
    """`3 exact, 1 reproduced, 8 not run`."""
    return ", ".join(f"{n} {verdict}" for verdict, n in judged.counts.items() if n) or "no cells"


def tolerance(judged: Judged) -> str:
    """What the table tolerates and why."""
    row = judged.table.row
    changes = f", ±{row.change_tolerance:g}% for changes" if row.change_tolerance else ""
    return f"Tolerance ±{row.tolerance:g} points{changes}: {row.reason}."


def notes(judged: Judged) -> list[tuple[str, str]]:
    """The footnotes of a table by name."""
    return [(name, footnotes()[name].text) for name in judged.table.footnotes]


def marks(judged: Judged, names: Sequence[str]) -> str:
    """`[1][3]`: the footnotes of these names by their numbers in the table."""
    known = judged.table.footnotes
    return "".join(f"[{known.index(name) + 1}]" for name in names)


def visible(text: str) -> str:
    """Text whose control characters, line breaks and marks of direction can be seen, and rearrange nothing around them."""
    return "".join(
        c if unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp", "Cs") else f"\\u{{{ord(c):x}}}"
        for c in text
    )
