"""Reads the published numbers of configs/published/*.csv, each with its source and its grade."""

import csv
import re
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import NamedTuple

from evals.paths import configs
from evals.schema import ConfigError

# How near a number is to who measured it: the report marks those that are second hand.
GRADES = {
    "A": "first hand: a model card or release post",
    "B": "a full text copy of a paper",
    "C": "second hand: quoted by somebody else",
    "D": "measured by a third party",
}


class Published(NamedTuple):
    """One printed number, with the columns of the CSV as fields.

    `score` is in per cent where the metric is a score; `printed` is how it was printed. `language`
    is "avg" for means over languages, `dim` the width or "native" where the source names none.
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
        """How many digits after the point were printed, of the score in per cent.

        0.8902 has two, 98.0 has one.
        """
        # `+1.7%` and `0.8902†` are printed too
        number = Decimal(re.sub(r"[^0-9.]", "", self.printed))
        places = -int(number.as_tuple().exponent)
        # a fraction has two digits more than the same number in per cent
        return max(0, places if number == abs(Decimal(self.score)) else places - 2)


@cache
def slug(name: str) -> str:
    """A published name as a key: lower case, and dashes for all but letters, digits, `.`, `_`."""
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-")


@cache
def published(folder: Path | None = None) -> dict[str, list[Published]]:
    """All printed numbers by table, in the order of the files.

    ConfigError names file, line and field.
    """
    folder = folder or configs() / "published"
    # sorted, so that the order of the report does not depend on the file system
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise ConfigError(
            f"{folder}: holds no *.csv of published numbers. Restore it, or check EVALS_CONFIGS."
        )
    tables: dict[str, list[Published]] = {}
    for file in files:
        with file.open(encoding="utf-8", newline="") as lines:
            # strict: a quote in the middle of a field is a typing error, not text
            reader = csv.reader(lines, strict=True)
            if next(reader, None) != list(Published._fields):
                raise ConfigError(f"{file}: the columns must be {','.join(Published._fields)}.")
            for fields in reader:
                number = _number(fields, f"{file}, line {reader.line_num}")
                tables.setdefault(number.table, []).append(number)
    return tables


def _number(fields: list[str], where: str) -> Published:
    if len(fields) != len(Published._fields):
        raise ConfigError(f"{where}: {len(fields)} fields, not {len(Published._fields)}.")
    number = Published(*fields)
    if not _is_finite(number.score):
        raise ConfigError(f"{where}: score {number.score!r} is not a number.")
    if not re.search(r"\d", number.printed):
        raise ConfigError(f"{where}: printed {number.printed!r} holds no number.")
    if number.grade not in GRADES:
        grades = ", ".join(GRADES)
        raise ConfigError(f"{where}: grade {number.grade!r}; the grades are {grades}.")
    return number


def _is_finite(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False
