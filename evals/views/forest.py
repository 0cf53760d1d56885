"""The forest plot of a comparison: a line per change with its interval, and its numbers beside it."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.analysis.comparison import Change
from evals.records.manifest import path_component
from evals.records.means import MEAN
from evals.records.selection import Measured
from evals.stats.paired import FLOOR
from evals.views.comparison import Title, mark, p_text
from evals.views.style import BLUE, GREY, RED, in_points

FELL, ROSE, NEITHER = RED, BLUE, GREY


def place_beside(pairs: Sequence[tuple[Measured, Measured]]) -> Path:
    """Where a forest plot lies unless a path is given: in the record of the first B, named after A."""
    a, b = pairs[0]
    return b.run.path / f"{path_component(f'{b.label}-against-{a.label}')}.png"


def forest_image(title: Title, changes: Sequence[Change], kind: str = "png") -> bytes:
    """The forest plot as PNG or SVG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    image = io.BytesIO()
    figure = forest(title, changes)
    FigureCanvasAgg(figure)
    # Without a date, equal results are equal files.
    figure.savefig(image, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return image.getvalue()


def forest(title: Title, changes: Sequence[Change]) -> Any:
    """A matplotlib figure: a line per change with its interval, and its numbers at the right.

    The floor is a band about zero.
    """
    from matplotlib.figure import Figure

    # So much height per line that labels do not touch, however many there are.
    figure = Figure(figsize=(9, 1.5 + 0.27 * len(changes)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    floor = 100 * FLOOR
    axes.axvspan(-floor, floor, color="#e6e6e6", zorder=0, label=f"within {floor:.1f} points")
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)
    for place, change in enumerate(changes):
        _draw(axes, place, change)
    axes.set_yticks(range(len(changes)), [_label(change) for change in changes])
    for tick, change in zip(axes.get_yticklabels(), changes, strict=True):
        tick.set_fontweight("bold" if change.primary else "normal")
    # Upside down: the first change on top, as in the table.
    axes.set_ylim(len(changes) - 0.5, -0.5)
    axes.set_xlabel(f"B − A, points, with 95% interval; grey band: the floor of {floor:.1f} points")
    axes.set_title(f"A: {title.a}\nB: {title.b}", loc="left", fontsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _draw(axes: Any, place: int, change: Change) -> None:
    difference = change.difference
    colour = _colour(change)
    if difference.interval:
        ends = [100 * end for end in difference.interval]
        axes.plot(
            ends,
            [place, place],
            color=colour,
            linewidth=1.6,
            # A round end would add to the length of the interval.
            solid_capstyle="butt",
        )
    marker = "D" if change.subset == MEAN else "o"
    axes.plot(100 * difference.value, place, marker, color=colour, markersize=5)
    value = in_points(difference.value, digits=2)
    axes.annotate(
        f"{value}   p {p_text(difference.p)}{mark(change)}",
        (1.01, place),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=9,
        color=colour,
    )


def _colour(change: Change) -> str:
    if change.fell:
        return FELL
    # The mirror image of what `fell` means: seen by the one-sided bound, and worth it.
    difference = change.difference
    rose = difference.lower is not None and difference.lower > 0 and difference.value > FLOOR
    return ROSE if rose else NEITHER


def _label(change: Change) -> str:
    parts = (change.benchmark, change.subset, change.direction, change.metric)
    return " ".join(part for part in parts if part)
