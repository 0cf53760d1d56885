"""Reads values from entries of annotation files, and checks that each has the type of the format."""

import json
import math
from typing import Any

from evals.schema import InvalidError

_NOUNS: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    list: "a list",
    dict: "an object",
}


def field_of(entry: Any, key: str, kind: type, where: str, *, noun: str = "") -> Any:
    """`entry[key]`, which must be of that type.

    InvalidError names the key, the keys that are there, and what is allowed: `noun`, or what the
    type is called.
    """
    noun = noun or _NOUNS[kind]
    if not isinstance(entry, dict):
        raise InvalidError(
            f"{where}: must be an object with the key `{key}` ({noun}), and is {kind_of(entry)}. "
            "Correct it."
        )
    if key not in entry:
        keys = ", ".join(f"`{name}`" for name in list(entry)[:10]) or "none"
        raise InvalidError(
            f"{where}: no key `{key}`, which must be {noun}; the keys there are {keys[:200]}. "
            "Rename or add it."
        )
    value = entry[key]
    # True and False are whole numbers to Python.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidError(
            f"{where}: `{key}` must be {noun} and is {json.dumps(value)[:40]}. Correct the entry."
        )
    return value


def strings_of(entry: Any, key: str, where: str) -> tuple[str, ...]:
    """`entry[key]`, which must be a list of strings; errors as those of `field_of`."""
    values = field_of(entry, key, list, where, noun="a list of strings")
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise InvalidError(
                f"{where}: `{key}` must be a list of strings, and its item {number} is "
                f"{kind_of(value)}. Correct the entry."
            )
    return tuple(values)


def kind_of(value: Any) -> str:
    """What a value is, in the words of JSON where it has one."""
    if value is None:
        return "null"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return _NOUNS.get(type(value), f"a {type(value).__name__}")
