"""Turns foreign names and messages into plain text for Markdown, XML and terminals."""

import re
import unicodedata

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
# Persian and emoji are written with these; nobody sees other characters of category Cf, and the
# marks of direction among those reorder the text around them (Unicode Annex 9)
JOINERS = "\u200c\u200d"
# `@` would notify a person, `:` would make a link or an emoji
MARKUP = re.compile(r"[&<>|`*_\[\]()#!@~\\$:]")


def plain(text: object) -> str:
    """One line without control characters; what is unseen is shown by name (`U+202E`)."""
    line = CONTROL.sub(" ", str(text))
    return "".join(f"U+{ord(c):04X}" if _is_unseen(c) else c for c in line)


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) == "Cf" and character not in JOINERS


def markdown(text: object) -> str:
    """Text for a line or a table cell of Markdown: all markup becomes numeric entities."""
    return MARKUP.sub(lambda match: f"&#{ord(match[0])};", plain(text))
