"""Tables of parquet repos on the Hub, and their columns with the types that they must have."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from evals.data.checks import check_ids
from evals.data.fields import kind_of
from evals.data.repos import (
    CHECK_COMMIT,
    Repo,
    refuse_damaged,
    refuse_missing_shards,
    snapshot,
)
from evals.reading import read_json
from evals.schema import ConfigError, InvalidError, Source


def table_of(repo: Repo, config: str, source: Source, subset: str) -> Any:
    """All rows of a config, from the split of the source.

    Without it the split that is named like the subset serves, or the only one there is.
    MissingError: a file cannot be had. ConfigError: there is no such split. InvalidError: no such
    config, or a file that is damaged.
    """
    import pyarrow as pa

    # Names of splits are those of the repo's card, which need not be those of the benchmark.
    splits = repo.configs.get(config)
    if splits is None:
        raise InvalidError(
            f"{repo.name}: no config {config!r} among {', '.join(repo.configs)}. {CHECK_COMMIT}"
        )
    split = next((name for name in (source.split, subset) if name in splits), None)
    if split is None and len(splits) > 1:
        raise ConfigError(
            f"{repo.name}: no split {source.split!r} in config {config!r}, which has "
            f"{', '.join(splits)}. Correct the row."
        )
    patterns = splits[split or next(iter(splits))]
    folder = snapshot(repo, list(patterns))
    # The cache may hold files of other configs and splits at this commit.
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))
    files = [folder / name for name in names if any(fnmatchcase(name, p) for p in patterns)]
    refuse_missing_shards(repo, files, patterns)
    for file in files:
        refuse_damaged(file)
    try:
        return pa.concat_tables([read_parquet(file) for file in files])
    except pa.ArrowInvalid as error:
        raise InvalidError(
            f"{repo.name}: the files of {config!r} have different columns ({error}). {CHECK_COMMIT}"
        ) from None


def image_column(
    table: Any, ids: Sequence[str], repo: Repo, names: Sequence[str] = ("image",)
) -> Any:
    """The stored bytes of the first of the columns `names` that there is, undecoded."""
    import pyarrow.compute as pc
    import pyarrow.types as types

    column = next((table[name] for name in names if name in table.column_names), None)
    if column is not None and types.is_struct(column.type):
        has_bytes = column.type.get_field_index("bytes") >= 0
        column = pc.struct_field(column, "bytes") if has_bytes else None
    if column is None or not (types.is_binary(column.type) or types.is_large_binary(column.type)):
        raise InvalidError(
            f"{repo.name}: no column `{names[0]}` of encoded images among "
            f"{', '.join(table.column_names)}. {CHECK_COMMIT}"
        )
    if column.null_count:
        first = column.is_null().to_pylist().index(True)
        raise InvalidError(f"{repo.name}: image {ids[first]!r} is empty. {CHECK_COMMIT}")
    return column


def label_names(table: Any, column: str, place: str) -> list[str] | None:
    """The names of labels in what `datasets` writes into the head of a parquet file; None: none."""
    head = (table.schema.metadata or {}).get(b"huggingface")
    if head is None:
        return None
    value = read_json(head, f"{place}, features in the head of its parquet files")
    for key in ("info", "features", column, "names"):
        value = value.get(key) if isinstance(value, dict) else None
    return list(map(str, value)) if isinstance(value, list) and value else None


def column_of(table: Any, name: str, repo: Repo) -> list[Any]:
    """The values of a column, also called `_name`; InvalidError when there is none, or a null."""
    present = next((n for n in (f"_{name}", name) if n in table.column_names), None)
    if present is None:
        raise InvalidError(
            f"{repo.name}: no column `{name}` among {', '.join(table.column_names)}. {CHECK_COMMIT}"
        )
    if table[present].null_count:
        raise InvalidError(
            f"{repo.name}: {table[present].null_count} empty cells in column `{name}`. "
            f"{CHECK_COMMIT}"
        )
    values: list[Any] = table[present].to_pylist()
    return values


def ids_of(table: Any, repo: Repo, what: str) -> list[str]:
    """The column of ids, each of which comes once."""
    ids = [
        id_of(value, f"{repo.name}, row {number}, column id")
        for number, value in enumerate(column_of(table, "id", repo))
    ]
    places = (f"{repo.name}, {what} row {number}" for number in range(len(ids)))
    check_ids(zip(ids, places, strict=True), what=what)
    return ids


def id_of(value: Any, where: str) -> str:
    """An id as text; floats are refused, for 1.0 and 1 would be two ids, and NaN is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InvalidError(
        f"{where}: the id is {kind_of(value)}, neither a string nor a whole number. {CHECK_COMMIT}"
    )


def read_parquet(file: Path) -> Any:
    """The whole table of a parquet file. InvalidError: it is none, or is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file).read()
        # Else strings that are not UTF-8 end in a bare error where they are used.
        table.validate(full=True)
    # names of columns that are no text, and sizes beyond all memory
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        raise InvalidError(
            f"{file}: not readable as parquet ({error}). Delete {file.resolve()} and run again."
        ) from None
    return table
