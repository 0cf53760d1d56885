"""The file of an index: four columns in the layout of safetensors, written by merging, read by mapping.

Shapes: n items.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

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


class Version(NamedTuple):
    """What tells a file from those that had its name before: it is replaced, and never written to."""

    inode: int
    size: int
    modified_ns: int


class Filed(NamedTuple):
    """What a file holds: the names of the shards by their numbers, and the columns, mapped."""

    shards: list[str]
    columns: Columns
    version: Version


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
    # Opened once: another process may replace it at any time, by one of another size.
    with file.open("rb") as opened:
        header = read_header(opened)
        metadata = metadata_of(header.entries)
        if metadata.get("key") != key:
            raise DamagedError("it is no index of this key")
        if metadata.get("schema") != str(SCHEMA):
            raise DamagedError(f"its schema is {metadata.get('schema')!r}, and this is {SCHEMA}")
        shards = str(metadata.get("shards")).split(",")
        n, remainder = divmod(header.stop - header.start, sum(map(_width, _DTYPES)))
        # All of the header but its two free entries follows from the number of items.
        written = _header(key, shards, n, str(metadata.get("sha256")))
        if remainder or header.entries != json.loads(written):
            raise DamagedError("its header does not describe it")
        columns = _mapped(opened, n, header.start)
        version = _version(os.fstat(opened.fileno()))
    if _checksum(columns) != metadata.get("sha256"):
        raise DamagedError("its checksum does not match")
    return Filed(shards, columns, version)


def version_of(file: Path) -> Version | None:
    """That of the file which has the name now, None where there is none."""
    try:
        return _version(file.stat())
    except FileNotFoundError:
        return None


def _version(status: os.stat_result) -> Version:
    return Version(status.st_ino, status.st_size, status.st_mtime_ns)


def _mapped(opened: BinaryIO, n: int, start: int) -> Columns:
    columns = []
    for dtype in map(_NUMPY.__getitem__, _DTYPES.values()):
        columns.append(np.memmap(opened, dtype, mode="r", offset=start, shape=(n,)))
        start += n * dtype.itemsize
    return Columns(*columns)


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
