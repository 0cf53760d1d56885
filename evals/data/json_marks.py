"""Recognises a JSON file by its keys before it is read, whatever its name."""

import functools
from pathlib import Path

from evals.reading import parse_json, read_json
from evals.schema import InvalidError


def first_keys(file: Path) -> set[str]:
    """The keys of the JSON object on the first line.

    There are none where there is no such object, which reading the file then reports.
    """
    try:
        with file.open("rb") as stream:
            entry = parse_json(stream.readline().decode("utf-8-sig"), str(file))
    except (OSError, UnicodeDecodeError, InvalidError):
        return set()
    return set(entry) if isinstance(entry, dict) else set()


def json_keys(file: Path) -> frozenset[str]:
    """The keys of a JSON file, by which its layout is told; none when it is no object.

    Those of the first entry of a list are among them, as `images[].file_name`.
    """
    return _json_keys(file, file.stat().st_mtime_ns)


def jsons_with(folder: Path, *keys: str) -> list[Path]:
    """The JSON files of a folder that have all these keys, whatever they are called."""
    return [file for file in sorted(folder.glob("*.json")) if set(keys) <= _keys_or_none(file)]


# A file of all annotations of COCO takes a second to parse, and several layouts look at its keys.
@functools.lru_cache(maxsize=64)
def _json_keys(file: Path, changed: int) -> frozenset[str]:
    content = read_json(file)
    if not isinstance(content, dict):
        return frozenset()
    keys = set(content)
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            keys |= {f"{key}[].{inner}" for inner in value[0]}
    return frozenset(keys)


def _keys_or_none(file: Path) -> frozenset[str]:
    # A file that has no say in what the folder is may be broken.
    try:
        return json_keys(file)
    except InvalidError:
        return frozenset()
