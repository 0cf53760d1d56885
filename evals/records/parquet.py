"""The table of queries as a parquet file: which columns there are, and what they may hold.

Each query has its keys (the cell that it was scored in), its ids, and either ranks, a value, or the
score and gold label of a pair of texts. What is read was checked for all that a ranking cannot be,
so that nobody has to look at it again.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any, NamedTuple

from evals.counts import counted
from evals.records.manifest import REMEDY
from evals.schema import InvalidError

# Arrow types by name, because pyarrow is imported only where a table is read or written.
KEY_COLUMNS = {"subset": "string", "direction": "string", "dim": "int32", "precision": "string"}
ID_COLUMNS = KEY_COLUMNS | {"query_id": "string", "group_id": "string"}
RANK_COLUMNS = {
    "better": "int64",
    "tied": "int64",
    "tied_relevant": "int64",
    "score": "float32",
    "ndcg10": "float64",
}
VALUE_COLUMNS = {"value": "float64"}
PAIR_COLUMNS = {"score": "float64", "gold": "float64"}
QUERY_COLUMNS = ID_COLUMNS | RANK_COLUMNS
# what some tasks keep of a query beside its ranks
TASK_COLUMNS = {"label": "int32", "average_precision": "float64"}

# any other column is called like a measure, and holds its values
MEASURE_TYPE = "float64"

# A row of the longest ids takes less. It bounds what a small file may unfold to.
MOST_BYTES_PER_ROW = 1 << 14
HEADERS = 1 << 20

Table = Any  # pyarrow.Table


class Bounds(NamedTuple):
    """The least and the largest value of a column."""

    low: float
    high: float


# Counts of documents are exact in float64, and so are their sums.
_COUNT = 2.0**50
# The expected reciprocal rank adds up as many terms as documents tie: 134 million take 5 GB.
_MOST_TIED = 2.0**27
BOUNDS = {
    "better": Bounds(0, _COUNT),
    "tied": Bounds(0, _MOST_TIED),
    # the relevant document itself has its own score
    "tied_relevant": Bounds(1, _MOST_TIED),
    "score": Bounds(-_COUNT, _COUNT),
    "ndcg10": Bounds(0, 1 + 1e-9),
    "average_precision": Bounds(0, 1 + 1e-9),
    "value": Bounds(-_COUNT, _COUNT),
    "gold": Bounds(-_COUNT, _COUNT),
}


def as_parquet(queries: Table | Mapping[str, Any], columns: Mapping[str, str], where: str) -> bytes:
    """A table of these columns as the bytes of a parquet file.

    InvalidError, which names the file `where`, for other columns and for NaN or infinity.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(queries, Mapping):
        columns_by_name = dict(queries)
    else:
        columns_by_name = dict(zip(queries.column_names, queries.columns, strict=True))
    if columns_by_name.keys() != columns.keys():
        raise InvalidError(f"{where}: columns {sorted(columns_by_name)}, not {sorted(columns)}")
    fields = [
        pa.field(name, pa.type_for_alias(kind), nullable=False) for name, kind in columns.items()
    ]
    table = pa.table({name: columns_by_name[name] for name in columns}).cast(pa.schema(fields))
    for name in columns:
        _check_column(name, table[name], where)
    sink = BytesIO()
    strings = [name for name, kind in columns.items() if kind == "string"]
    pq.write_table(
        table, sink, compression="zstd", use_dictionary=strings, write_page_checksum=True
    )
    return sink.getvalue()


def read_parquet(data: bytes, where: str, *, most_rows: int) -> Table:
    """The Arrow table in the bytes of a parquet file that `where` names in messages.

    InvalidError: it is damaged, has more than `most_rows` rows, or other columns, types or values
    than an evaluation writes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(BytesIO(data), page_checksum_verification=True)
        _check_size(file.metadata, where, most_rows)
        table = file.read()
        # offsets and UTF-8, which Arrow trusts otherwise
        table.validate(full=True)
    # a damaged file makes Arrow ask for more memory than there is, and read names that are no text
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InvalidError(f"{where}: no parquet file that can be read ({reason}). {REMEDY}") from (
            error
        )
    _check_columns(table.schema, where)
    for name in table.column_names:
        _check_column(name, table[name], where)
    return table


def _check_size(metadata: Any, where: str, most_rows: int) -> None:
    """Refuse what would unfold to more than it says, before it is unfolded."""
    if metadata.num_rows > most_rows:
        raise InvalidError(
            f"{where}: {counted(metadata.num_rows, 'row')}, and metrics.jsonl counts "
            f"{counted(most_rows, 'query', 'queries')}. {REMEDY}"
        )
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    size = sum(max(group.total_byte_size, 0) for group in groups)
    if size > HEADERS + metadata.num_rows * MOST_BYTES_PER_ROW:
        raise InvalidError(
            f"{where}: {metadata.num_rows:,} rows unfold to {size:,} bytes. {REMEDY}"
        )


def _check_columns(schema: Any, where: str) -> None:
    """Refuse a table without the columns of a kind of task, or with a column of another type."""
    import pyarrow as pa

    names = schema.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidError(f"{where}: the column {twice[0]!r} comes twice. {REMEDY}")
    expected = ID_COLUMNS | _task_columns(set(names), where)
    for name in expected:
        if name not in names:
            raise InvalidError(f"{where}: the column {name!r} is missing. {REMEDY}")
    known = TASK_COLUMNS | VALUE_COLUMNS | PAIR_COLUMNS | expected
    for field in schema:
        kind = known.get(field.name, MEASURE_TYPE)
        if field.type != pa.type_for_alias(kind):
            raise InvalidError(
                f"{where}: the column {field.name!r} is {field.type}, and {kind} is expected. "
                f"{REMEDY}"
            )


def _task_columns(names: set[str], where: str) -> dict[str, str]:
    """The columns of the kind of task that a table is of."""
    if "better" in names:
        return RANK_COLUMNS
    if "value" in names:
        return VALUE_COLUMNS
    if "gold" in names:
        return PAIR_COLUMNS
    columns = ", ".join(sorted(names))
    raise InvalidError(f"{where}: has neither ranks, values nor scores: {columns}. {REMEDY}")


def _check_column(name: str, column: Any, where: str) -> None:
    """Refuse missing values, NaN and infinity, and values that a column cannot have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        raise InvalidError(f"{where}: {name} has {column.null_count:,} missing values. {REMEDY}")
    if pa.types.is_floating(column.type) and not pc.all(pc.is_finite(column), min_count=0).as_py():
        raise InvalidError(f"{where}: {name} holds NaN or infinity. {REMEDY}")
    bounds = BOUNDS.get(name)
    if bounds is None or not len(column):
        return
    least, largest = pc.min_max(column).as_py().values()
    for value in (least, largest):
        if not bounds.low <= value <= bounds.high:
            raise InvalidError(f"{where}: {name} is {value} in a row. {REMEDY}")
