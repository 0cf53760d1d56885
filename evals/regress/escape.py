"""Turns foreign names and messages into plain text for Markdown, XML and terminals."""

import re

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
# marks of direction: they reorder the text around them (Unicode Annex 9)
BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# `@` would notify a person, `:` would make a link or an emoji
MARKUP = re.compile(r"[&<>|`*_\[\]()#!@~\\$:]")


def plain(text: object) -> str:
    """One line without control characters; marks of direction are shown by name (`U+202E`)."""
    line = CONTROL.sub(" ", str(text))
    return BIDI.sub(lambda match: f"U+{ord(match[0]):04X}", line)


def markdown(text: object) -> str:
    """Text for a line or a table cell of Markdown: all markup becomes numeric entities."""
    return MARKUP.sub(lambda match: f"&#{ord(match[0])};", plain(text))
