"""The JSON files of a checkpoint, read strictly: what is not understood is refused by its key."""

import json
from collections.abc import Iterable, Mapping
from typing import Any


class CheckpointError(ValueError):
    """A checkpoint or config that is not a jina-clip model; the message names the key or file."""


def parse_object(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object in the bytes of a file.

    CheckpointError, beginning with `where`, for anything else: broken UTF-8 or JSON, a key that
    comes twice, a list.
    """

    # json keeps the last of two equal keys, and a reader of the file believes the first.
    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        section: dict[str, Any] = {}
        for key, value in pairs:
            if key in section:
                raise ValueError(f"the key {key!r} comes twice")
            section[key] = value
        return section

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=without_duplicates)
    except ValueError as error:  # UTF-8, JSON, a duplicate, a number of thousands of digits
        raise CheckpointError(f"{where}: {error}") from error
    except RecursionError:
        raise CheckpointError(f"{where}: nested too deep") from None
    return as_object(value, where)


def as_object(value: object, where: str) -> dict[str, Any]:
    """A copy of a JSON object that may be changed; CheckpointError when the value is none."""
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{where} is {value!r}, not an object")
    return dict(value)


def take(section: dict[str, Any], name: str, where: str) -> Any:
    """The value of a key that must be there. It is removed: what stays was not understood."""
    if name not in section:
        raise CheckpointError(f"{where}: {name} is missing")
    return section.pop(name)


def check_counts(section: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    """CheckpointError for a value that is not a whole number of 1 or more."""
    for name in names:
        value = section[name]
        if type(value) is not int or value < 1:  # bool is an int to isinstance
            raise CheckpointError(f"{where}.{name} is {value!r}, not a whole number of 1 or more")


def check_numbers(section: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    """CheckpointError for a value that is not a positive number."""
    for name in names:
        value = section[name]
        if type(value) not in (int, float) or not value > 0:
            raise CheckpointError(f"{where}.{name} is {value!r}, not a positive number")


def check_flags(section: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    """CheckpointError for a value that is neither true nor false."""
    for name in names:
        if type(section[name]) is not bool:
            raise CheckpointError(f"{where}.{name} is {section[name]!r}, not true or false")


def check_fixed(section: Mapping[str, Any], fixed: Mapping[str, Any], where: str) -> None:
    """CheckpointError for a key that asks for something other than what is computed here."""
    for name, computed in fixed.items():
        value = section.get(name, computed)
        if (list(value) if isinstance(value, tuple) else value) != computed:
            raise CheckpointError(
                f"{where}.{name} is {value!r}; only {computed!r} is a jina-clip model"
            )


def take_name(section: dict[str, Any], name: str, where: str) -> str | None:
    """The value of a key that holds a string or null, or is not there; it is removed."""
    value = section.pop(name, None)
    if value is not None and not isinstance(value, str):
        raise CheckpointError(f"{where}.{name} is {value!r}, not a name")
    return value
