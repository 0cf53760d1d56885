"""Lays out the published tables of configs/tables/*.yaml as cells.

A cell holds the number that was printed, and a selector that finds the same number in records.
"""

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from evals.config.rows import Count, Row, Text, nearest, read_rows
from evals.paths import configs
from evals.report.checkpoints import Pinned, model_of, pinned
from evals.report.names import Meaning, Selector, selector
from evals.report.published_csv import Published, published, slug
from evals.schema import ConfigError

Axis = Literal["model", "benchmark", "direction", "metric", "language", "dim"]
Points = Annotated[float, Field(ge=0, lt=10)]
Notes = Annotated[tuple[Text, ...], Field(strict=False)]
# the files of configs/tables, in the order of the report
FAMILIES = ("v1", "v2", "later")


class Part(Row):
    """What a row, a column, a section or a whole table says of its cells.

    `change` names a column of changes in per cent, as published, `relative_to` the model that
    they are relative to.
    """

    model: Text | None = None
    benchmark: Text | None = None
    direction: Literal["t2i", "i2t"] | None = None
    metric: Text | None = None
    language: Text | None = None
    dim: Count | None = None
    relative_to: Text | None = None
    change: Text | None = None
    footnotes: Notes = ()


class Entry(Part):
    """A row or a column with its label."""

    label: Text


def _entry(value: Any) -> Any:
    # Most rows and columns say nothing but their label: `COCO` for `{label: COCO}`.
    return {"label": value} if isinstance(value, str) else value


Entries = Annotated[
    tuple[Annotated[Entry, BeforeValidator(_entry)], ...], Field(strict=False, min_length=1)
]


class Section(Row):
    """Rows under a heading."""

    title: Text
    where: Part = Part()
    rows: Entries


class TableRow(Row):
    """A published table; the head of configs/tables/v1.yaml describes the fields."""

    name: str
    title: Text
    rows_are: Axis
    columns_are: Axis
    where: Part = Part()
    rows: Entries | None = None
    sections: Annotated[tuple[Section, ...], Field(strict=False)] = ()
    columns: Entries
    tolerance: Points
    change_tolerance: Points | None = None
    reason: Text
    footnotes: Notes = ()

    @model_validator(mode="after")
    def _rows_or_sections(self) -> "TableRow":
        if (self.rows is None) == (not self.sections):
            raise ValueError("needs either `rows` or `sections`")
        return self


class Footnote(Row):
    """What a reader must know."""

    name: str
    text: Text


class Cell(NamedTuple):
    """One number of a table; `checkpoint` is the published model's, None when it is not run.

    `base` is set for a change in per cent: the checkpoint that it is relative to.
    """

    published: Published
    selector: Selector
    checkpoint: Pinned | None
    base: Pinned | None
    tolerance: float


class Line(NamedTuple):
    """A row of a table; a cell is None where the table has none."""

    label: str
    footnotes: tuple[str, ...]
    cells: tuple[Cell | None, ...]


class Block(NamedTuple):
    """Lines under a heading; `title` is None for a table without sections."""

    title: str | None
    footnotes: tuple[str, ...]
    lines: tuple[Line, ...]


class Table(NamedTuple):
    """A table in its own layout: blocks of lines under the columns."""

    row: TableRow
    sections: tuple[Block, ...]

    @property
    def cells(self) -> Iterator[tuple[str, Cell]]:
        """All cells with the label of their place: section, row and column."""
        for block in self.sections:
            for line in block.lines:
                for column, cell in zip(self.row.columns, line.cells, strict=True):
                    if cell:
                        labels = filter(None, (block.title, line.label, column.label))
                        yield " / ".join(labels), cell

    @property
    def footnotes(self) -> list[str]:
        """The names of all footnotes, in the order that a reader meets them."""
        names = [*self.row.footnotes]
        for column in self.row.columns:
            names += column.footnotes
        for block in self.sections:
            names += block.footnotes
            for line in block.lines:
                names += line.footnotes
        return list(dict.fromkeys(names))


def table_names() -> list[str]:
    """The names of all tables, in the order of the report."""
    return list(_rows())


def table(name: str) -> Table:
    """A table by name, each cell resolved.

    ConfigError for an unknown name, and for rows that name what there is not.
    """
    rows = _rows()
    if name not in rows:
        names = ", ".join(rows)
        raise ConfigError(f"No table {name!r}.{nearest(name, rows)} The tables are: {names}.")
    row = rows[name]
    if name not in published():
        raise ConfigError(
            f"{name}: configs/published/*.csv hold no numbers of this table. "
            "Add them, or remove the table."
        )
    if row.rows:
        # a table without headings is one block without a title
        alone = Section(title="-", rows=row.rows)
        resolved = Table(row, (_block(row, alone)._replace(title=None),))
    else:
        resolved = Table(row, tuple(_block(row, section) for section in row.sections))
    for note in resolved.footnotes:
        if note not in footnotes():
            raise ConfigError(f"{name}: no footnote {note!r}.{nearest(note, footnotes())}")
    return resolved


@cache
def footnotes() -> dict[str, Footnote]:
    """All footnotes by name."""
    return read_rows(configs() / "published" / "footnotes.yaml", Footnote)


@cache
def _rows() -> dict[str, TableRow]:
    rows: dict[str, TableRow] = {}
    for family in FAMILIES:
        file = configs() / "tables" / f"{family}.yaml"
        new = read_rows(file, TableRow)
        twice = rows.keys() & new.keys()
        if twice:
            raise ConfigError(f"{file}: the table {min(twice)} is in another file too. Rename one.")
        rows |= new
    return rows


def _block(row: TableRow, section: Section) -> Block:
    lines = tuple(_line(row, section, entry) for entry in section.rows)
    return Block(section.title, section.where.footnotes, lines)


def _line(row: TableRow, section: Section, entry: Entry) -> Line:
    cells = tuple(
        _cell(row, _merged(row, section, entry, column), f"{entry.label} / {column.label}")
        for column in row.columns
    )
    if not any(cells):
        raise ConfigError(
            f"{row.name}, row {entry.label!r}: nothing is published of it. "
            "Correct the row or the CSV."
        )
    return Line(entry.label, entry.footnotes, cells)


def _merged(row: TableRow, section: Section, entry: Entry, column: Entry) -> dict[str, Any]:
    """What table, section, row and column say of a cell; the later part wins."""
    # the labels themselves say what rows and columns are, unless a part says it otherwise
    fields: dict[str, Any] = {row.rows_are: entry.label, row.columns_are: column.label}
    for part in (row.where, section.where, entry, column):
        for name in Part.model_fields:
            value = getattr(part, name)
            if value is not None:
                fields[name] = value
    return fields


def _cell(row: TableRow, fields: dict[str, Any], where: str) -> Cell | None:
    for name in ("model", "benchmark", "metric"):
        if name not in fields:
            raise ConfigError(
                f"{row.name}, {where}: {name} is not said by the table, its section, row or column."
            )
    change = fields.get("change")
    printed = _printed(row, fields | ({"metric": change} if change else {}), where)
    if printed is None:
        return None
    model = model_of(fields["model"])
    place = (fields.get(name) for name in ("direction", "language", "dim"))
    numbers = selector(fields["benchmark"], Meaning(fields["metric"], *place))
    if not change:
        not_run = model.not_run or numbers.not_run
        number = numbers._replace(not_run=not_run)
        return Cell(printed, number, pinned(model), None, row.tolerance)
    if "relative_to" not in fields or row.change_tolerance is None:
        raise ConfigError(
            f"{row.name}, {where}: a change needs `relative_to`, and the table a `change_tolerance`."
        )
    # Both models must be runnable: a change is made of two measured scores.
    base = model_of(fields["relative_to"])
    not_run = model.not_run or base.not_run or numbers.not_run
    number = numbers._replace(not_run=not_run)
    points = row.change_tolerance or row.tolerance
    return Cell(printed, number, pinned(model), pinned(base), points)


def _printed(row: TableRow, fields: dict[str, Any], where: str) -> Published | None:
    """The printed number of a cell; None where the table has a dash. ConfigError for several."""
    key = slug(fields["model"]), slug(fields["benchmark"]), fields["metric"]
    numbers = _by_key(row.name).get(key, [])
    for name in ("direction", "language", "dim"):
        if fields.get(name):
            value = str(fields[name])
            numbers = [number for number in numbers if getattr(number, name) == value]
    if len(numbers) > 1:
        raise ConfigError(
            f"{row.name}, {where}: {len(numbers)} published numbers are meant. "
            "Say direction, language or dim too."
        )
    return numbers[0] if numbers else None


# 1,400 numbers, and 1,200 cells that each look for one.
@cache
def _by_key(name: str) -> dict[tuple[str, str, str], list[Published]]:
    """The printed numbers of a table by model, benchmark and metric."""
    numbers: dict[tuple[str, str, str], list[Published]] = {}
    for number in published()[name]:
        key = slug(number.model), slug(number.benchmark), number.metric
        numbers.setdefault(key, []).append(number)
    return numbers
