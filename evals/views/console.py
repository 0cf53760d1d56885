"""A terminal on which every name stays text: control characters are written out, wherever in a table they stand."""

from typing import Any

from rich.console import Console
from rich.text import Text

from evals.escape import visible


class VisibleConsole(Console):
    """rich's console, whose every line and cell is one line of visible text; it breaks lines itself."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)
