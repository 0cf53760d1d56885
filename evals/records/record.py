"""Run records: what was measured, how and on what, written once and read by reports, gates and notebooks.

A record is a folder results/runs/<benchmark>/<model>/<UTC time>-<8 hex> of metrics.jsonl,
queries.parquet and manifest.json. The manifest is written last: a folder without one is a run that
was interrupted.
"""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

from evals.files import sweep_parts, write_atomically
from evals.schema import InvalidError

SCHEMA_VERSION = 1
WRITTEN = "%Y-%m-%dT%H:%M:%SZ"  # the time of writing, UTC
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
MANIFEST, METRICS, QUERIES = "manifest.json", "metrics.jsonl", "queries.parquet"
# Arrow types by name, because pyarrow is imported only where a table is read or written.
ID_COLUMNS = {
    "subset": "string",
    "direction": "string",
    "dim": "int32",
    "precision": "string",
    "query_id": "string",
    "group_id": "string",
}
QUERY_COLUMNS = ID_COLUMNS | {
    "better": "int64",
    "tied": "int64",
    "tied_relevant": "int64",
    "score": "float32",
    "ndcg10": "float64",
}
FLOATS = (
    "value",
    "ci_low",
    "ci_high",
    "tie_rate",
)  # 1.0 and not 1 in the file, whoever made the line
REQUIRED = {
    "schema_version": int,
    "benchmark": str,
    "model": str,
    "written": str,
    "files": dict,
    "checksum": str,
}

Table = Any  # pyarrow.Table


@dataclass(frozen=True)
class MetricLine:
    """One number: fractions in [0, 1] and ranks from 1.

    `k` is None for metrics without one, `ci_*` without interval.
    """

    subset: str
    direction: str
    dim: int
    precision: str
    metric: str
    k: int | None
    value: float
    ci_low: float | None
    ci_high: float | None
    n_queries: int
    n_gallery: int
    tie_rate: float


@dataclass(frozen=True)
class Run:
    """A complete record whose checksums hold; `read_queries` reads its queries."""

    path: Path
    manifest: Mapping[str, Any]
    metrics: tuple[MetricLine, ...]


def write_run(
    root: Path,
    *,
    manifest: Mapping[str, Any],
    metrics: Sequence[MetricLine],
    queries: Table | Mapping[str, Any],
    columns: Mapping[str, str] = QUERY_COLUMNS,
) -> Path:
    """Write a record below `root` and return its folder; nothing that is there is ever overwritten.

    `manifest` names its `benchmark` and `model`; the schema version, the time of writing (UTC), the
    sha256 of the other files and its own checksum are added. `queries` is an Arrow table or a dict
    with these `columns` (Arrow types by name). Raises InvalidError, before anything is written, for
    NaN, infinity and what JSON cannot hold.
    """
    files = {METRICS: b"".join(map(_metric_json, metrics)), QUERIES: _parquet(queries, columns)}
    content = {
        **_parse(
            _json(manifest, MANIFEST), MANIFEST
        ),  # as it will be read: tuples are lists, keys are strings
        "schema_version": SCHEMA_VERSION,
        "written": datetime.now(UTC).strftime(WRITTEN),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    for attempt in itertools.count(1):
        content["attempt"] = (
            attempt  # the same run written twice in one second would have the same hash
        )
        content["checksum"] = _checksum(content, MANIFEST)
        folder = root / place_of(content)
        data = _json(content, MANIFEST, indent=2)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        break
    for name, body in files.items():
        write_atomically(folder / name, body)
    write_atomically(folder / MANIFEST, data)
    # a killed run left parts that nobody will write again
    for interrupted in list_incomplete(root, manifest["benchmark"], manifest["model"]):
        sweep_parts(interrupted)
    return folder


def list_runs(root: Path, benchmark: str | None = None, model: str | None = None) -> list[Path]:
    """The complete records below `root`, of one benchmark or model when asked, oldest first for each model."""
    return [path for path in _folders(root, benchmark, model) if (path / MANIFEST).exists()]


def list_incomplete(
    root: Path, benchmark: str | None = None, model: str | None = None
) -> list[Path]:
    """The records without a manifest: runs that were interrupted while they wrote, or that are writing now."""
    return [path for path in _folders(root, benchmark, model) if not (path / MANIFEST).exists()]


def read_run(path: Path) -> Run:
    """Read a record and check it whole.

    Raises InvalidError naming the file that is broken, and why.
    """
    manifest = read_manifest(path)
    bodies = {name: _read_checked(path / name, manifest) for name in (METRICS, QUERIES)}
    lines = bodies[METRICS].split(b"\n")[
        :-1
    ]  # not splitlines(): captions and names may hold U+2028
    metrics = tuple(
        _metric_line(line, f"{path / METRICS}: line {i}") for i, line in enumerate(lines, 1)
    )
    return Run(path, manifest, metrics)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a record, whose other files are not read.

    Raises InvalidError naming what is broken in it, and why.
    """
    manifest = _parse(_read(path / MANIFEST), str(path / MANIFEST))
    if manifest.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise InvalidError(
            f"{path / MANIFEST}: schema version {manifest['schema_version']}, this is {SCHEMA_VERSION}"
        )
    for key, kind in REQUIRED.items():
        _check_type(manifest, key, (kind,), str(path / MANIFEST))
    if manifest["checksum"] != _checksum(manifest, str(path / MANIFEST)):
        raise InvalidError(
            f"{path / MANIFEST}: checksum mismatch: it was changed after it was written"
        )
    return manifest


def place_of(manifest: Mapping[str, Any]) -> Path:
    """Where a record lies below its root, which follows from its manifest: benchmark/model/time-hash.

    InvalidError when the time of writing is none.
    """
    if not _TIME.fullmatch(manifest["written"]):
        raise InvalidError(
            f"{MANIFEST}: `written` is {manifest['written']!r}, and no time such as 2026-01-31T12:00:00Z. Run it again."
        )
    names = (path_component(str(manifest[key])) for key in ("benchmark", "model"))
    time = re.sub("[-:]", "", manifest["written"])
    return Path(*names, f"{time}-{manifest['checksum'][:8]}")


def read_queries(run: Run) -> Table:
    """The per-query table of a record as an Arrow table.

    Raises InvalidError when it was changed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = _read_checked(run.path / QUERIES, run.manifest)
    try:
        return pq.read_table(BytesIO(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise InvalidError(f"{run.path / QUERIES}: {error}") from error


def path_component(name: str) -> str:
    """A name as one folder name.

    A name that had to change gets a hash, so that two names never share a folder.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", name)[:100]
    safe = re.sub(r"^\.+", lambda dots: "-" * len(dots[0]), safe)
    return safe if safe == name and safe else f"{safe}-{_sha256(name)[:8]}"


def _folders(root: Path, benchmark: str | None, model: str | None) -> list[Path]:
    parts = [path_component(name) if name is not None else "*" for name in (benchmark, model)]
    return sorted(path for path in root.glob("/".join([*parts, "*"])) if path.is_dir())


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _checksum(manifest: Mapping[str, Any], where: str) -> str:
    """The sha256 of the manifest without its checksum."""
    return hashlib.sha256(
        _json({k: v for k, v in manifest.items() if k != "checksum"}, where)
    ).hexdigest()


def _json(value: Mapping[str, Any], where: str, indent: int | None = None) -> bytes:
    try:
        text = json.dumps(value, allow_nan=False, sort_keys=True, ensure_ascii=False, indent=indent)
        return (text + "\n").encode()
    except (TypeError, ValueError) as error:
        raise InvalidError(f"{where}: cannot be written as JSON: {error}") from error


def _metric_json(line: MetricLine) -> bytes:
    at = f" at {line.k}" if line.k is not None else ""
    floats = {name: float(value) for name in FLOATS if (value := getattr(line, name)) is not None}
    return _json(
        vars(line) | floats,
        f"metric {line.metric}{at} of {line.subset} {line.direction}, dim {line.dim}",
    )


def _parquet(queries: Table | Mapping[str, Any], columns: Mapping[str, str]) -> bytes:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns_by_name = (
        dict(queries)
        if isinstance(queries, Mapping)
        else dict(zip(queries.column_names, queries.columns, strict=True))
    )
    if columns_by_name.keys() != columns.keys():
        raise InvalidError(f"{QUERIES}: columns {sorted(columns_by_name)}, not {sorted(columns)}")
    table = pa.table({name: columns_by_name[name] for name in columns}).cast(_query_schema(columns))
    for name in (name for name, kind in columns.items() if kind.startswith("float")):
        if not pc.all(pc.is_finite(table[name]), min_count=0).as_py():
            raise InvalidError(f"{QUERIES}: {name} holds NaN or infinity")
    sink = BytesIO()
    strings = [name for name, kind in columns.items() if kind == "string"]
    pq.write_table(
        table, sink, compression="zstd", use_dictionary=strings, write_page_checksum=True
    )
    return sink.getvalue()


def _query_schema(columns: Mapping[str, str]) -> Any:
    import pyarrow as pa

    return pa.schema(
        [pa.field(name, pa.type_for_alias(kind), nullable=False) for name, kind in columns.items()]
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InvalidError(f"{path}: missing; the run is incomplete, run it again") from error


def _read_checked(path: Path, manifest: Mapping[str, Any]) -> bytes:
    data = _read(path)
    if manifest["files"].get(path.name) != hashlib.sha256(data).hexdigest():
        raise InvalidError(
            f"{path}: checksum mismatch: it was changed after it was written; run it again"
        )
    return data


def _parse(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(data.decode(), parse_constant=_refuse)
    except ValueError as error:
        raise InvalidError(f"{where}: not strict JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidError(f"{where}: not a JSON object")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def _check_type(raw: Mapping[str, Any], key: str, kinds: tuple[type, ...], where: str) -> None:
    if key not in raw:
        raise InvalidError(f"{where}: {key} is missing")
    if type(raw[key]) not in kinds or (isinstance(raw[key], float) and not math.isfinite(raw[key])):
        raise InvalidError(f"{where}: {key} is {raw[key]!r}")


def _metric_line(data: bytes, where: str) -> MetricLine:
    raw = _parse(data, where)
    kinds: dict[Any, tuple[type, ...]] = {
        str: (str,),
        int: (int,),
        float: (float,),
        int | None: (int, type(None)),
        float | None: (float, type(None)),
    }
    for field in fields(MetricLine):
        _check_type(raw, field.name, kinds[field.type], where)
    if extra := raw.keys() - {field.name for field in fields(MetricLine)}:
        raise InvalidError(f"{where}: unknown {sorted(extra)}")
    return MetricLine(**raw)
