"""The file of an index: four columns in the layout of safetensors, written by merging, read by mapping.

Shapes: n items.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt32, UInt64

from evals.embeddings.keys import SCHEMA
from evals.embeddings.shards import DamagedError, metadata_of, read_header
from evals.files import writing_atomically

CHUNK = 1 << 20  # items that are merged at once: 8 MB of the widest column
_DTYPES = {"high": "U64", "low": "U64", "shard": "U32", "row": "U32"}
_NUMPY: dict[str, np.dtype[Any]] = {"U64": np.dtype("<u8"), "U32": np.dtype("<u4")}


class Columns(NamedTuple):
    """Items in the order of `high`: both halves of the digest, the shard's number, the row in it."""

    high: UInt64[np.ndarray, "n"]
    low: UInt64[np.ndarray, "n"]
    shard: UInt32[np.ndarray, "n"]
    row: UInt32[np.ndarray, "n"]

    @classmethod
    def empty(cls) -> "Columns":
        """No items."""
        return cls(*(np.zeros(0, _NUMPY[dtype]) for dtype in _DTYPES.values()))

    def merged(self, *unsorted: "Columns") -> "Columns":
        """These and some more, in memory."""
        joined = [np.concatenate(parts) for parts in zip(self, *unsorted, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        return Columns(*(column[order] for column in joined))


class Filed(NamedTuple):
    """What a file holds: the names of the shards by their numbers, and the columns, mapped."""

    shards: list[str]
    columns: Columns


def write_merged(
    file: Path, key: str, shards: Sequence[str], filed: Columns, recent: Columns
) -> None:
    """Write both as one, in the order of `high`; `filed` may be mapped from the file that is replaced."""
    n = len(filed.high) + len(recent.high)
    header = _header(key, shards, n)
    places = np.searchsorted(filed.high, recent.high, side="right")
    checksum = hashlib.sha256()
    with writing_atomically(file) as output:
        output.write(len(header).to_bytes(8, "little") + header)
        for old, new in zip(filed, recent, strict=True):
            for chunk in _merged_chunks(old, new, places):
                data = chunk.astype(chunk.dtype.newbyteorder("<")).tobytes()
                checksum.update(data)
                output.write(data)
        # The checksum's place is known, its value only now.
        output.seek(8 + header.index(b"0" * 64))
        output.write(checksum.hexdigest().encode())


def read_columns(file: Path, key: str) -> Filed:
    """A file of the index of a key, memory-mapped. DamagedError unless it is as it was written."""
    header = read_header(file)
    metadata = metadata_of(header)
    if metadata.get("key") != key:
        raise DamagedError("it is no index of this key")
    if metadata.get("schema") != str(SCHEMA):
        raise DamagedError(f"its schema is {metadata.get('schema')!r}, and this is {SCHEMA}")
    shards = str(metadata.get("shards")).split(",")
    start = 8 + int.from_bytes(_first_bytes(file), "little")
    n, remainder = divmod(file.stat().st_size - start, sum(map(_width, _DTYPES)))
    # All of the header but its two free entries follows from the number of items.
    if remainder or header != json.loads(_header(key, shards, n, str(metadata.get("sha256")))):
        raise DamagedError("its header does not describe it")
    columns = []
    for name in _DTYPES:
        dtype = _NUMPY[_DTYPES[name]]
        columns.append(np.memmap(file, dtype, mode="r", offset=start, shape=(n,)))
        start += n * _width(name)
    if _checksum(columns) != metadata.get("sha256"):
        raise DamagedError("its checksum does not match")
    return Filed(shards, Columns(*columns))


def _header(key: str, shards: Sequence[str], n: int, checksum: str = "0" * 64) -> bytes:
    """https://huggingface.co/docs/safetensors#format, padded so that the columns are aligned."""
    metadata = {
        "key": key,
        "schema": str(SCHEMA),
        "sha256": checksum,
        "shards": ",".join(shards),
    }
    header: dict[str, Any] = {"__metadata__": metadata}
    start = 0
    for name, dtype in _DTYPES.items():
        end = start + n * _width(name)
        header[name] = {"dtype": dtype, "shape": [n], "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    return text + b" " * (-len(text) % 8)


def _width(name: str) -> int:
    return _NUMPY[_DTYPES[name]].itemsize


def _first_bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(8)


def _merged_chunks(old: np.ndarray, new: np.ndarray, places: np.ndarray) -> Iterator[np.ndarray]:
    """`np.insert(old, places, new)`, some at a time: `old` may be larger than memory."""
    for start in range(0, max(len(old), 1), CHUNK):
        stop = min(start + CHUNK, len(old))
        first = np.searchsorted(places, start)
        # What comes behind the last of the old ones belongs to the last chunk.
        last = len(places) if stop == len(old) else np.searchsorted(places, stop)
        yield np.insert(old[start:stop], places[first:last] - start, new[first:last])


def _checksum(columns: Sequence[np.ndarray]) -> str:
    checksum = hashlib.sha256()
    for column in columns:
        for start in range(0, len(column), CHUNK):
            checksum.update(column[start : start + CHUNK].tobytes())
    return checksum.hexdigest()
