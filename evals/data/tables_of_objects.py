"""Tables in a program's memory: sets of `datasets`, frames of pandas, lists of rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from evals.data.columns import Table
from evals.data.datasets_library import split_of, table_of_dataset
from evals.data.fields import kind_of
from evals.data.table_files import table_of_entries
from evals.schema import InvalidError


def is_data(value: Any) -> bool:
    """Whether a value is data of a program rather than the name of some."""
    return _library(value) in ("datasets", "pandas") or isinstance(value, list | tuple)


def table_of(data: Any, name: str, split: str | None = None) -> Table:
    """The rows of data that a program holds.

    It is a Dataset, DatasetDict or their iterable kinds, a DataFrame, a list of dicts, or a list of
    pairs of an image and its captions. InvalidError for anything else; ConfigError where it has
    several splits and none is named.
    """
    if _library(data) == "datasets":
        # A DatasetDict is a dict, and so is its kind for streams.
        chosen = split_of(data, split, name) if isinstance(data, Mapping) else data
        return table_of_dataset(chosen, name)
    if _library(data) == "pandas":
        # Two columns of one name are a frame of their own, and neither is meant.
        if not data.columns.is_unique:
            raise InvalidError(f"{name}: two columns have one name. Rename one, or drop it.")
        # By position: the index of a frame that was filtered is no range.
        columns = {str(column): list(data[column]) for column in data.columns}
        return Table(name, columns, lambda row: f"{name}, row {row}")
    if not isinstance(data, Sequence) or not data:
        raise InvalidError(
            f"{name}: is {kind_of(data)}, or is empty. Give a Dataset, a DataFrame, a list of "
            "dicts, or a list of (image, captions)."
        )
    return _table_of_list(data, name)


def _table_of_list(data: Sequence[Any], name: str) -> Table:
    # A pair may be of any two values; what they are is seen when columns are chosen.
    rows: list[Any] = []
    for number, row in enumerate(data):
        if isinstance(row, tuple) and len(row) == 2:
            rows.append({"image": row[0], "captions": row[1]})
        elif isinstance(row, Mapping):
            rows.append(row)
        else:
            raise InvalidError(
                f"{name}, row {number}: is {kind_of(row)}, neither a dict nor a pair of an image "
                "and its captions. Correct it."
            )
    return table_of_entries(name, rows, [f"{name}, row {number}" for number in range(len(rows))])


def _library(value: Any) -> str:
    """The package that the type of a value comes from, which is imported already where it has one."""
    # By name: importing pandas and `datasets` to ask isinstance would take seconds.
    return type(value).__module__.partition(".")[0]
