"""Published numbers as data: configs/published/*.csv, read and checked, every value with its source and grade."""

import csv
import re
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import NamedTuple

from evals.paths import configs
from evals.schema import ConfigError

GRADES = {
    "A": "first hand: a model card or release post",
    "B": "a full text copy of a paper",
    "C": "second hand: quoted by somebody else",
    "D": "measured by a third party",
}


class Published(NamedTuple):
    """One printed number. `score` is in per cent where the metric is a score; `printed` is how it was printed.

    `language` is "avg" for means over languages, `dim` the width or "native" where it was not said.
    """

    model: str
    table: str
    benchmark: str
    direction: str
    metric: str
    language: str
    dim: str
    score: str
    printed: str
    printed_label: str
    grade: str
    source: str
    note: str

    @property
    def value(self) -> float:
        """The score as a number."""
        return float(self.score)

    @property
    def digits(self) -> int:
        """How many digits behind the point were printed, of the score in per cent: 0.8902 has two, 98.0 has one."""
        number = Decimal(re.sub(r"[^0-9.]", "", self.printed))
        places = -int(number.as_tuple().exponent)
        return max(0, places if number == abs(Decimal(self.score)) else places - 2)


@cache
def slug(name: str) -> str:
    """A published name as a key: lower case, everything but letters, digits, `.` and `_` a dash."""
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-")


@cache
def published(folder: Path | None = None) -> dict[str, list[Published]]:
    """All printed numbers by table, in the order of the files. ConfigError names file, line and field."""
    folder = folder or configs() / "published"
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise ConfigError(
            f"{folder}: holds no *.csv of published numbers. Restore it, or check EVALS_CONFIGS."
        )
    tables: dict[str, list[Published]] = {}
    for file in files:
        with file.open(encoding="utf-8", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            if next(reader, None) != list(Published._fields):
                raise ConfigError(f"{file}: the columns must be {','.join(Published._fields)}.")
            for fields in reader:
                row = _row(fields, f"{file}, line {reader.line_num}")
                tables.setdefault(row.table, []).append(row)
    return tables


def _row(fields: list[str], where: str) -> Published:
    if len(fields) != len(Published._fields):
        raise ConfigError(f"{where}: {len(fields)} fields, not {len(Published._fields)}.")
    row = Published(*fields)
    try:
        finite = Decimal(row.score).is_finite()
    except InvalidOperation:
        finite = False
    if not finite:
        raise ConfigError(f"{where}: score {row.score!r} is not a number.")
    if not re.search(r"\d", row.printed):
        raise ConfigError(f"{where}: printed {row.printed!r} holds no number.")
    if row.grade not in GRADES:
        raise ConfigError(f"{where}: grade {row.grade!r}; the grades are {', '.join(GRADES)}.")
    return row
