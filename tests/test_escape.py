"""Foreign text stays text: what GitHub's Markdown, XML and a terminal would make of it, they do not."""

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from evals.escape import markdown_text, visible, visible_json, visible_page


def shown(markdown: str) -> str:
    """The text that a reader of the rendered line sees; a tag fails the test."""
    (inline,) = [
        token
        for token in MarkdownIt("gfm-like", {"linkify": False}).parse(f"x {markdown} x")
        if token.children
    ]
    kinds = {child.type for child in inline.children or []}
    assert kinds <= {"text", "text_special"}, (markdown, kinds)
    text = "".join(child.content for child in inline.children or [])
    return text.removeprefix("x ").removesuffix(" x").replace("\u200b", "")


@given(st.text(st.characters(exclude_characters="\u200b")))
def test_a_line_of_markdown_shows_the_text_that_was_written(text):
    assert shown(markdown_text(text)) == visible(" ".join(text.split()))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        # github.com: "Mentioning people and teams", "Autolinked references and URLs", "Using emojis"
        ("by @octocat", "by @&#8203;octocat"),
        ("fixes #12", "fixes #&#8203;12"),
        ("http://evil", "http&#58;//evil"),
        ("www.evil.com", "www&#46;evil.com"),
        (":tada:", "&#58;tada:"),
        ("R@1", "R@1"),
        ("C#", "C#"),
        ("tiny: 3", "tiny: 3"),
        ("<b>|", "&lt;b&gt;\\|"),
        ("עברית عربية", "עברית عربية"),
    ],
)
def test_what_github_makes_of_plain_text_it_does_not_make_of_ours(text, written):
    assert markdown_text(text) == written


def test_what_is_unseen_is_named_and_xml_can_hold_it():
    assert visible("a\u202eb") == "a\\u{202e}b"
    assert visible("a\x00\nb") == "a\\u{0}\\nb"
    everything = visible("".join(map(chr, range(0x110000))))
    # the characters of XML 1.0, section 2.2
    assert re.fullmatch("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*", everything)


def test_a_printable_character_is_none_that_has_to_be_shown():
    """Texts that are printable as a whole are written as they are, without a look at each character."""
    printable = filter(str.isprintable, map(chr, range(sys.maxunicode + 1)))
    categories = {unicodedata.category(character) for character in printable}
    assert not categories & {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
    assert visible("a\u200db") == "a\u200db" and visible_page("a\x1b\nb") == "a\\u{1b}\nb"
    assert visible_json("\x1b\n\x1b") == "\\u001b\n\\u001b"
