"""Reads the manifest of a record: what was measured, with what and on what, by typed attributes.

All that readers use is checked here, once, against the types below. What a record says beyond that
is left alone, and `raw` shows it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, ValidationError

from evals.reading import read_bytes, read_json
from evals.records.identity import DataIdentity, ModelIdentity
from evals.records.manifest_parts import (
    ConfigPart,
    Count,
    DataPart,
    EncoderPart,
    LengthsPart,
    Name,
    Part,
    Seconds,
    SourcePart,
    TaskPart,
    Time,
)
from evals.schema import InvalidError

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
PARTIAL = ".partial"
REMEDY = "Run the evaluation again, or remove this record."
SHOWN = 60  # characters of a value that a message shows


class Manifest(Part):
    """What a record says of itself; attributes are called as the entries of manifest.json.

    `partial` says what of the benchmark was measured, None for all of it. `main_metric` is the
    metric that the benchmark is judged by, None in records that do not name it.
    """

    benchmark: Name
    model: Name
    written: Time
    files: dict[str, str]
    checksum: str
    status: str = "complete"
    partial: dict[str, Any] | None = None
    main_metric: Name | None = None
    command: list[str] = Field(default_factory=list)
    config: ConfigPart = ConfigPart()
    data: dict[str, DataPart] = Field(default_factory=dict)
    encoder: EncoderPart = EncoderPart()
    mteb: TaskPart | None = None
    lengths: dict[str, LengthsPart] = Field(default_factory=dict)
    source: SourcePart | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    host: dict[str, Any] = Field(default_factory=dict)
    seconds: dict[str, Seconds] = Field(default_factory=dict)
    encoded: dict[str, Count] = Field(default_factory=dict)
    zero_rows: Count | None = None
    skipped: list[Any] = Field(default_factory=list)
    _raw: Mapping[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def raw(self) -> Mapping[str, Any]:
        """All of manifest.json, for showing it."""
        return self._raw

    @property
    def whole_benchmark(self) -> str:
        """The benchmark's name, that of the whole also where a part was measured."""
        return self.benchmark.removesuffix(PARTIAL)

    @property
    def title(self) -> str:
        """The benchmark's name for people."""
        return self.config.row.title or self.benchmark

    @property
    def truncated(self) -> int | None:
        """How many texts were longer than the encoder reads; None where nobody counted."""
        # text retrieval counts the texts of queries and of documents apart
        counts = list(self.lengths.values())
        if self.mteb and self.mteb.lengths:
            counts.append(self.mteb.lengths)
        numbers = [count.truncated for count in counts if count.truncated is not None]
        # What is unknown of some is unknown of all.
        return sum(numbers) if counts and len(numbers) == len(counts) else None

    @property
    def model_identity(self) -> ModelIdentity:
        """Which model was measured."""
        encoder = self.encoder
        return ModelIdentity.of(self.model, encoder.source, encoder.fingerprint, encoder.dim)

    @property
    def data_identity(self) -> DataIdentity:
        """Which data was measured; subsets without a content hash are left out."""
        contents = {subset: part.content for subset, part in self.data.items()}
        return DataIdentity({subset: text for subset, text in contents.items() if text})

    @property
    def place(self) -> Path:
        """Where the record lies below its root."""
        return place_of(self.benchmark, self.model, self.written, self.checksum)


def read_manifest(record: Path) -> Manifest:
    """The manifest of a record, whose other files are not read.

    InvalidError names the file, the entry that is wrong, and the remedy: no strict JSON, another
    schema, a checksum that does not hold, an entry of a wrong type.
    """
    file = record / MANIFEST
    where = str(file)
    manifest = parse_manifest(read_json(read_recorded(file), where), where)
    if manifest.checksum != checksum_of(manifest.raw, where):
        raise InvalidError(
            f"{where}: checksum mismatch: it was changed after it was written. {REMEDY}"
        )
    return manifest


def parse_manifest(raw: Any, where: str) -> Manifest:
    """The manifest in a value of JSON. InvalidError names the entry that is wrong."""
    if not isinstance(raw, dict):
        raise InvalidError(f"{where}: not a JSON object. {REMEDY}")
    _check_schema(raw, where)
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        raise InvalidError(f"{where}: {problem_of(error)}. {REMEDY}") from None
    manifest._raw = raw
    return manifest


def read_recorded(file: Path) -> bytes:
    """The bytes of a file of a record. InvalidError when it is missing."""
    if not file.exists():
        raise InvalidError(f"{file}: missing; the run is incomplete, run it again")
    return read_bytes(file)


def problem_of(error: ValidationError) -> str:
    """The first thing that is wrong, in words: `encoder.dim is 'x': input should be …`."""
    problem = error.errors(include_url=False)[0]
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["type"] == "extra_forbidden":
        return f"unknown {key!r}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key} is {_short(problem['input'])}: {message[:1].lower()}{message[1:]}"


def place_of(benchmark: str, model: str, written: str, checksum: str) -> Path:
    """Where a record lies below its root: benchmark/model/time-hash."""
    time = re.sub("[-:]", "", written)
    return Path(path_component(benchmark), path_component(model), f"{time}-{checksum[:8]}")


def path_component(name: str) -> str:
    """A name as one folder name.

    A name that had to change gets a hash, so that two names never share a folder.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", name)[:100]
    safe = re.sub(r"^\.+", lambda dots: "-" * len(dots[0]), safe)
    if safe and safe == name:
        return safe
    # half a character, as JSON may hold it, has no UTF-8
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe}-{digest[:8]}"


def checksum_of(raw: Mapping[str, Any], where: str) -> str:
    """The sha256 of a manifest without its checksum."""
    content = {key: value for key, value in raw.items() if key != "checksum"}
    return hashlib.sha256(as_json(content, where)).hexdigest()


def as_json(value: Mapping[str, Any], where: str, indent: int | None = None) -> bytes:
    """JSON in one form only, so that equal values have equal bytes.

    InvalidError for what JSON cannot hold: NaN, infinity, bytes, half a character.
    """
    try:
        text = json.dumps(value, allow_nan=False, sort_keys=True, ensure_ascii=False, indent=indent)
        return (text + "\n").encode()
    except (TypeError, ValueError) as error:
        raise InvalidError(f"{where}: cannot be written as JSON: {error}") from error


def _check_schema(raw: Mapping[str, Any], where: str) -> None:
    if "schema_version" not in raw:
        raise InvalidError(f"{where}: schema_version is missing. {REMEDY}")
    version = raw["schema_version"]
    if type(version) is not int or version < 1:
        raise InvalidError(f"{where}: schema_version is {_short(version)}. {REMEDY}")
    if version > SCHEMA_VERSION:
        raise InvalidError(
            f"{where}: written by a newer version: schema version {version}, this is "
            f"{SCHEMA_VERSION}. Upgrade jina-clip-evals to read it."
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
