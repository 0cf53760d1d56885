"""Reads a model card's table: a CSV with a claim per line (docs/claims.md has the columns)."""

import csv
import re
from collections.abc import Sequence
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from evals.ranking.metric_table import RANKS
from evals.reading import read_text
from evals.schema import ConfigError

REQUIRED = ("model", "benchmark", "metric", "value")
OPTIONAL = ("tolerance", "dim", "unit")
# Points. The same as that of the published tables: the authors' own runs of one checkpoint are
# 0.1 apart, and libraries and precisions differ besides.
TOLERANCE = 0.3
# Points, or ranks. A spreadsheet makes 1 of the fraction 1.00, and half of its last digit is 50 points:
# with every measured value from 50% on it would agree.
COARSEST = 0.5
UNITS = ("percent", "fraction")
# ASCII digits alone: Decimal would also take Arabic ones, 1_000 and NaN.
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_DIRECTED = re.compile(r"(?:(?P<direction>t2i|i2t)/)?(?P<name>.+)")


class Claim(NamedTuple):
    """What a card says: this model has this value of this metric on this benchmark.

    `value`, `tolerance` and `rounding` (half a unit of the last printed digit, at most 0.5) are in
    per cent and points, or in ranks where the metric is one. `printed` is the value as it stands in the file,
    `direction` what stood before the metric, `dim` None for the full width.
    """

    file: Path
    line: int
    model: str
    benchmark: str
    metric: str
    direction: str | None
    dim: int | None
    value: float
    printed: str
    rounding: float
    tolerance: float

    def error(self, column: str, problem: str) -> ConfigError:
        """The error that names file, line and column."""
        return ConfigError(f"{self.file}, line {self.line}, column {column}: {problem}")

    @property
    def label(self) -> str:
        """The metric as it is written: `t2i/R@5`, with the dimension unless it is the full width."""
        direction = f"{self.direction}/" if self.direction else ""
        return f"{direction}{self.metric}" + (f" at {self.dim}" if self.dim else "")


def read_claims(path: Path) -> list[Claim]:
    """All claims of a file, in its order.

    MissingError when it cannot be read; ConfigError names line and column of what is unknown,
    missing, no number, or there twice, and refuses a file in which all values read as fractions
    and no column `unit` says so.
    """
    lines = _lines(path)
    claims = [_claim(path, number, fields) for number, fields in lines]
    if not claims:
        raise ConfigError(f"{path}: holds no claims. Write a line per claim below the header.")
    _refuse_fractions(claims, has_unit="unit" in lines[0][1])
    _refuse_twice(claims)
    return claims


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The fields of each line by column, with the number of the line."""
    text = read_text(path, error=ConfigError)
    # strict: a quote in the middle of a field is a typing error, not text
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    numbered = []
    try:
        header = _header(path, next(reader, []))
        for fields in reader:
            if not any(field.strip() for field in fields):  # an empty line, as editors leave
                continue
            where = f"{path}, line {reader.line_num}"
            if len(fields) != len(header):
                raise ConfigError(
                    f"{where}: {len(fields)} fields, and the header has {len(header)}. Write a "
                    "number with a point, as 89.8, and put quotes around a field that has a comma."
                )
            stripped = [field.strip() for field in fields]
            numbered.append((reader.line_num, dict(zip(header, stripped, strict=True))))
    except csv.Error as problem:
        raise ConfigError(
            f"{path}, line {reader.line_num}: no CSV ({problem}). Put quotes around whole fields only."
        ) from None
    return numbered


def _header(path: Path, names: Sequence[str]) -> list[str]:
    header = [name.strip() for name in names]
    columns = f"The columns are {', '.join(REQUIRED)}, and if needed {', '.join(OPTIONAL)}."
    for separator, word in ((";", "semicolons"), ("\t", "tabs")):
        # As spreadsheets save it where the comma is the decimal point.
        if len(header) == 1 and separator in header[0]:
            raise ConfigError(
                f"{path}, line 1: its columns are separated by {word}. Separate them by commas, and "
                "write numbers with a point: 89.8."
            )
    for name in header:
        if name not in (*REQUIRED, *OPTIONAL):
            raise ConfigError(f"{path}, line 1: unknown column {name!r}. {columns}")
        if header.count(name) > 1:
            raise ConfigError(f"{path}, line 1: the column {name} is there twice.")
    for name in REQUIRED:
        if name not in header:
            raise ConfigError(f"{path}, line 1: the column {name} is missing. {columns}")
    return header


def _claim(path: Path, line: int, fields: dict[str, str]) -> Claim:
    match = _DIRECTED.fullmatch(fields["metric"])
    claim = Claim(
        path,
        line,
        fields["model"],
        fields["benchmark"],
        metric=match["name"] if match else "",
        direction=match["direction"] if match else None,
        dim=None,
        value=0.0,
        printed=fields["value"],
        rounding=0.0,
        tolerance=TOLERANCE,
    )
    for column in REQUIRED:
        if not fields[column]:
            raise claim.error(column, "is empty.")
    scale = _scale(claim, fields)
    number = _number(claim, "value", fields["value"].removesuffix("%").rstrip())
    digits = -int(number.as_tuple().exponent)
    return claim._replace(
        value=float(number * scale),
        rounding=min(float(Decimal(5).scaleb(-digits - 1) * scale), COARSEST),
        tolerance=_tolerance(claim, fields.get("tolerance", "")),
        dim=_dim(claim, fields.get("dim", "")),
    )


def _scale(claim: Claim, fields: dict[str, str]) -> int:
    """By what a printed value is multiplied to be in per cent."""
    unit = fields.get("unit", "") or UNITS[0]
    if unit not in UNITS:
        raise claim.error("unit", f"{unit!r} is neither {' nor '.join(UNITS)}.")
    if unit == "percent" or claim.metric in RANKS:
        return 1
    if fields["value"].endswith("%"):
        raise claim.error("value", f"{fields['value']} is in per cent, and the unit is fraction.")
    return 100


def _tolerance(claim: Claim, text: str) -> float:
    if not text:
        return TOLERANCE
    number = float(_number(claim, "tolerance", text))
    if not 0 <= number < 100:
        raise claim.error("tolerance", f"{text} is not between 0 and 100 points.")
    return number


def _dim(claim: Claim, text: str) -> int | None:
    if text and (not re.fullmatch("[0-9]{1,6}", text) or int(text) < 1):
        raise claim.error("dim", f"{text!r} is not a whole number of 1 or more.")
    return int(text) if text else None


def _number(claim: Claim, column: str, text: str) -> Decimal:
    if not _NUMBER.fullmatch(text) or len(text) > 20:
        raise claim.error(column, f"{text!r} is no number such as 89.8.")
    return Decimal(text)


def _refuse_fractions(claims: Sequence[Claim], *, has_unit: bool) -> None:
    # 0.898 read as per cent would deviate by 89 points: nobody means that, and we do not guess.
    if has_unit or any(abs(claim.value) > 1 or "%" in claim.printed for claim in claims):
        return
    raise claims[0].error(
        "value",
        "all values are between -1 and 1, and claims are in per cent. Add a column `unit` with "
        "`fraction` (or `percent`, if they are).",
    )


def _refuse_twice(claims: Sequence[Claim]) -> None:
    lines: dict[tuple[str, str, str], int] = {}
    for claim in claims:
        key = claim.model, claim.benchmark, claim.label
        if key in lines:
            raise claim.error("metric", f"line {lines[key]} claims the same. Remove one of them.")
        lines[key] = claim.line
