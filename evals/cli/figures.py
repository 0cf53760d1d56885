"""Figures that a command leaves beside its record: one that fails costs a warning, never the table."""

from collections.abc import Callable
from pathlib import Path

from evals.cli.app import Log


def draw_figures(log: Log, draw: Callable[[], list[Path]]) -> list[Path]:
    """The paths of the figures that `draw` writes; none, and a warning, when it fails."""
    try:
        return draw()
    # A font, a backend, a full disk: whatever it is, the numbers are there, and the warning names it.
    except Exception as error:
        log.info(
            f"warning: no figures: {type(error).__name__}: {error}. "
            "The table and the record are whole."
        )
        return []
