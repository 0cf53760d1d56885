"""The best documents of each query and the judgements of a record: what `--keep-top` adds to it.

best.parquet     a row per query and document, best first
qrels.parquet    a row per judgement
"""

from io import BytesIO
from typing import Any

from evals.records.manifest import REMEDY
from evals.records.parquet import KEY_COLUMNS
from evals.records.record import Run, read_file
from evals.schema import InvalidError, MissingError

BEST, QRELS = "best.parquet", "qrels.parquet"
# Arrow types by name. `rank` counts from 1.
COLUMNS = {
    BEST: KEY_COLUMNS
    | {"query_id": "string", "rank": "int32", "doc_id": "string", "score": "float32"},
    QRELS: {
        "subset": "string",
        "direction": "string",
        "query_id": "string",
        "doc_id": "string",
        "grade": "int32",
    },
}


def as_file(name: str, table: Any) -> bytes:
    """A table of the file's columns as its bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(name)
    sink = BytesIO()
    arrow = pa.table({column: table[column] for column in COLUMNS[name]}).cast(schema)
    pq.write_table(arrow, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def read_rankings(run: Run, name: str) -> Any:
    """The table `name` of a record as an Arrow table.

    MissingError: the record was written without --keep-top. InvalidError: the file was changed, or
    has other columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if name not in run.manifest.files:
        raise MissingError(
            f"{run.path}: keeps no rankings. Evaluate it again with --keep-top 1000; nothing is "
            "encoded again."
        )
    try:
        table = pq.read_table(BytesIO(read_file(run, name)), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise InvalidError(f"{run.path / name}: {error}. {REMEDY}") from error
    if not table.schema.equals(_schema(name)):
        raise InvalidError(f"{run.path / name}: other columns than {', '.join(COLUMNS[name])}.")
    return table


def _schema(name: str) -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(column, pa.type_for_alias(kind), nullable=False)
            for column, kind in COLUMNS[name].items()
        ]
    )
