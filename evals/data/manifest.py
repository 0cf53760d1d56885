"""What a prepared folder holds: its manifest.json with the sha256 of every file, and the check of the folder against it.

A folder is finished when it has a manifest and no UNFINISHED mark; the mark says what is being packed there.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from hashlib import file_digest
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from evals.data.captioned import field_of, read_json, read_lines, read_text
from evals.schema import InvalidError, MissingError

MANIFEST = "manifest.json"
UNFINISHED = ".preparing.json"
SHOWN = 5  # names in a message

# `with progress("title") as report: report(done, total)`, as evals.cli.app.Log has it.
Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


def _inside(name: str) -> str:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or not name:
        raise ValueError("must be a path inside the folder, without `..`")
    return name


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Plan(_Strict):
    """What a folder is for: `source` is the repo, revision and split, or the path and split, that it is packed from."""

    benchmark: str
    source: dict[str, str]
    subsets: Annotated[tuple[str, ...], Field(strict=False)]


class File(_Strict):
    """The content of a file."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Packed(_Strict):
    """A subset: the place its data came from, its counts, and whether that is less than the benchmark declares."""

    origin: dict[str, str]
    images: int
    texts: int
    captions: Annotated[str, AfterValidator(_inside)]  # its file of captions
    partial: bool


class Manifest(_Strict):
    """The content of manifest.json; `files` has the path of every other file, with `/`, relative to the folder."""

    schema_version: Literal[1]
    benchmark: str
    source: dict[str, str]
    subsets: dict[str, Packed]
    made_by: str
    prepared: str  # UTC
    files: dict[Annotated[str, AfterValidator(_inside)], File]


M = TypeVar("M", bound=_Strict)


def as_json(value: BaseModel) -> bytes:
    """The value as it is written to a file."""
    return (json.dumps(value.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n").encode()


def read_plan(folder: Path) -> Plan | None:
    """What is being packed into the folder and is not finished; None when nothing is."""
    return _read(folder / UNFINISHED, Plan) if (folder / UNFINISHED).is_file() else None


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished folder; MissingError when there is none, InvalidError when it is unfinished or broken."""
    if (folder / UNFINISHED).is_file():
        raise InvalidError(
            f"{folder}: not finished. Run the same `prepare` again, it goes on from there."
        )
    if not (folder / MANIFEST).is_file():
        raise MissingError(
            f"{folder}: no {MANIFEST} in it. Make one with `python -m evals.data prepare NAME --to DIR`."
        )
    return _read(folder / MANIFEST, Manifest)


def check_folder(folder: Path, progress: Progress) -> Manifest:
    """The manifest, after every file was compared with it; InvalidError names what is missing, changed or additional."""
    manifest = read_manifest(folder)
    there = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    } - {MANIFEST}
    missing = sorted(manifest.files.keys() - there)
    changed = []
    with progress(f"check {folder.name}") as report:
        for n, name in enumerate(sorted(manifest.files.keys() & there), 1):
            if not has_content(folder / name, manifest.files[name]):
                changed.append(name)
            report(n, len(manifest.files))
    additional = sorted(there - manifest.files.keys())
    found = [("missing", missing), ("changed", changed), ("additional", additional)]
    if problems := [f"{len(names):,} {what} ({_some(names)})" for what, names in found if names]:
        raise InvalidError(
            f"{folder}: not as prepared, of its {len(manifest.files):,} files and others {', '.join(problems)}. "
            "Remove what is additional; when a file is missing or changed, delete the folder and prepare it again."
        )
    for subset, packed in manifest.subsets.items():
        _check_counts(folder / packed.captions, packed, subset)
    return manifest


def has_content(path: Path, expected: File) -> bool:
    """Whether the file is there with these bytes."""
    if not path.is_file() or path.stat().st_size != expected.bytes:
        return False
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest() == expected.sha256


def place_of(source: Mapping[str, str]) -> str:
    """A source in words."""
    return (
        f"{source['repo']} at {source['revision']}"
        if "repo" in source
        else f"from {source['path']}"
    )


def _check_counts(file: Path, packed: Packed, subset: str) -> None:
    entries = [
        field_of(read_json(line.text, line.where), "captions", list, line.where)
        for line in read_lines(file)
    ]
    found, declared = (len(entries), sum(map(len, entries))), (packed.images, packed.texts)
    if found != declared:
        raise InvalidError(
            f"{file}: {found[0]:,} images and {found[1]:,} texts, where the manifest says {declared[0]:,} and {declared[1]:,} "
            f"for {subset}. Delete the folder and prepare it again."
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _read(file: Path, kind: type[M]) -> M:
    value = read_json(read_text(file), str(file))
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole file"
        raise InvalidError(
            f"{file}: `{where}` is not what this version writes ({first['msg']}). Delete the folder and prepare it again."
        ) from None
