"""Run records: what was measured, how and on what, written once and read by reports, gates and notebooks.

A record is a folder results/runs/<benchmark>/<model>/<UTC time>-<8 hex> of metrics.jsonl,
queries.parquet, SHA256SUMS and manifest.json. The manifest is written last: a folder without one is
a run that was interrupted.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from evals.files import sweep_parts, write_atomically
from evals.natural import natural
from evals.reading import parse_json, read_json
from evals.records.exchange import DEPTH, upload_record
from evals.records.manifest import (
    MANIFEST,
    REMEDY,
    SCHEMA_VERSION,
    Manifest,
    as_json,
    checksum_of,
    parse_manifest,
    path_component,
    problem_of,
    read_manifest,
    read_recorded,
)
from evals.records.manifest_parts import WRITTEN, Count, Dim, Text
from evals.records.parquet import QUERY_COLUMNS, Table, as_parquet, read_parquet
from evals.records.seal import SEAL, as_seal, sha256
from evals.schema import InvalidError

METRICS, QUERIES = "metrics.jsonl", "queries.parquet"
# 1.0 and not 1 in the file, whoever made the line
FLOATS = ("value", "ci_low", "ci_high", "tie_rate")

# Shares and ranks: beyond 2**53 a float64 does not hold all integers, and no ranking is as long.
Number = Annotated[float, Field(ge=-(2**53), le=2**53, allow_inf_nan=False)]


@dataclass(frozen=True)
class MetricLine:
    """One number: fractions in [0, 1] and ranks from 1.

    `k` is None for metrics without one, `ci_*` without interval.
    """

    subset: Text
    direction: Text
    dim: Dim
    precision: Text
    metric: Text
    k: Annotated[int, Field(ge=1, lt=2**31)] | None
    value: Number
    ci_low: Number | None
    ci_high: Number | None
    n_queries: Count
    n_gallery: Annotated[int, Field(ge=0, lt=2**40)]
    tie_rate: Annotated[float, Field(ge=0, le=1)]

    @property
    def name(self) -> str:
        """The public name of the metric: `R@5`, `MRR`."""
        return self.metric if self.k is None else f"{self.metric}@{self.k}"


@dataclass(frozen=True)
class Run:
    """A complete record whose checksums hold; `read_queries` reads its queries.

    `label` is what the model is called among others, where its name stands for two of them.
    """

    path: Path
    manifest: Manifest
    metrics: tuple[MetricLine, ...]
    label: str = ""

    @property
    def model(self) -> str:
        """What the model is called: its name, unless that stands for two models."""
        return self.label or self.manifest.model

    @property
    def main_metric(self) -> str | None:
        """The metric that the benchmark is judged by; None for a record without metrics.

        It was decided when the record was written. Older records do not name it, and it follows
        from their lines by the same rule.
        """
        return self.manifest.main_metric or main_metric(self.metrics)


def write_run(
    root: Path,
    *,
    manifest: Mapping[str, Any],
    metrics: Sequence[MetricLine],
    queries: Table | Mapping[str, Any],
    columns: Mapping[str, str] = QUERY_COLUMNS,
    more_files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a record below `root` and return its folder; nothing that is there is ever overwritten.

    `manifest` names its `benchmark` and `model`; the schema version, the time of writing (UTC), the
    sha256 of the other files and its own checksum are added. The second is one that no record of
    the benchmark and model has: it may be the next, where several are written in one. `queries` is
    an Arrow table or a dict with these `columns` (Arrow types by name). `more_files` are kept
    beside them. Raises InvalidError, before anything is written, for NaN, infinity and what JSON
    cannot hold; MissingError for a bucket that does not answer.
    """
    files = {
        METRICS: b"".join(map(_metric_json, metrics)),
        QUERIES: as_parquet(queries, columns, QUERIES),
        **(more_files or {}),
    }
    # a record that no reader would take must not be written
    _metric_lines(files[METRICS], Path(METRICS))
    written = datetime.now(UTC)
    content = {
        # as it will be read: tuples are lists, keys are strings
        **read_json(as_json(manifest, MANIFEST), MANIFEST),
        "schema_version": SCHEMA_VERSION,
        "main_metric": main_metric(metrics),
        "written": written.strftime(WRITTEN),
        "files": {name: sha256(body) for name, body in files.items()},
    }
    for attempt in itertools.count(1):
        # another process may write the same at this moment, and must not get the same hash
        content["attempt"] = attempt
        content["written"] = written.strftime(WRITTEN)
        content["checksum"] = checksum_of(content, MANIFEST)
        folder = root / parse_manifest(content, MANIFEST).place
        # Records are ordered by their names. Of two of one second the newer one would be whichever
        # has the larger checksum, so each takes a second that no record has.
        if any(folder.parent.glob(f"{folder.name.partition('-')[0]}-*")):
            written += timedelta(seconds=1)
            continue
        data = as_json(content, MANIFEST, indent=2)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        break
    for name, body in files.items():
        write_atomically(folder / name, body)
    hashes = {name: sha256(body) for name, body in files.items()} | {MANIFEST: sha256(data)}
    write_atomically(folder / SEAL, as_seal(hashes))
    # Last of all: its presence means that the record is whole.
    write_atomically(folder / MANIFEST, data)
    # a killed run left parts that nobody will write again
    for interrupted in list_incomplete(root, manifest["benchmark"], manifest["model"]):
        sweep_parts(interrupted)
    upload_record(folder)
    return folder


def list_runs(root: Path, benchmark: str | None = None, model: str | None = None) -> list[Path]:
    """The complete records below `root`, of one benchmark or model when asked, oldest first for each model."""
    return [path for path in _folders(root, benchmark, model) if (path / MANIFEST).exists()]


def list_below(folder: Path, names: Sequence[str]) -> list[Path]:
    """The records in a folder of all records, of a benchmark, or of one by a model, complete or not.

    They are known by their files: each has at least one with one of these names.
    """
    inside = set()
    for depth in range(1, DEPTH + 1):
        for name in names:
            inside |= {file.parent for file in folder.glob("/".join([*"*" * depth, name]))}
    return sorted(inside, key=_place)


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
    metrics = _metric_lines(bodies[METRICS], path / METRICS)
    main = manifest.main_metric
    if main is not None and metrics and main not in {line.name for line in metrics}:
        raise InvalidError(
            f"{path / MANIFEST}: main_metric is {main!r}, and {METRICS} has no such one. {REMEDY}"
        )
    return Run(path, manifest, metrics)


def main_metric(lines: Sequence[MetricLine]) -> str | None:
    """Which metric a benchmark is judged by: each task writes its main one first."""
    return lines[0].name if lines else None


def read_queries(run: Run) -> Table:
    """The per-query table of a record as an Arrow table.

    InvalidError when it was changed, or holds what no evaluation writes: other columns, other
    types, missing values, ranks and shares that cannot be, more rows than there are queries.
    """
    file = run.path / QUERIES
    cells = {
        (line.subset, line.direction, line.dim, line.precision): line.n_queries
        for line in run.metrics
    }
    data = _read_checked(file, run.manifest)
    return read_parquet(data, str(file), most_rows=sum(cells.values()))


def read_file(run: Run, name: str) -> bytes:
    """Another file of a record. InvalidError when it is missing or was changed."""
    return _read_checked(run.path / name, run.manifest)


def width_of(run: Run) -> int:
    """The full width of the encoder's embeddings. InvalidError when the record does not say it."""
    width = run.manifest.encoder.dim
    if width is None:
        raise InvalidError(f"{run.path / MANIFEST}: encoder.dim is missing. {REMEDY}")
    return width


def _folders(root: Path, benchmark: str | None, model: str | None) -> list[Path]:
    parts = [path_component(name) if name is not None else "*" for name in (benchmark, model)]
    folders = [path for path in root.glob("/".join([*parts, "*"])) if path.is_dir()]
    return sorted(folders, key=_place)


def _place(path: Path) -> tuple[list[Any], str]:
    # Times by their letters: their hashes are no numbers.
    return [*map(natural, path.parts[-DEPTH:-1])], path.name


def _metric_json(line: MetricLine) -> bytes:
    at = f" at {line.k}" if line.k is not None else ""
    where = f"metric {line.metric}{at} of {line.subset} {line.direction}, dim {line.dim}"
    floats = {name: getattr(line, name) for name in FLOATS}
    exact = {name: None if value is None else float(value) for name, value in floats.items()}
    return as_json(vars(line) | exact, where)


def _metric_lines(data: bytes, file: Path) -> tuple[MetricLine, ...]:
    """The lines of metrics.jsonl. InvalidError names the line that is broken."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidError(f"{file}: not UTF-8 ({error.reason}). {REMEDY}") from None
    # not splitlines(): names may hold U+2028
    lines = text.split("\n")
    if lines.pop():
        raise InvalidError(f"{file}: its last line has no end. {REMEDY}")
    metrics = []
    places = set()
    for number, text_of_line in enumerate(lines, 1):
        where = f"{file}, line {number}"
        line = _metric_line(text_of_line, where)
        place = (line.subset, line.direction, line.dim, line.precision, line.name)
        if place in places:
            cell = f"{line.subset} {line.direction}, dim {line.dim} {line.precision}"
            raise InvalidError(f"{where}: {line.name} of {cell} stands twice. {REMEDY}")
        places.add(place)
        metrics.append(line)
    return tuple(metrics)


def _metric_line(text: str, where: str) -> MetricLine:
    try:
        line = _line_schema().model_validate(parse_json(text, where))
    except ValidationError as error:
        raise InvalidError(f"{where}: {problem_of(error)}. {REMEDY}") from None
    return MetricLine(**vars(line))


@cache
def _line_schema() -> type[BaseModel]:
    """What a line may be: the fields of MetricLine, all of them and no other."""
    kinds: dict[str, Any] = {field.name: (field.type, ...) for field in fields(MetricLine)}
    return create_model("Line", __config__=ConfigDict(strict=True, extra="forbid"), **kinds)


def _read_checked(file: Path, manifest: Manifest) -> bytes:
    data = read_recorded(file)
    if manifest.files.get(file.name) != sha256(data):
        raise InvalidError(
            f"{file}: checksum mismatch: it was changed after it was written; run it again"
        )
    return data
