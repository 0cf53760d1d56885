"""Checks that all loaders share: repeated ids and empty texts are refused in the same words.

Annotation files, tar archives, parquet tables and folders of classes all pass through these
functions, so that no way into a benchmark is laxer than another. What only one format can get wrong
is checked by its reader. `docs/reliability.md` has the table.
"""

import ast
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from evals.data.fields import kind_of
from evals.schema import InvalidError

# Letters and marks that draw nothing, though Unicode counts them as neither spaces nor format
# characters: the combining grapheme joiner, the fillers of Hangul, the empty Braille pattern.
# https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point
_DRAWS_NOTHING = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_INVISIBLE_CATEGORIES = frozenset(("Cc", "Cf", "Zl", "Zp", "Zs"))
# No caption has as many characters: such a text is not parsed to see whether it is a list.
_LONGEST_LIST = 100_000


def is_blank(text: str) -> bool:
    """Whether nothing of the text can be seen.

    It is empty, or holds spaces, control and zero-width characters only. `str.strip` knows
    White_Space alone and lets U+200B, U+2060 and U+FEFF pass. Rows of a single U+00A0 do occur:
    https://github.com/embeddings-benchmark/mteb/issues/5326.
    """
    return all(_is_invisible(character) for character in text)


def text_problem(text: object) -> str:
    """Why a text that wants embedding is refused; empty for one that is fine."""
    if not isinstance(text, str):
        return f"is {kind_of(text)}, not a string"
    if is_blank(text):
        return _blank_problem(text)
    if is_written_list(text):
        return f"is a list written as a string, {_shortened(text)}"
    return _character_problem(text)


def id_problem(name: object) -> str:
    """Why the id of an image or a text is refused; empty for one that is fine."""
    if not isinstance(name, str):
        return f"is {kind_of(name)}, not a string"
    if is_blank(name):
        return _blank_problem(name)
    return _character_problem(name)


def check_ids(
    places: Iterable[tuple[object, str]],
    *,
    what: str = "image",
    remedy: str = "Merge or remove one.",
) -> None:
    """Refuse ids that are none or that come twice, for which there is a `remedy`.

    `places` has each id with its place in the data.
    """
    first: dict[object, str] = {}
    for name, where in places:
        problem = id_problem(name)
        if problem:
            raise InvalidError(f"{where}: the id {name!r} of the {what} {problem}. Correct it.")
        if name in first:
            raise InvalidError(f"{where}: {what} {name!r} is listed at {first[name]} too. {remedy}")
        first[name] = where


def check_texts(texts: Sequence[object], where: str, *, what: str, owner: str = "") -> None:
    """Refuse texts that are none.

    In messages they are called `what`, such as `caption`, and belong to `owner`, such as an image.
    """
    for number, text in enumerate(texts):
        problem = text_problem(text)
        if problem:
            place = f"{what} {number} of {owner}" if owner else f"{what} {number}"
            raise InvalidError(f"{where}: {place} {problem}. Correct or remove it.")


def check_file_name(path: Path | str) -> None:
    """Refuse a name that is not UTF-8: the record, which is UTF-8, could not hold it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InvalidError(
            f"{escaped(path)}: a file name that is not UTF-8. Rename it, with convmv for example."
        ) from None


def check_origin(origin: Mapping[str, str]) -> None:
    """Refuse a place of the data that no record can hold, before hours of encoding are spent."""
    for value in origin.values():
        check_file_name(value)


def escaped(path: Path | str) -> str:
    r"""The path as any terminal and file can hold it, with \udcXX for a byte that is not UTF-8."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _blank_problem(text: str) -> str:
    return f"is empty: it holds invisible characters only, {text[:10]!a}" if text else "is empty"


def _is_invisible(character: str) -> bool:
    if unicodedata.category(character) in _INVISIBLE_CATEGORIES or character in _DRAWS_NOTHING:
        return True
    # Variation selectors change the character before them.
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0000" <= character <= "\U000e0fff"


def is_written_list(text: str) -> bool:
    """Whether the text is what `str` or JSON makes of a list of strings, as cells of CSV are."""
    # Most captions end here; parsing each as Python would take seconds for a benchmark.
    stripped = text.strip()
    if not (stripped.startswith(("['", '["')) and stripped.endswith(("']", '"]'))):
        return False
    if len(stripped) > _LONGEST_LIST:
        return True
    try:
        value = ast.literal_eval(stripped)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _character_problem(text: str) -> str:
    if "\0" in text:
        return "holds a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds a lone surrogate, which is no character"
    return ""


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
