"""Rows of YAML files, read strictly: what is wrong is named by its file, row and field."""

import difflib
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evals.reading import MOST_YAML_BYTES, read_bytes, read_yaml
from evals.schema import ConfigError, MissingError

# A row's key is a make target, a folder and a column.
ROW_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class Row(BaseModel):
    """What every row of configs/*.yaml has.

    Unknown keys are refused, nothing is converted, nothing changes later.
    """

    # Strict: YAML 1.1 reads `no` as false, and a language must not become one.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(gt=0)]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


def nearest(name: str, rows: Iterable[str]) -> str:
    """` Did you mean …?` with the three names most like `name`; nothing when there is no name."""
    near = difflib.get_close_matches(name, list(rows), n=3, cutoff=0.0)
    return f" Did you mean {' or '.join(near)}?" if near else ""


R = TypeVar("R", bound=Row)


def read_rows(
    file: Path, kind: type[R], chosen: Callable[[Any], bool] = lambda fields: True
) -> dict[str, R]:
    """The rows of a file by name, validated; ConfigError names file, row, field and problem.

    Only those are read of whose fields `chosen` says so.
    """
    # A folder of configs without the file is a wrong folder, not data that is missing.
    try:
        content = read_bytes(file, most_bytes=MOST_YAML_BYTES, error=ConfigError)
    except MissingError as error:
        raise ConfigError(f"{error} EVALS_CONFIGS names another folder of configs.") from None
    loaded = _loaded(content, str(file))
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"{file}: must map row names to rows, and holds {type(loaded).__name__}. "
            "Write `name: {...}`."
        )
    return {
        str(name): _row(file, name, fields, kind)
        for name, fields in loaded.items()
        if chosen(fields)
    }


@lru_cache(maxsize=32)
def _loaded(content: bytes, where: str) -> Any:
    """What YAML says, parsed once a process: rows are made of it, and it is changed by nobody."""
    return read_yaml(content, where, error=ConfigError)


def _row(file: Path, name: Any, fields: Any, kind: type[R]) -> R:
    if not isinstance(name, str) or not ROW_NAME.fullmatch(name):
        raise ConfigError(
            f"{file}: {name!r} is no name for a row. "
            "Use a-z, 0-9, `.`, `_` and `-`, in quotes if YAML reads a word."
        )
    if not isinstance(fields, dict) or "name" in fields:
        raise ConfigError(
            f"{file}, row {name}: must be a mapping without the key `name`, "
            "which is the row's own key."
        )
    try:
        return kind.model_validate({"name": name, **fields})
    except ValidationError as error:
        problems = "; ".join(_problem(dict(item), kind) for item in error.errors())
        raise ConfigError(f"{file}, row {name}: {problems}.") from None


def _problem(error: dict[str, Any], row: type[Row]) -> str:
    """One pydantic error in words: the field, what is wrong, and what would be right."""
    kind = error["type"]
    field = ".".join(str(part) for part in error["loc"])
    value = error["input"]
    # A value may be a mapping of hundreds of lines.
    shown = repr(value)[:80]
    if kind == "extra_forbidden":
        return _unknown_key(error["loc"], row)
    if kind == "missing":
        return f"the key `{field}` is missing"
    if kind == "string_type" and isinstance(value, bool):
        bare, quoted = ("yes, on or true", '"on"') if value else ("no, off or false", '"no"')
        return (
            f"`{field}` is {value}, which is how YAML reads a bare {bare}; "
            f"put it in quotes, as in {quoted}"
        )
    if kind == "string_type":
        return f"`{field}` must be a string and is {shown}; put it in quotes"
    if kind == "string_pattern_mismatch" and field.endswith("revision"):
        return f"`{field}` must be a full commit of 40 hex digits and is {shown}"
    message = error["msg"].removeprefix("Value error, ")
    return f"`{field}` is {shown}: {message[0].lower()}{message[1:]}" if field else message


def _unknown_key(place: tuple[Any, ...], row: type[Row]) -> str:
    """What may stand where an unknown key stands: in the row, or in a mapping of it."""
    field = ".".join(map(str, place))
    mapping = row if len(place) == 1 else _mapping_of(row, place[0])
    # `name` is the row's own key, and may not stand among its fields.
    allowed = [name for name in mapping.model_fields if name != "name"] if mapping else []
    keys = f"; the keys allowed are {', '.join(allowed)}" if allowed else ""
    return f"unknown key `{field}`{keys}"


def _mapping_of(row: type[Row], field: str) -> type[Row] | None:
    """The kind of a field that is itself a mapping of named keys, such as `hub`; None for others."""
    annotation = row.model_fields[field].annotation
    # `Hub | None` is a union of types, `dict[str, Average]` a type with arguments.
    types = get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)
    rows = [kind for kind in types if isinstance(kind, type) and issubclass(kind, Row)]
    return rows[0] if rows else None
