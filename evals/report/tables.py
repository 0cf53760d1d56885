"""The published tables of configs/tables/*.yaml as cells: each a selector over records, and the value that was printed."""

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from evals.config.catalog import Count, Row, Text, nearest, read_rows
from evals.paths import configs
from evals.report.names import Selector, Wanted, records_of, selector
from evals.report.published import Published, published, slug
from evals.schema import ConfigError

Axis = Literal["model", "benchmark", "direction", "metric", "language", "dim"]
Points = Annotated[float, Field(ge=0, lt=10)]
Notes = Annotated[tuple[Text, ...], Field(strict=False)]


class Part(Row):
    """What a row, a column, a section or a whole table says of its cells.

    `change` names a column of changes in per cent, as published, `relative_to` the model they are relative to.
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
    """A published table, see the head of configs/tables/v1.yaml."""

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
    """One number of a table. `base` is set for a change in per cent: what it is relative to, with that model's records."""

    published: Published
    selector: Selector
    records: tuple[str, ...]
    base: tuple[str, ...] | None
    tolerance: float


class Line(NamedTuple):
    """A row of a table; a cell is None where the table has none."""

    label: str
    footnotes: tuple[str, ...]
    cells: tuple[Cell | None, ...]


class Table(NamedTuple):
    """A table in its own layout: sections of lines under the columns."""

    row: TableRow
    sections: tuple[tuple[str | None, tuple[str, ...], tuple[Line, ...]], ...]

    @property
    def cells(self) -> Iterator[tuple[str, Cell]]:
        """All cells with the label of their place: section, row and column."""
        for title, _, lines in self.sections:
            for line in lines:
                for column, cell in zip(self.row.columns, line.cells, strict=True):
                    if cell:
                        yield " / ".join(filter(None, (title, line.label, column.label))), cell

    @property
    def footnotes(self) -> list[str]:
        """All footnotes, in the order a reader meets them."""
        of_columns = [note for column in self.row.columns for note in column.footnotes]
        of_lines = [
            note
            for _, notes, lines in self.sections
            for note in (*notes, *(n for line in lines for n in line.footnotes))
        ]
        return list(dict.fromkeys([*self.row.footnotes, *of_columns, *of_lines]))


def table_names() -> list[str]:
    """The names of all tables, in their order."""
    return list(_rows())


def table(name: str) -> Table:
    """A table by name, every cell resolved. ConfigError for an unknown name, and for rows that name what there is not."""
    rows = _rows()
    if name not in rows:
        raise ConfigError(
            f"No table {name!r}.{nearest(name, rows)} The tables are: {', '.join(rows)}."
        )
    row = rows[name]
    if name not in published():
        raise ConfigError(
            f"{name}: configs/published/*.csv hold no numbers of this table. Add them, or remove the table."
        )
    sections = [Section(title="-", rows=row.rows)] if row.rows else row.sections
    found = Table(
        row,
        tuple(
            (
                None if row.rows else s.title,
                s.where.footnotes,
                tuple(_line(row, s, entry) for entry in s.rows),
            )
            for s in sections
        ),
    )
    if unknown := [note for note in found.footnotes if note not in footnotes()]:
        raise ConfigError(f"{name}: no footnote {unknown[0]!r}.{nearest(unknown[0], footnotes())}")
    return found


@cache
def footnotes() -> dict[str, Footnote]:
    """All footnotes by name."""
    return read_rows(configs() / "published" / "footnotes.yaml", Footnote)


@cache
def _rows() -> dict[str, TableRow]:
    rows: dict[str, TableRow] = {}
    for file in (configs() / "tables" / f"{family}.yaml" for family in ("v1", "v2", "later")):
        found = read_rows(file, TableRow)
        if twice := rows.keys() & found.keys():
            raise ConfigError(f"{file}: the table {min(twice)} is in another file too. Rename one.")
        rows |= found
    return rows


def _line(row: TableRow, section: Section, entry: Entry) -> Line:
    cells = tuple(
        _cell(row, _sum(row, section, entry, column), f"{entry.label} / {column.label}")
        for column in row.columns
    )
    if not any(cells):
        raise ConfigError(
            f"{row.name}, row {entry.label!r}: nothing is published of it. Correct the row or the CSV."
        )
    return Line(entry.label, entry.footnotes, cells)


def _sum(row: TableRow, section: Section, entry: Entry, column: Entry) -> dict[str, Any]:
    """What is said of a cell; the later part wins."""
    said: dict[str, Any] = {row.rows_are: entry.label, row.columns_are: column.label}
    for part in (row.where, section.where, entry, column):
        said |= {
            name: getattr(part, name)
            for name in Part.model_fields
            if getattr(part, name) is not None
        }
    return said


def _cell(row: TableRow, said: dict[str, Any], where: str) -> Cell | None:
    change = said.get("change")
    if missing := [name for name in ("model", "benchmark", "metric") if name not in said]:
        raise ConfigError(
            f"{row.name}, {where}: {missing[0]} is not said by the table, its section, row or column."
        )
    printed = _printed(row, said | ({"metric": change} if change else {}), where)
    if printed is None:
        return None
    known = records_of(said["model"])
    wanted = Wanted(said["metric"], said.get("direction"), said.get("language"), said.get("dim"))
    found = selector(said["benchmark"], wanted)
    base = None
    if change:
        if "relative_to" not in said or row.change_tolerance is None:
            raise ConfigError(
                f"{row.name}, {where}: a change needs `relative_to`, and the table a `change_tolerance`."
            )
        other = records_of(said["relative_to"])
        base, known = (
            other.records,
            known if known.not_run else known.model_copy(update={"not_run": other.not_run}),
        )
    if known.not_run:
        found = found._replace(not_run=known.not_run)
    tolerance = (row.change_tolerance if change else None) or row.tolerance
    return Cell(printed, found, known.records, base, tolerance)


def _printed(row: TableRow, said: dict[str, Any], where: str) -> Published | None:
    """The printed number that a cell means; None where the table has a dash. ConfigError when it could be several."""
    key = slug(said["model"]), slug(said["benchmark"]), said["metric"]
    asked = {name: str(said[name]) for name in ("direction", "language", "dim") if said.get(name)}
    every = _by_key(row.name).get(key, [])
    found = [
        number
        for number in every
        if all(getattr(number, name) == value for name, value in asked.items())
    ]
    if len(found) > 1:
        raise ConfigError(
            f"{row.name}, {where}: {len(found)} published numbers are meant. Say direction, language or dim too."
        )
    return found[0] if found else None


@cache
def _by_key(name: str) -> dict[tuple[str, str, str], list[Published]]:
    """The printed numbers of a table by model, benchmark and metric."""
    found: dict[tuple[str, str, str], list[Published]] = {}
    for number in published()[name]:
        found.setdefault((slug(number.model), slug(number.benchmark), number.metric), []).append(
            number
        )
    return found
