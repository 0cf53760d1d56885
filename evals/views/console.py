"""A terminal on which names stay text: control characters are written out, also in tables."""

from typing import Any

from rich.console import Console
from rich.text import Text

from evals.escape import visible


class VisibleConsole(Console):
    """rich's console, to which a line or a cell is one line of visible text. It breaks lines itself."""

    def render_str(self, text: str, **options: Any) -> Text:
        # Here, because rich calls it for every string that it prints, those of cells included.
        return super().render_str(visible(text), **options)
