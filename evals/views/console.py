"""A terminal on which names stay text: control characters are written out, also in tables."""

import textwrap
from typing import Any

from rich.console import Console
from rich.text import Text

from evals.escape import visible


class VisibleConsole(Console):
    """rich's console, to which a line or a cell is one line of visible text.

    It breaks lines between words alone: a path stays whole, so that it can be copied.
    """

    def print(self, *objects: Any, soft_wrap: bool | None = None, **options: Any) -> None:
        """rich's `print`, whose lines end with a word and never with a space.

        With `soft_wrap` text is broken by a terminal's width, and not in a file.
        """
        is_text = len(objects) == 1 and isinstance(objects[0], str)
        if is_text and (self.is_terminal or not soft_wrap):
            markup = self.render_str(objects[0], style=options.pop("style", ""), highlight=False)
            for line in _between_words(markup, self.width):
                super().print(line, soft_wrap=True, **options)
            return
        # A line that is too wide is broken by the terminal; rich would cut it off.
        super().print(*objects, soft_wrap=soft_wrap, **{"crop": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        # Here, because rich calls it for every string that it prints, those of cells included.
        return super().render_str(visible(text), **options)


def _between_words(text: Text, width: int) -> list[Text]:
    """Lines of at most so many characters, or of one word."""
    wrapper = textwrap.TextWrapper(
        width, break_long_words=False, break_on_hyphens=False, drop_whitespace=False
    )
    ends = []
    end = 0
    for part in wrapper.wrap(text.plain):
        end += len(part)
        ends.append(end)
    first, *rest = text.divide(ends[:-1])
    # The space between two words may begin a line, where the word before it just had room.
    lines = [first] + [line[len(line.plain) - len(line.plain.lstrip()) :] for line in rest]
    for line in lines:
        line.rstrip()
    return lines
