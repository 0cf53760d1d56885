"""Foreign text, such as captions and names, that stays text in markdown."""

import html
import re

_MARKUP = re.compile(r"[\\`*_\[\]|~$<>]")


def markdown_text(text: str) -> str:
    """One line that GitHub's markdown shows as it was written, inside a line or a table cell."""
    line = " ".join(text.split())
    return _MARKUP.sub(
        lambda found: html.escape(found[0]) if found[0] in "<>" else "\\" + found[0],
        line.replace("&", "&amp;"),
    )
