"""Records that somebody changed and signed again: any field of manifest, metrics or queries gone, of another type, or absurd.

All checksums hold, and mostly the place does too: nothing but the readers' own checks can notice.
"""

import copy
import hashlib
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evals.records.manifest import MANIFEST, checksum_of, place_of
from evals.records.record import METRICS, QUERIES
from evals.schema import InvalidError


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 2**31, 2**53, 2**63, -(2**80), 10**250, 0.5, -0.5, 1.5, 1e308, -1e308, 5e-324,
    "", "x", "0", "../../etc", "a/b", "\u202e", "\x1b[31m", "\ud800", "[bold]", "{{ 7 * 7 }}", "x" * 5000,
    "2026-13-45T00:00:00Z", "2999-01-01T00:00:00Z", "en", "t2i", "float32", "R@1", "spearman", "mean",
    [], [1], ["x"], [None], {}, {"a": 1}, {"": {}}, _nested(90), _nested(300),
)  # fmt: skip
RETYPED: tuple[Callable[[Any], Any], ...] = (
    str, repr, lambda value: [value], lambda value: {"value": value},
    lambda value: -value if isinstance(value, int | float) else value,
    lambda value: value * 1000 if isinstance(value, int | float | str) else value,
    lambda value: float(value) if isinstance(value, int) else value,
)  # fmt: skip


def mutate(record: Path, rng: random.Random) -> tuple[Path, str]:
    """Change a record in one to three places, sign it, and move it to its place: where it is then, and what was done."""
    files = {name: (record / name).read_bytes() for name in (MANIFEST, METRICS, QUERIES)}
    raw = json.loads(files[MANIFEST])
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.choice((_of_manifest, _of_manifest, _of_metrics, _of_queries))
        done.append(kind(raw, files, rng))
    for name in (METRICS, QUERIES):
        (record / name).write_bytes(files[name])
        if isinstance(raw.get("files"), dict) and name in raw["files"]:
            raw["files"][name] = hashlib.sha256(files[name]).hexdigest()
    with suppress(InvalidError):
        raw["checksum"] = checksum_of(raw, "a mutation")
    text = json.dumps(raw)
    if rng.random() < 0.03:
        done.append("a key twice")
        text = text[:-1] + ', "model": "m"}'
    (record / MANIFEST).write_text(text)
    return _moved(record, raw, rng), "; ".join(done)


def _moved(record: Path, raw: dict[str, Any], rng: random.Random) -> Path:
    """Mostly to the place that the manifest says."""
    names = [raw.get(name) for name in ("benchmark", "model", "written", "checksum")]
    if rng.random() < 0.1 or not all(isinstance(name, str) and name for name in names):
        return record
    target = record.parents[2] / place_of(*names)
    # a name that no file system takes, which `exists` raises for, too
    with suppress(OSError, UnicodeEncodeError):
        if "/" in target.name or target.exists():
            return record
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(record, target)
        return target
    return record


def _of_manifest(raw: dict[str, Any], files: dict[str, bytes], rng: random.Random) -> str:
    return f"manifest {_changed(raw, rng)}"


def _of_metrics(raw: dict[str, Any], files: dict[str, bytes], rng: random.Random) -> str:
    lines = [json.loads(line) for line in files[METRICS].decode().splitlines() if line]
    if not lines:
        return "no metrics are left"
    at = rng.randrange(len(lines))
    kind = rng.choice(("field", "field", "field", "drop", "double", "none", "no end", "empty line"))
    if kind == "field":
        kind = _changed(lines[at], rng)
    elif kind == "drop":
        del lines[at]
    elif kind == "double":
        lines.append(lines[at])
    elif kind == "none":
        lines.clear()
    text = "".join(json.dumps(line) + "\n" for line in lines)
    if kind == "no end":
        text = text[:-1]
    files[METRICS] = (text + "\n" if kind == "empty line" else text).encode()
    return f"metrics line {at + 1} {kind}"


def _of_queries(raw: dict[str, Any], files: dict[str, bytes], rng: random.Random) -> str:
    try:
        table = pq.read_table(io.BytesIO(files[QUERIES]))
        names = table.column_names
    # UnicodeDecodeError: a change before this one hit the name of a column
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return "queries are damaged already"
    if not names:
        return "queries have no column left"
    kind, change = rng.choice(TABLE_CHANGES)
    name = rng.choice(names)
    try:
        table = change(table, name, rng)
    except pa.ArrowException:  # a cast that there is not
        table = table.drop_columns([name])
    if isinstance(table, bytes):
        files[QUERIES] = table
    else:
        sink = io.BytesIO()
        pq.write_table(table, sink)
        files[QUERIES] = sink.getvalue()
    return f"queries {name} {kind}"


def _changed(value: Any, rng: random.Random) -> str:
    """Change something in a value made of objects and lists, in place, and say what."""
    places = list(_places(value))
    if not places:
        return "nothing is left"
    container, key = rng.choice(places)
    where = f"{key!r}"
    kind = rng.choice(("drop", "value", "value", "retype", "add"))
    if kind == "drop":
        del container[key]
    elif kind == "value":
        container[key] = _fresh_value(rng)
    elif kind == "retype":
        container[key] = rng.choice(RETYPED)(container[key])
    elif isinstance(container, dict):
        container[rng.choice(("extra", "", "subsets", "truncated"))] = _fresh_value(rng)
    else:
        container.append(_fresh_value(rng))
    after = container.get(key) if isinstance(container, dict) else container[:3]
    return f"{where} {kind} {repr(after)[:80]}"


def _fresh_value(rng: random.Random) -> Any:
    # A list that was put in twice would hold itself, and the next case would find it changed.
    return copy.deepcopy(rng.choice(VALUES))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each entry of the objects and lists in a value, as container and key."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list) and value[key]:
            yield from _places(value[key])


def _set(table: pa.Table, name: str, column: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def _cell(table: pa.Table, name: str, rng: random.Random) -> pa.Table:
    """One value becomes another of the same type."""
    column = table[name].to_pylist()
    if not column:
        return table
    strange: dict[str, tuple[Any, ...]] = {
        "string": ("", "x", "\x1b", "i1", "en"),
        "int32": (0, -1, 1, 2**31 - 1),
        "int64": (0, -1, 3, 2**40, 2**62, -(2**63)),
    }
    floats = (0.0, -1.0, 0.5, 2.0, 1e30, -1e30, float("nan"), float("inf"), None)
    column[rng.randrange(len(column))] = rng.choice(strange.get(str(table[name].type), floats))
    return _set(table, name, pa.array(column, table[name].type))


def _null(table: pa.Table, name: str, rng: random.Random) -> pa.Table:
    return _set(table, name, pa.nulls(len(table), table[name].type))


def _cast(table: pa.Table, name: str, rng: random.Random) -> pa.Table:
    kinds = (pa.string(), pa.int8(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.large_string(), pa.binary(),
             pa.decimal128(30, 3), pa.date32(), pa.null())  # fmt: skip
    return _set(table, name, table[name].cast(rng.choice(kinds), safe=False))


def _same(table: pa.Table, name: str, rng: random.Random) -> pa.Table:
    """All rows have the value of the first."""
    if not len(table):
        return table
    return _set(table, name, pa.array([table[name][0].as_py()] * len(table), table[name].type))


def _extra(table: pa.Table, name: str, rng: random.Random) -> pa.Table:
    columns = ([1] * len(table), [[1]] * len(table), [{"a": 1}] * len(table), [None] * len(table))
    title = rng.choice(("extra", "value", "gold", "label", "better", name))
    return table.append_column(title, pa.array(rng.choice(columns)))


def _renamed(table: pa.Table, name: str, rng: random.Random) -> pa.Table:
    at = table.column_names.index(name)
    names = list(table.column_names)
    names[at] = rng.choice(("x", "", "value", "gold", "score"))
    return table.rename_columns(names)


def _dictionary(table: pa.Table, name: str, rng: random.Random) -> pa.Table:
    return _set(table, name, pc.dictionary_encode(table[name]))


def _damaged(table: pa.Table, name: str, rng: random.Random) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    data = bytearray(sink.getvalue())
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


TABLE_CHANGES: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("gone", lambda table, name, rng: table.drop_columns([name])),
    ("renamed", _renamed),
    ("cast", _cast),
    ("cast", _cast),
    ("null", _null),
    ("one value", _cell),
    ("one value", _cell),
    ("one value", _cell),
    ("all the same", _same),
    ("extra column", _extra),
    ("dictionary", _dictionary),
    ("half the rows", lambda table, name, rng: table.slice(0, len(table) // 2)),
    ("no rows", lambda table, name, rng: table.slice(0, 0)),
    ("rows twice", lambda table, name, rng: pa.concat_tables([table, table])),
    ("sorted", lambda table, name, rng: table.sort_by(name)),
    ("no columns", lambda table, name, rng: table.select([])),
    ("damaged", _damaged),
    ("no parquet", lambda table, name, rng: b"PAR1" + rng.randbytes(30)),
)
