"""Names and messages as text, whatever they hold: nothing that Markdown, XML or a terminal would take for its own."""

import re

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
BIDI = re.compile(
    "[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)  # reorders what stands around it
MARKUP = re.compile(
    r"[&<>|`*_\[\]()#!@~\\$:]"
)  # with `@` nobody is called, with `:` no link or emoji is made


def plain(text: object) -> str:
    """One line: control characters are spaces, and characters that turn the direction of text are named (`U+202E`)."""
    return BIDI.sub(lambda found: f"U+{ord(found[0]):04X}", CONTROL.sub(" ", str(text)))


def markdown(text: object) -> str:
    """Text for a cell of a Markdown table or a line of it: all markup is numeric entities; a right-to-left name stays whole."""
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", plain(text))
