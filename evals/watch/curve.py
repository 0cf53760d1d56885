"""The changes of a training run over its steps, with their 95% intervals, as a picture."""

import io
from collections.abc import Sequence
from typing import Any

from evals.views.style import BLUE, GREEN, ORANGE, PINK, RED
from evals.watch.journal import Step
from evals.watch.judging import Judged, Rule

COLOURS = (BLUE, ORANGE, GREEN, PINK)


def curve_png(steps: Sequence[Step], rule: Rule, title: str) -> bytes:
    """A line per metric that is tested; what was called is marked, the floor is a band."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    floor = 100 * rule.floor
    axes.axhspan(-floor, floor, color="#e6e6e6", zorder=0, label=f"within {floor:g} points")
    axes.axhline(0, color="black", linewidth=0.8, zorder=1)
    # The first checkpoint has no change where it is the baseline, and so no point.
    names = list(dict.fromkeys(entry.metric for step in steps for entry in step.judged))
    for place, name in enumerate(names):
        _draw(axes, steps, name, COLOURS[place % len(COLOURS)])
    axes.set_xlabel("step")
    axes.set_ylabel("change from the baseline, points")
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    image = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(image, format="png")
    return image.getvalue()


def _draw(axes: Any, steps: Sequence[Step], name: str, colour: str) -> None:
    points: list[tuple[int, Judged]] = []
    for step in steps:
        points += [(step.step, entry) for entry in step.judged if entry.metric == name]
    xs = [step for step, _ in points]
    axes.plot(xs, [100 * entry.change for _, entry in points], "o-", color=colour, label=name)
    for x, entry in points:
        if entry.low is not None and entry.high is not None:
            axes.plot([x, x], [100 * entry.low, 100 * entry.high], color=colour, alpha=0.6)
        # Beside the colour, for those who do not see it.
        if entry.fell:
            axes.plot(x, 100 * entry.change, "v", color=RED, markersize=11, zorder=5)
            axes.annotate("fell", (x, 100 * entry.change), (0, -16), textcoords="offset points")
