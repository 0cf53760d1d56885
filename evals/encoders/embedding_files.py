"""Embeddings that another program made, read from a file or a folder: `--model embeddings:PATH`.

    rows.parquet       columns `id` and `embedding` (lists of floats), and `kind` (image or text)
    rows.npz           arrays `images`, `image_ids`, `texts`, `text_ids`
    rows.safetensors   tensors `images` and `texts`; ids as JSON lists in the metadata `image_ids`, `text_ids`
    DIR                images.npy with images.txt, texts.npy with texts.txt: one id per line

Rows are found by the ids of the items, which `python -m evals.items` lists.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from evals.encoders.objects import ArrayEncoder
from evals.reading import parse_json, read_lines
from evals.schema import InvalidError, MissingError

KINDS = ("image", "text")


class Rows(NamedTuple):
    """The rows of one kind, and the id of each."""

    ids: Sequence[str]
    rows: Float[np.ndarray, "n d"]


def embedding_file(name: str, spec: str) -> ArrayEncoder:
    """The rows of a file as an encoder that looks them up.

    Raises MissingError for a path that is not there; InvalidError, naming the file, for another
    format, ids that come twice, rows without an id, NaN and infinity, and widths that differ.
    """
    by_kind = _read(spec)
    return ArrayEncoder(
        {kind: entry.rows for kind, entry in by_kind.items()},
        {kind: entry.ids for kind, entry in by_kind.items()},
        name=name,
        source={"spec": f"embeddings:{spec}"},
    )


def stored_rows(spec: str) -> dict[str, Float[np.ndarray, "n d"]]:
    """The rows of each kind, image or text, whatever their ids; errors as those of `embedding_file`.

    A single `.npy` holds rows of images, which have no ids and are not read but mapped into memory:
    it may be larger than that. InvalidError also for a table that does not say of which kind a row
    is: no id is looked for here, which would tell.
    """
    path = Path(spec).expanduser()
    if path.suffix != ".npy" or not path.is_file():
        by_kind = _read(spec)
        if path.suffix == ".parquet":
            _check_has_kinds(path)
        return {kind: entry.rows for kind, entry in by_kind.items()}
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InvalidError(f"{path}: no readable .npy: {error}") from error
    _check_shape(rows, f"{path}: the images")
    return {"image": rows}


def _read(spec: str) -> dict[str, Rows]:
    """The rows of each kind that a file or folder holds, with their ids."""
    path = Path(spec).expanduser()
    if not path.exists():
        raise MissingError(f"embeddings:{spec}: no such file or folder.")
    read = _read_folder if path.is_dir() else READERS.get(path.suffix)
    if read is None:
        raise InvalidError(
            f"{path}: embeddings are read from {', '.join(READERS)} and from folders of .npy. "
            "Save them in one of these."
        )
    by_kind = {kind: _checked(rows, path, kind) for kind, rows in read(path).items()}
    if not by_kind:
        raise InvalidError(f"{path}: holds no rows. See docs/scoring.md for its layout.")
    return by_kind


def _check_shape(rows: np.ndarray, where: str) -> None:
    if rows.ndim != 2 or rows.dtype.kind != "f" or not rows.shape[1]:
        raise InvalidError(
            f"{where} are {rows.dtype} of shape {rows.shape}, not floats of shape (n, d)."
        )


def _checked(entry: Rows, path: Path, kind: str) -> Rows:
    ids, rows = entry
    where = f"{path}: the {kind}s"
    _check_shape(rows, where)
    if len(ids) != len(rows):
        raise InvalidError(f"{where} have {len(rows):,} rows and {len(ids):,} ids.")
    # float64 beyond float32's range would turn infinite only after it is converted
    with np.errstate(over="ignore"):
        rows = rows.astype(np.float32)
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if broken.size:
        raise InvalidError(f"{where}: the row of {ids[broken[0]]!r} holds NaN or infinity.")
    first: dict[str, int] = {}
    for place, item in enumerate(ids):
        if first.setdefault(item, place) != place:
            raise InvalidError(
                f"{where}: {item!r} is the id of rows {first[item]} and {place}. Keep one."
            )
    return Rows(ids, rows)


def _read_parquet(path: Path) -> dict[str, Rows]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InvalidError(f"{path}: no readable Parquet: {error}") from error
    lacking = {"id", "embedding"} - set(table.column_names)
    if lacking:
        raise InvalidError(
            f"{path}: has no column {', '.join(sorted(lacking))}; it has "
            f"{', '.join(table.column_names)}."
        )
    rows = _matrix(table["embedding"].combine_chunks(), path)
    ids = _strings(table["id"].to_pylist(), path)
    if "kind" not in table.column_names:
        # ids of one kind only, or the two kinds share none: either way an id means one row
        return dict.fromkeys(KINDS, Rows(ids, rows))
    kinds = np.array(table["kind"].to_pylist())
    unknown = set(kinds.tolist()) - set(KINDS)
    if unknown:
        raise InvalidError(f"{path}: the column `kind` holds {unknown.pop()!r}, not image or text.")
    places = {kind: np.flatnonzero(kinds == kind) for kind in KINDS}
    return {
        kind: Rows([ids[i] for i in rows_of_kind], rows[rows_of_kind])
        for kind, rows_of_kind in places.items()
        if rows_of_kind.size
    }


def _check_has_kinds(path: Path) -> None:
    import pyarrow.parquet as pq

    if "kind" not in pq.read_schema(path).names:
        raise InvalidError(
            f"{path}: has no column `kind`, so each row would be taken for an image and for a text. "
            "Add it, with image or text for every row."
        )


def _matrix(column: Any, path: Path) -> Float[np.ndarray, "n d"]:
    """A column of lists as an array; all lists have one length."""
    import pyarrow as pa

    is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    if column.null_count or not (is_list or pa.types.is_fixed_size_list(column.type)):
        raise InvalidError(f"{path}: the column `embedding` is {column.type}, not lists of floats.")
    flat = column.flatten()
    if flat.null_count or len(column) == 0 or len(flat) % len(column):
        raise InvalidError(f"{path}: the lists of `embedding` have gaps or differ in length.")
    if is_list and len(set(np.diff(column.offsets.to_numpy()).tolist())) > 1:
        raise InvalidError(f"{path}: the lists of `embedding` differ in length.")
    values: np.ndarray = flat.to_numpy(zero_copy_only=False)
    return values.reshape(len(column), -1)


def _read_npz(path: Path) -> dict[str, Rows]:
    try:
        # no pickle: an array of objects could run code
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError) as error:
        raise InvalidError(f"{path}: no readable .npz without pickled objects: {error}") from error
    return _by_kind(arrays, {name: list(ids) for name, ids in arrays.items()}, path)


def _read_safetensors(path: Path) -> dict[str, Rows]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InvalidError(f"{path}: no readable safetensors: {error}") from error
    ids = {
        name: parse_json(text, f"{path}, metadata {name}", error=InvalidError)
        for name, text in metadata.items()
        if name in ("image_ids", "text_ids")
    }
    return _by_kind(arrays, ids, path)


def _by_kind(
    arrays: Mapping[str, np.ndarray], ids: Mapping[str, Any], path: Path
) -> dict[str, Rows]:
    """`images` and `texts` with `image_ids` and `text_ids`; one kind alone will do."""
    by_kind = {}
    for kind in KINDS:
        if f"{kind}s" not in arrays:
            continue
        if f"{kind}_ids" not in ids:
            raise InvalidError(f"{path}: `{kind}s` has no `{kind}_ids`.")
        by_kind[kind] = Rows(_strings(ids[f"{kind}_ids"], path), arrays[f"{kind}s"])
    return by_kind


def _read_folder(path: Path) -> dict[str, Rows]:
    by_kind = {}
    for kind in KINDS:
        array, list_of_ids = path / f"{kind}s.npy", path / f"{kind}s.txt"
        if not array.is_file():
            continue
        if not list_of_ids.is_file():
            raise InvalidError(f"{list_of_ids}: missing. Write the id of each row, one per line.")
        try:
            rows = np.load(array, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise InvalidError(f"{array}: no readable .npy: {error}") from error
        by_kind[kind] = Rows([line.text for line in read_lines(list_of_ids)], rows)
    return by_kind


def _strings(ids: Any, path: Path) -> list[str]:
    """Ids as text. A number is no id: 7 and 007 would become one."""
    for item in ids if isinstance(ids, list) else [ids]:
        if not isinstance(item, str):
            raise InvalidError(
                f"{path}: the id {json.dumps(item, default=str)} is no text. Save ids as strings."
            )
    return [str(item) for item in ids]


READERS: dict[str, Callable[[Path], dict[str, Rows]]] = {
    ".parquet": _read_parquet,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
}
