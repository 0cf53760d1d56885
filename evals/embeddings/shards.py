"""A shard on disk: some hundred rows, and a sidecar that describes and thereby commits them.

    <key>/<shard>.safetensors  the rows, float32 and full width; the metadata names the key
    <key>/<shard>.json         the key, the content hash of each row's item, the file's sha256

Under the key of a multi-vector model `offsets` lie beside the rows: those of item i are
`rows[offsets[i] : offsets[i + 1]]`, int64.

A shard is called by the hash of its items, so that two writers cannot disagree about it. Under
each key there may be one of the same name. The key within tells them apart wherever they are
copied or renamed to.

Shapes: n rows or items, d dimensions.
"""

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeGuard

import numpy as np
from jaxtyping import Float, Float32

from evals.embeddings.keys import SCHEMA, Key, canonical_json
from evals.files import put_if_absent, write_atomically
from evals.reading import read_json
from evals.schema import InvalidError, Vectors

KEY_FILE = "key.json"
log = logging.getLogger(__name__)


class DamagedError(Exception):
    """A shard that is not what was written under its key, and why."""


class Sidecar(NamedTuple):
    """The sha256 of the file of rows, and the content hash of the item of each row."""

    sha256: str
    items: list[str]


def write_key(folder: Path, key: Key) -> None:
    """Say in clear what the folder holds.

    A `key.json` that is there and says something else is set aside with a warning.
    """
    file = folder / KEY_FILE
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        text = None
    if text == key.text:
        return
    if text is not None:
        set_file_aside(file, "not the key that its folder is named by; written anew")
    write_atomically(file, key.text)


def write_shard(
    folder: Path, items: Sequence[str], encoded: Float[np.ndarray, "n d"] | Vectors
) -> None:
    """Store rows, one or several per item, under the key that the folder is named by.

    A shard of these items that is committed stays as it is: whoever was first was right.
    """
    from safetensors.numpy import save

    name = name_of(items)
    tensors = vars(encoded) if isinstance(encoded, Vectors) else {"rows": encoded}
    contiguous = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    data = save(contiguous, metadata={"key": folder.name})
    sidecar = {
        "schema": SCHEMA,
        "key": folder.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "items": list(items),
    }
    # the rows first: whoever sees the sidecar can read them
    committed, rows_file = folder / f"{name}.json", folder / f"{name}.safetensors"
    if not put_if_absent(rows_file, data) and not committed.exists():
        write_atomically(rows_file, data)  # of a process that was killed before it committed them
    put_if_absent(committed, canonical_json(sidecar))


def read_sidecar(folder: Path, name: str) -> Sidecar:
    """What a shard holds. DamagedError unless it is of this name and of the folder's key.

    MissingError when it cannot be read.
    """
    return parse_sidecar(folder / f"{name}.json", folder.name, name)


def parse_sidecar(source: Path | bytes, key: str, name: str) -> Sidecar:
    """The same, of a file or of bytes that lie elsewhere."""
    try:
        sidecar = read_json(source)
    except InvalidError as error:
        raise DamagedError(f"its sidecar is damaged: {error}") from None
    if not isinstance(sidecar, dict):
        raise DamagedError("its sidecar is no object")
    if sidecar.get("schema") != SCHEMA:
        raise DamagedError(f"its schema is {sidecar.get('schema')!r}, and this is {SCHEMA}")
    _check_key(sidecar.get("key"), key)
    items, sha256 = sidecar.get("items"), sidecar.get("sha256")
    if not isinstance(sha256, str) or not _are_strings(items):
        raise DamagedError("its sidecar lacks the hashes of the items or of the rows")
    if name_of(items) != name:
        raise DamagedError("its sidecar names other items than its file name")
    return Sidecar(sha256, items)


def read_rows(folder: Path, name: str, dim: int) -> Float32[np.ndarray, "n d"]:
    """The rows of a shard. DamagedError unless they are those that its sidecar describes."""
    tensors = _read_tensors(folder, name)
    rows = tensors.arrays["rows"]
    _check_rows(rows, (tensors.n_items, dim))
    return rows


def read_vectors(folder: Path, name: str, dim: int) -> Vectors:
    """The vectors of a shard of a multi-vector model; DamagedError as `read_rows` has it."""
    tensors = _read_tensors(folder, name)
    rows = tensors.arrays["rows"]
    _check_rows(rows, (len(rows), dim))
    try:
        vectors = Vectors(rows, tensors.arrays.get("offsets", np.zeros(0)))
    except ValueError as error:
        raise DamagedError(f"its offsets do not describe its rows: {error}") from None
    if vectors.offsets.dtype != np.int64 or len(vectors) != tensors.n_items:
        raise DamagedError(f"it has vectors of {len(vectors)} items, and names {tensors.n_items}")
    return vectors


class _Tensors(NamedTuple):
    """The tensors of a shard by name, and how many items its sidecar names."""

    arrays: Mapping[str, np.ndarray]
    n_items: int


def _read_tensors(folder: Path, name: str) -> _Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not (folder / f"{name}.json").exists():
        raise DamagedError("its sidecar is missing")
    sidecar = read_sidecar(folder, name)
    try:
        data = (folder / f"{name}.safetensors").read_bytes()
    except FileNotFoundError:
        raise DamagedError("its rows are missing") from None
    if hashlib.sha256(data).hexdigest() != sidecar.sha256:
        raise DamagedError("its checksum does not match")
    try:
        # A sidecar may have been edited, and its checksum with it.
        header = _parsed_header(data[8 : 8 + int.from_bytes(data[:8], "little")])
        _check_key(metadata_of(header).get("key"), folder.name)
        arrays = load(data)
    except SafetensorError as error:
        raise DamagedError(f"its rows are no safetensors file of ours: {error}") from None
    if "rows" not in arrays:
        raise DamagedError("its rows are no safetensors file of ours: it has no tensor `rows`")
    return _Tensors(arrays, len(sidecar.items))


def _check_rows(rows: np.ndarray, shape: tuple[int, int]) -> None:
    if rows.shape != shape or rows.dtype != np.float32 or not np.isfinite(rows).all():
        raise DamagedError(f"its rows are {rows.dtype} of shape {rows.shape}, or not finite")


def map_rows(folder: Path, name: str, dim: int) -> Float32[np.ndarray, "n d"]:
    """The same rows and checks, memory-mapped: read-only, and no part of the process's own memory."""
    rows = read_rows(folder, name, dim)
    file = folder / f"{name}.safetensors"
    # The only tensor of the file, so its bytes are the last ones.
    start = file.stat().st_size - rows.nbytes
    return np.memmap(file, np.float32, mode="r", offset=start, shape=rows.shape)


def set_aside(folder: Path, name: str, reason: str) -> None:
    """Keep a shard that cannot be used out of the way, where it can be looked at."""
    aside = _move_aside(folder, [folder / f"{name}.json", folder / f"{name}.safetensors"])
    log.warning(
        "%s: not usable, %s; set aside in %s and encoded again", folder / name, reason, aside
    )


def set_file_aside(file: Path, warning: str) -> None:
    """Keep a file that is no shard's out of the way, and say why."""
    _move_aside(file.parent, [file])
    log.warning("%s: %s", file, warning)


def _move_aside(folder: Path, files: Sequence[Path]) -> Path:
    aside = folder / "damaged"
    aside.mkdir(exist_ok=True)
    for file in files:
        try:
            file.replace(aside / file.name)
        except FileNotFoundError:  # the shard lacks it, or another process was faster
            continue
    return aside


def name_of(items: Sequence[str]) -> str:
    """What a shard of these items is called."""
    return hashlib.sha256("\n".join(items).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _check_key(key: Any, expected: str) -> None:
    if key != expected:
        raise DamagedError(f"it belongs to another key, {key!r}")


class Header(NamedTuple):
    """The header of a safetensors file, and where what it describes starts and stops in the file."""

    entries: dict[str, Any]
    start: int
    stop: int


def read_header(opened: BinaryIO) -> Header:
    """The tensors of a safetensors file, and `__metadata__`, which `load` leaves out.

    DamagedError when it is none.
    """
    # https://huggingface.co/docs/safetensors#format: 8 bytes of length, then the header in JSON
    size = os.fstat(opened.fileno()).st_size
    length = int.from_bytes(opened.read(8), "little")
    entries = _parsed_header(opened.read(min(length, size)))
    return Header(entries, 8 + length, size)


def metadata_of(header: Mapping[str, Any]) -> Mapping[str, str]:
    """What a header says beside its tensors; empty when that is nothing."""
    metadata = header.get("__metadata__")
    return metadata if isinstance(metadata, dict) else {}


def _parsed_header(data: bytes) -> dict[str, Any]:
    try:
        header = read_json(data, "its header")
    except InvalidError as error:
        raise DamagedError(str(error)) from None
    if not isinstance(header, dict):
        raise DamagedError("its header is no object")
    return header


def _are_strings(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
