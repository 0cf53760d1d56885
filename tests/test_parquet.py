"""Damaged parquet files end in typed errors that name the file."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evals.data import tables
from evals.records.parquet import read_parquet
from evals.schema import InvalidError


def damaged_name() -> bytes:
    """A column's name in the file's footer is no UTF-8, which pyarrow meets when it opens the file."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"precision": ["float32"]}), sink, store_schema=False)
    return sink.getvalue().replace(b"precision", b"pre\xf4ision")


def test_a_column_whose_name_is_no_text_is_refused_in_a_record():
    with pytest.raises(InvalidError, match=r"queries\.parquet: no parquet file that can be read"):
        read_parquet(damaged_name(), "queries.parquet", most_rows=1)


def test_a_column_whose_name_is_no_text_is_refused_in_data(tmp_path):
    (tmp_path / "captions.parquet").write_bytes(damaged_name())
    with pytest.raises(InvalidError, match=r"captions\.parquet: not readable as parquet"):
        tables.read_parquet(tmp_path / "captions.parquet")
