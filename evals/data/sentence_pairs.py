"""Pairs of sentences with gold scores: a TSV, CSV or JSON lines file, or rows in a program's memory.

Columns are found by the names that STS sets give them. Ids are the places of the pairs, from 0.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evals.counts import counted
from evals.data.checks import check_file_name, text_problem
from evals.data.fields import kind_of
from evals.data.lines import first_line, stream_json, stream_lines
from evals.data.sides import text_side
from evals.schema import InvalidError, TextPairs

# Names of the columns, those of mteb's STS tasks first.
FIRST = ("sentence1", "sentence_1", "sent1", "text1", "first", "a")
SECOND = ("sentence2", "sentence_2", "sent2", "text2", "second", "b")
GOLD = ("score", "label", "similarity", "similarity_score", "relatedness_score", "gold")


class Row(NamedTuple):
    """The cells of a pair by column, and its place in messages."""

    cells: Mapping[str, Any]
    where: str


def load_pairs(file: Path) -> TextPairs:
    """The pairs of a file, plain or gzipped.

    What is in it tells its layout: JSON objects, or a header parted by tabs or by commas. Raises
    MissingError for a file that cannot be read, and InvalidError as `pairs_of` does.
    """
    check_file_name(file)
    head = first_line(file)
    if not head.strip():
        raise InvalidError(f"{file}: begins with an empty line. Write a header, or JSON objects.")
    if head.lstrip().startswith("{"):
        rows = (Row(_object(value, where), where) for value, where in stream_json(file))
        return pairs_of(rows, {"layout": "jsonl", "path": str(file)})
    delimiter = "\t" if "\t" in head else ","
    layout = "tsv" if delimiter == "\t" else "csv"
    return pairs_of(_table_rows(file, delimiter), {"layout": layout, "path": str(file)})


def pairs_of(rows: Iterable[Row], origin: Mapping[str, str]) -> TextPairs:
    """The data of rows that all have one set of columns.

    Raises InvalidError, with the place, for a column that is missing, a text that is blank or none,
    a gold score that is no finite number, fewer than two pairs, and gold scores that are all equal.
    """
    first: list[str] = []
    second: list[str] = []
    gold: list[float] = []
    for row in rows:
        first.append(_text(row, _column(row, FIRST)))
        second.append(_text(row, _column(row, SECOND)))
        gold.append(_number(row, _column(row, GOLD)))
    if len(set(gold)) < 2:
        raise InvalidError(
            f"{origin.get('path', 'the pairs')}: {len(gold)} pairs with {len(set(gold))} gold "
            "scores, and a constant has no correlation. Check the file."
        )
    # As in mteb's STS tasks, pairs have no ids but their places.
    ids = [str(place) for place in range(len(gold))]
    return TextPairs(
        text_side(first, ids), text_side(second, ids), np.array(gold, dtype=np.float64), origin
    )


def _table_rows(file: Path, delimiter: str) -> Iterator[Row]:
    """The lines below the header, each with as many cells."""
    lines = _csv_lines(file) if delimiter == "," else _tsv_lines(file)
    header, _ = next(lines)
    names = [name.strip() for name in header]
    for cells, where in lines:
        if len(cells) != len(names):
            raise InvalidError(
                f"{where}: {counted(len(cells), 'cell')}, where the header has {len(names)} "
                f"({', '.join(names)}). Correct the line, or put quotes around cells with commas."
            )
        yield Row(dict(zip(names, cells, strict=True)), where)


def _tsv_lines(file: Path) -> Iterator[tuple[list[str], str]]:
    # Without quotes, as STS files are: sentences begin with quotation marks that do not end.
    for line in stream_lines(file):
        yield line.text.split("\t"), line.where


def _csv_lines(file: Path) -> Iterator[tuple[list[str], str]]:
    # Cells in quotes may go over several lines, which csv must see as one text.
    text = "\n".join(line.text for line in stream_lines(file))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            yield cells, f"{file}, line {reader.line_num}"
    except csv.Error as error:
        raise InvalidError(
            f"{file}, line {reader.line_num}: not CSV ({error}). Correct the quotes."
        ) from None


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidError(f"{where}: must be an object, and is {kind_of(value)}. Correct it.")
    return value


def _column(row: Row, names: Sequence[str]) -> str:
    """The first of these columns that the row has."""
    by_folded = {name.casefold(): name for name in row.cells}
    present = [name for name in names if name in by_folded]
    if not present:
        there = ", ".join(list(row.cells)[:10]) or "none"
        raise InvalidError(
            f"{row.where}: no column {' or '.join(names[:3])} among {there}. Name the columns "
            f"{FIRST[0]}, {SECOND[0]} and {GOLD[0]}."
        )
    return by_folded[present[0]]


def _text(row: Row, column: str) -> str:
    text = row.cells[column]
    problem = text_problem(text)
    if problem:
        raise InvalidError(f"{row.where}: `{column}` {problem}. Correct or remove the pair.")
    return str(text)


def _number(row: Row, column: str) -> float:
    value = row.cells[column]
    try:
        # True is 1 to Python, and no grade of similarity.
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidError(
            f"{row.where}: `{column}` is {value!r}, which is no finite number. Correct it."
        )
    return number
