"""Somebody alters a record: a number, a key or a row in one of its files, and may make every hash anew."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from evals.records.manifest import MANIFEST, as_json, checksum_of
from evals.records.seal import SEAL, as_seal, sha256

# What follows from these has a hash of its own in the manifest.
HASHES = ("checksum", "files")


class Tampering(NamedTuple):
    """What was altered: the file, and the entry, column or key in it."""

    file: str
    place: str
    how: str


def tamper(record: Path, rng: random.Random, *, hashes_anew: bool) -> Tampering:
    """Alter one thing in a record, in any of its JSON and parquet files; each file as likely."""
    files = [path for path in record.iterdir() if path.suffix in (".json", ".jsonl", ".parquet")]
    file = rng.choice(sorted(files))
    alter = {".json": _json, ".jsonl": _lines, ".parquet": _table}[file.suffix]
    place, how = alter(file, rng)
    if hashes_anew:
        rehash(record)
    return Tampering(file.name, place, how)


def rehash(record: Path) -> None:
    """Make all hashes of a record anew, as if its files had always been so."""
    manifest = json.loads((record / MANIFEST).read_text())
    manifest["files"] = {name: sha256((record / name).read_bytes()) for name in manifest["files"]}
    manifest["checksum"] = checksum_of(manifest, MANIFEST)
    (record / MANIFEST).write_bytes(as_json(manifest, MANIFEST, indent=2))
    names = [path.name for path in record.iterdir() if path.is_file() and path.name != SEAL]
    (record / SEAL).write_bytes(
        as_seal({name: sha256((record / name).read_bytes()) for name in names})
    )


def _json(file: Path, rng: random.Random) -> tuple[str, str]:
    content = json.loads(file.read_text())
    place, how = _alter(content, rng)
    file.write_bytes(as_json(content, file.name, indent=2))
    return place, how


def _lines(file: Path, rng: random.Random) -> tuple[str, str]:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    if rng.random() < 0.3:
        del lines[rng.randrange(len(lines))]
        place, how = "a line", "removed"
    else:
        line = rng.choice(lines)
        place, how = _alter(line, rng)
        if rng.random() < 0.2 and line.get("ci_low") is not None:
            line["ci_low"] = line["ci_high"] = None
            place, how = "interval", "removed"
    file.write_bytes(b"".join(as_json(line, file.name) for line in lines))
    return place, how


def _alter(content: Any, rng: random.Random) -> tuple[str, str]:
    """Change a number or a text of an object, or take one of its entries out."""
    holder, key, path = rng.choice(list(_leaves(content)))
    value = holder[key]
    if rng.random() < 0.3 and isinstance(holder, dict):
        del holder[key]
        return path, "removed"
    holder[key] = _another(value, rng)
    return path, f"{value!r} for {holder[key]!r}"


def _leaves(content: Any, path: str = "") -> Iterator[tuple[Any, Any, str]]:
    """All entries that are no hashes of files: what holds them, their key, and their path."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in pairs:
        if not path and key in HASHES:
            continue
        name = f"{path}.{key}" if path else str(key)
        yield content, key, name
        if isinstance(value, dict | list):
            yield from _leaves(value, name)


def _another(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice([1, 2, 7])
    if isinstance(value, float):
        return value / 2 if value > 1e-3 else value + 0.1
    return f"{value}x" if isinstance(value, str) else "x"


def _table(file: Path, rng: random.Random) -> tuple[str, str]:
    table = pq.read_table(file)
    kind = rng.random()
    column = rng.choice(table.column_names)
    if kind < 0.15:
        table, done = table.drop_columns([column]), (column, "removed")
    elif kind < 0.4:
        row = rng.randrange(len(table))
        table = table.take([i for i in range(len(table)) if i != row])
        done = "a row", "removed"
    else:
        row = rng.randrange(len(table))
        values = table[column].to_pylist()
        was = values[row]
        values[row] = _another(was, rng)
        place = table.column_names.index(column)
        table = table.set_column(
            place, table.schema.field(column), pa.array(values, table.schema.field(column).type)
        )
        done = column, f"{was!r} for {values[row]!r}"
    pq.write_table(table, file, compression="zstd", write_page_checksum=True)
    return done
