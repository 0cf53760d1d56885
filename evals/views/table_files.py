"""Writes the rows of any table as CSV, Markdown, a page or Parquet: the same columns in each."""

import csv
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO, StringIO
from typing import Any

from evals.escape import markdown_text, spreadsheet_text, visible
from evals.views.table_page import Row, Rows, as_text, columns, shown, table_page


def flat(row: Row, prefix: str = "") -> dict[str, Any]:
    """A row without mappings inside: `interval: {low: 1}` becomes `interval_low: 1`."""
    values: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{name}_")
        else:
            values[f"{prefix}{name}"] = value
    return values


def as_csv(rows: Rows, title: str) -> str:
    """A header and a line per row, numbers at full precision."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = columns(rows)
    writer.writerow(names)
    for row in rows:
        writer.writerow(_field(row.get(name)) for name in names)
    return text.getvalue()


def as_markdown(rows: Rows, title: str) -> str:
    """A heading and one table; any text in it is shown as text."""
    names = columns(rows)
    lines = [names, ["---"] * len(names)]
    lines += [[markdown_text(shown(row.get(name))) for name in names] for row in rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {markdown_text(visible(title))}\n\n{table}\n"


def as_parquet(rows: Rows, title: str) -> bytes:
    """A column per name, typed by its values; a column of several types is text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for name in columns(rows):
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        plain = kinds <= {int, float} or (len(kinds) == 1 and kinds <= {str, bool})
        # pyarrow refuses a column of whole numbers and text, and types an empty one as null.
        arrays[name] = values if plain and kinds else [as_text(value) for value in values]
        if kinds == {int, float}:
            arrays[name] = [None if value is None else float(value) for value in values]
    table = pa.table({name: pa.array(values) for name, values in arrays.items()})
    out = BytesIO()
    pq.write_table(table.replace_schema_metadata({"title": title}), out)
    return out.getvalue()


FORMATS: dict[str, Callable[[Rows, str], str | bytes]] = {
    "csv": as_csv,
    "markdown": as_markdown,
    "parquet": as_parquet,
}


def contents(
    rows: Callable[[], Rows], title: str, notes: Sequence[str] = ()
) -> dict[str, Callable[[], str | bytes]]:
    """What makes the file of each format, from rows that are worked out only where one is asked for.

    `notes` are for people: the page ends with them.
    """

    def content(write: Callable[[Rows, str], str | bytes]) -> Callable[[], str | bytes]:
        return lambda: write([flat(row) for row in rows()], title)

    files = {name: content(write) for name, write in FORMATS.items()}
    files["html"] = content(lambda flat_rows, title: table_page(flat_rows, title, notes))
    return files


def _field(value: Any) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else spreadsheet_text(str(as_text(value)))
