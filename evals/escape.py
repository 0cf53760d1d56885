"""Keeps foreign text (captions, names, paths) from being obeyed by a terminal, CI, Markdown or a spreadsheet."""

import html
import re
import unicodedata
from collections.abc import Callable

# Cc control, Cf format (what turns the direction of text is among them), Zl and Zp line breaks,
# Cs half a character
_UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Cs"}
_JOINERS = "\u200c\u200d"  # Persian and emoji are written with them, and they move nothing
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# A runner of GitHub obeys lines that begin with `::command`, and `##[command]` anywhere in a line.
# Source: "Workflow commands" on docs.github.com, and ActionCommand.cs of actions/runner.
# rich's markup has turned `[` into `\[`.
_CI_COMMAND = re.compile(r":(?=:[A-Za-z])|#(?=#\\?\[)")
# a cell that starts so is calculated by spreadsheets: owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_MARKUP = re.compile(r"[\\`*_\[\]|~$]")
# What GitHub makes of plain text: `@name` notifies a person, `#12` links an issue, `:name:` is an
# emoji, an address becomes a link. "R@1" is none of these: a letter stands before the `@`.
_GITHUB = re.compile(r"(?<!\w)@(?=\w)|#(?=\d)|:(?=//|[\w+-]+:)|(?<=www)\.")
# between the sign and the word, where it is not seen: the mark of a person or an issue ends there
_ZERO_WIDTH_SPACE = "&#8203;"


def visible(text: str) -> str:
    r"""One line that shows all that is unseen (`\n`, `\u{1b}`), and that CI takes for no command.

    Text that was made visible before stays as it is.
    """
    line = _CI_COMMAND.sub(lambda match: _braced(match[0]), text)
    return _replaced(line, lambda character: _SHORT.get(character) or _braced(character))


def visible_json(text: str) -> str:
    r"""JSON of the same meaning, with `\u001b` for what a terminal or CI would obey."""
    line = _CI_COMMAND.sub(lambda match: _json_escape(match[0]), text)
    return "\n".join(_replaced(part, _json_escape) for part in line.split("\n"))


def visible_page(text: str) -> str:
    """A page of many lines that shows all that is unseen; only the ends of its lines stay."""
    return "\n".join(_replaced(line, _braced) for line in text.split("\n"))


def markdown_text(text: str) -> str:
    """One line that GitHub's markdown shows as it was written, inside a line or a table cell."""
    # A line break would end the table's row.
    line = visible(" ".join(text.split()))
    line = _MARKUP.sub(lambda match: "\\" + match[0], line)
    line = html.escape(line, quote=False)
    return _GITHUB.sub(lambda match: _inert(match[0]), line)


def _inert(sign: str) -> str:
    return sign + _ZERO_WIDTH_SPACE if sign in "@#" else f"&#{ord(sign)};"


def spreadsheet_text(value: str) -> str:
    """A cell of a CSV: text that a spreadsheet would calculate gets an apostrophe in front."""
    return f"'{value}" if value.lstrip(" ").startswith(_FORMULA) else value


def _replaced(text: str, write: Callable[[str], str]) -> str:
    # Nothing unseen is printable for Python, and most texts are printable as a whole.
    if text.isprintable():
        return text
    return "".join(write(c) if _unseen(c) else c for c in text)


def _unseen(character: str) -> bool:
    # U+FFFE, U+FFFF and their likes are no characters: XML cannot hold them (section 2.2)
    if ord(character) & 0xFFFE == 0xFFFE:
        return True
    return unicodedata.category(character) in _UNSEEN and character not in _JOINERS


def _braced(character: str) -> str:
    return f"\\u{{{ord(character):x}}}"


def _json_escape(character: str) -> str:
    """Beyond the first 65,536 characters JSON writes two halves (RFC 8259, section 7)."""
    halves = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{halves[at]:02x}{halves[at + 1]:02x}" for at in range(0, len(halves), 2))
