"""JSON, JSON lines and YAML read strictly, with errors that name file, line, culprit and remedy.

`json.loads` lets the second of two equal keys win, takes NaN, and ends in a bare RecursionError on
deep nesting. `yaml.safe_load` expands aliases and takes 017 for 15. Here each of these is an
`EvalError` of the class that the caller chooses.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from evals.schema import EvalError, InvalidError, MissingError
from evals.strict_yaml import DEEPEST, MOST_DIGITS, load_yaml

# The largest annotations in use, those of COCO, have 150 MB.
MOST_BYTES = 1 << 30
# PyYAML takes 8 seconds a MB here, and the largest file of configs/ has 16 kB.
MOST_YAML_BYTES = 10_000_000

_BOM = b"\xef\xbb\xbf"
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'


class Line(NamedTuple):
    """A line of a text file without its line end; `where` is its file and number."""

    text: str
    where: str


class Entry(NamedTuple):
    """The value on a line of a JSON lines file; `where` is its file and number."""

    value: Any
    where: str


def read_json(
    source: Path | bytes, where: str | None = None, *, error: type[EvalError] = InvalidError
) -> Any:
    """The value of a JSON file, or of bytes that `where` names in messages.

    MissingError: the file cannot be read. `error`: it is no UTF-8, no JSON, nested deeper than
    DEEPEST, has a number of more than MOST_DIGITS digits or none that is finite, or an object that
    has a key twice.
    """
    text, where = _text_of(source, where, MOST_BYTES, error)
    return parse_json(text, where, error=error)


def read_jsonl(file: Path, *, error: type[EvalError] = InvalidError) -> Iterator[Entry]:
    """The value of each line, ended by LF or CRLF.

    Errors as those of `read_json`, and for an empty line.
    """
    for line in read_lines(file, error=error):
        if not line.text.strip():
            raise error(f"{line.where}: is empty, where a JSON value is expected. Remove the line.")
        yield Entry(parse_json(line.text, line.where, error=error), line.where)


def read_yaml(
    source: Path | bytes, where: str | None = None, *, error: type[EvalError] = InvalidError
) -> Any:
    """The value of a YAML file, or of bytes that `where` names in messages; dates stay strings.

    MissingError: the file cannot be read. `error`: it is no UTF-8 or no YAML, has aliases, tags,
    merge keys, a key twice, deeper nesting than DEEPEST, or a number that is not written in plain
    decimal, such as 017, 0x1F, 1:30 or .nan.
    """
    text, where = _text_of(source, where, MOST_YAML_BYTES, error)
    try:
        return load_yaml(text)
    except yaml.reader.ReaderError as problem:
        place = _place(where, text, problem.position)
        character = f"U+{problem.character:04X}"
        raise error(
            f"{place}: holds {character}, a character that YAML forbids. Remove it."
        ) from None
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        place = f"{where}, line {mark.line + 1}" if mark else where
        raise error(f"{place}: {problem.problem or problem.context}. Correct the YAML.") from None
    # Callers may be deep in the stack themselves.
    except RecursionError:
        raise error(f"{where}: nested too deeply. Correct the YAML.") from None


def parse_json(text: str, where: str, *, error: type[EvalError] = InvalidError) -> Any:
    """The value of a JSON text; limits and errors are those of `read_json`."""
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as problem:
        place = _place(where, text, problem.pos)
        raise error(
            f"{place}: not JSON ({problem.msg}, column {problem.colno}). Correct it, or copy it "
            "again."
        ) from None
    except _BadNumberError as problem:
        place = _place(where, text, _position(text, problem.token))
        raise error(f"{place}: {problem}. Correct it, or copy the file again.") from None
    except _SecondKeyError:
        position, key = _second_key(text)
        place = _place(where, text, position)
        raise error(f"{place}: the key {key!r} comes twice in one object. Remove one.") from None
    except RecursionError:
        _refuse_depth(where, error)
    # Python's scanner goes as deep as the interpreter allows, and what works with the value does
    # not.
    if _deeper_than(value, DEEPEST):
        _refuse_depth(where, error)
    return value


def read_text(file: Path, *, error: type[EvalError] = InvalidError) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    MissingError: the file cannot be read. `error`: it is no UTF-8, in the line that is named, or is
    larger than MOST_BYTES.
    """
    return _text_of(file, None, MOST_BYTES, error)[0]


def read_lines(file: Path, *, error: type[EvalError] = InvalidError) -> Iterator[Line]:
    """The lines, ended by LF or CRLF only: a caption may hold U+2028 and its like.

    Errors are those of `read_text`.
    """
    # `str.splitlines` would also end lines at U+2028, U+0085 and form feeds.
    lines = read_text(file, error=error).split("\n")
    if lines[-1] == "":
        lines.pop()
    for number, text in enumerate(lines, 1):
        yield Line(text.removesuffix("\r"), f"{file}, line {number}")


def _text_of(
    source: Path | bytes, where: str | None, most_bytes: int, error: type[EvalError]
) -> tuple[str, str]:
    """The decoded text, and its name in messages."""
    where = where or (str(source) if isinstance(source, Path) else "bytes")
    if isinstance(source, Path):
        source = read_bytes(source, where, most_bytes=most_bytes, error=error)
    # Bytes of a caller, or a file that grew since it was looked at.
    if len(source) > most_bytes:
        _refuse_size(where, len(source), most_bytes, error=error)
    data = source.removeprefix(_BOM)
    try:
        return data.decode(), where
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise error(
            f"{where}, line {line}: not UTF-8 ({problem.reason}). Convert the file to UTF-8."
        ) from None


def read_bytes(
    file: Path,
    where: str | None = None,
    *,
    most_bytes: int = MOST_BYTES,
    error: type[EvalError] = InvalidError,
) -> bytes:
    """The bytes of a file that `where` names in messages.

    MissingError: it cannot be read, or is no file. `error`: it is larger than `most_bytes`.
    """
    where = where or str(file)
    try:
        # A fifo would be waited for, without end.
        if file.exists() and not file.is_file():
            raise MissingError(f"{where}: not a file. Point at the file itself.")
        size = file.stat().st_size
        if size > most_bytes:
            _refuse_size(where, size, most_bytes, error=error)
        return file.read_bytes()
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise MissingError(
            f"{where}: cannot be read ({reason}). Check the file and its permissions."
        ) from None


def _refuse_size(where: str, size: int, most_bytes: int, *, error: type[EvalError]) -> NoReturn:
    raise error(f"{where}: {size:,} bytes, and {most_bytes:,} are allowed. Split the file.")


def _refuse_depth(where: str, error: type[EvalError]) -> NoReturn:
    raise error(
        f"{where}: objects or lists nested more than {DEEPEST} deep. Correct it, or copy it again."
    ) from None


def _place(where: str, text: str, position: int) -> str:
    """`where` with the number of the line, unless the text is a single line."""
    return f"{where}, line {text.count(chr(10), 0, position) + 1}" if "\n" in text else where


class _BadNumberError(ValueError):
    """A number that cannot be meant; `token` is how it is written."""

    def __init__(self, token: str, problem: str) -> None:
        super().__init__(problem)
        self.token = token


class _SecondKeyError(ValueError):
    """An object with a key that it has already."""


# `int` takes time that grows with the square of the digits, and raises a bare error above 4,300.
def _integer(token: str) -> int:
    if len(token) > MOST_DIGITS:
        raise _BadNumberError(token, f"a number of {len(token):,} digits")
    return int(token)


def _finite(token: str) -> float:
    value = float(token)
    if len(token) > MOST_DIGITS or not math.isfinite(value):
        raise _BadNumberError(token, f"the number {token[:40]} is too long, or none that is finite")
    return value


def _constant(token: str) -> NoReturn:
    raise _BadNumberError(token, f"{token} is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # This hook sees no position. The place of the second key is looked for when it is needed.
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _SecondKeyError
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_finite, parse_constant=_constant
)


def _position(text: str, token: str) -> int:
    """Where a token first stands outside of strings."""
    for match in re.finditer(rf"{_STRING}|{re.escape(token)}", text, re.DOTALL):
        if match[0] == token:
            return match.start()
    return 0


def _second_key(text: str) -> tuple[int, str]:
    """The first key that its object has already, and where it stands.

    The text is JSON up to there.
    """
    objects: list[set[str]] = []
    for match in re.finditer(rf"({_STRING})(\s*:)?|[{{}}]", text, re.DOTALL):
        if match[0] == "{":
            objects.append(set())
        elif match[0] == "}":
            objects.pop()
        elif match[2]:
            key = json.loads(match[1])
            if key in objects[-1]:
                return match.start(), key
            objects[-1].add(key)
    raise AssertionError("the decoder saw a key twice")


def _deeper_than(value: Any, limit: int) -> bool:
    """Whether objects and lists are nested deeper than `limit`."""
    # Level by level: recursion is what the limit prevents.
    level = [value]
    for _ in range(limit):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        if not inner:
            return False
        level = inner
    return any(isinstance(item, dict | list) for item in level)
