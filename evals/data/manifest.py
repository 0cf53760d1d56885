"""What a prepared folder holds: its manifest.json, and the check of the folder against it.

The manifest has the sha256 of every file. A folder is finished when it has a manifest and no
UNFINISHED mark; the mark says what is being packed there.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from hashlib import file_digest
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from evals.data.fields import field_of
from evals.paths import leads_out
from evals.reading import read_json, read_jsonl
from evals.schema import InvalidError, MissingError

MANIFEST = "manifest.json"
UNFINISHED = ".preparing.json"
# In a message.
MOST_NAMES = 5

# `with progress("title") as report: report(done, total)`, as evals.cli.app.Log has it.
Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


def _inside(name: str) -> str:
    if leads_out(name) or not name:
        raise ValueError("must be a path inside the folder, without `..`")
    return name


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Plan(_Strict):
    """What a folder is for.

    `source` is the repo, revision and split, or the path and split, that it is packed from.
    """

    benchmark: str
    source: dict[str, str]
    subsets: Annotated[tuple[str, ...], Field(strict=False)]


class File(_Strict):
    """The content of a file."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Packed(_Strict):
    """A subset: where its data came from, its counts, and whether the benchmark declares more.

    `captions` is the file of its captions.
    """

    origin: dict[str, str]
    images: int
    texts: int
    captions: Annotated[str, AfterValidator(_inside)]
    partial: bool


class Manifest(_Strict):
    """The content of manifest.json.

    `files` has the path of every other file, with `/`, relative to the folder. `prepared` is in
    UTC.
    """

    schema_version: Literal[1]
    benchmark: str
    source: dict[str, str]
    subsets: dict[str, Packed]
    made_by: str
    prepared: str
    files: dict[Annotated[str, AfterValidator(_inside)], File]


M = TypeVar("M", bound=_Strict)


def as_json(value: BaseModel) -> bytes:
    """The value as it is written to a file."""
    return (json.dumps(value.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n").encode()


def read_plan(folder: Path) -> Plan | None:
    """What is being packed into the folder and is not finished; None when nothing is."""
    return _read(folder / UNFINISHED, Plan) if (folder / UNFINISHED).is_file() else None


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished folder.

    MissingError when there is none, InvalidError when it is unfinished or broken.
    """
    # A folder may be packed again with more subsets: the manifest in it is then that of before.
    if (folder / UNFINISHED).is_file():
        raise InvalidError(
            f"{folder}: not finished. Run the same `prepare` again, it goes on from there."
        )
    if not (folder / MANIFEST).is_file():
        raise MissingError(
            f"{folder}: no {MANIFEST} in it. "
            "Make one with `python -m evals.data prepare NAME --to DIR`."
        )
    return _read(folder / MANIFEST, Manifest)


def check_folder(folder: Path, progress: Progress) -> Manifest:
    """The manifest, after every file was compared with it.

    InvalidError names what is missing, changed or additional.
    """
    manifest = read_manifest(folder)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    present = {path.relative_to(folder).as_posix() for path in paths} - {MANIFEST}
    changed: list[str] = []
    with progress(f"check {folder.name}") as report:
        for number, name in enumerate(sorted(manifest.files.keys() & present), 1):
            if not has_content(folder / name, manifest.files[name]):
                changed.append(name)
            report(number, len(manifest.files))
    differences = {
        "missing": sorted(manifest.files.keys() - present),
        "changed": changed,
        "additional": sorted(present - manifest.files.keys()),
    }
    problems = [
        f"{len(names):,} {kind} ({_first(names)})" for kind, names in differences.items() if names
    ]
    if problems:
        raise InvalidError(
            f"{folder}: not as prepared, of its {len(manifest.files):,} files and others "
            f"{', '.join(problems)}. Remove what is additional; when a file is missing or changed, "
            "delete the folder and prepare it again."
        )
    for subset, packed in manifest.subsets.items():
        _check_counts(folder / packed.captions, packed, subset)
    return manifest


def has_content(path: Path, expected: File) -> bool:
    """Whether the file is there with these bytes."""
    # The size is known at once, and tells most differences.
    if not path.is_file() or path.stat().st_size != expected.bytes:
        return False
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest() == expected.sha256


def place_of(source: Mapping[str, str]) -> str:
    """A source in words."""
    if "repo" in source:
        return f"{source['repo']} at {source['revision']}"
    return f"from {source['path']}"


def _check_counts(file: Path, packed: Packed, subset: str) -> None:
    captions = [field_of(entry, "captions", list, where) for entry, where in read_jsonl(file)]
    images, texts = len(captions), sum(map(len, captions))
    if (images, texts) != (packed.images, packed.texts):
        raise InvalidError(
            f"{file}: {images:,} images and {texts:,} texts, where the manifest says "
            f"{packed.images:,} and {packed.texts:,} for {subset}. "
            "Delete the folder and prepare it again."
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")


def _read(file: Path, kind: type[M]) -> M:
    value = read_json(file)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole file"
        raise InvalidError(
            f"{file}: `{where}` is not what this version writes ({first['msg']}). "
            "Delete the folder and prepare it again."
        ) from None
