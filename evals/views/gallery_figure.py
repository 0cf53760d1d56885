"""The figure of a run with distractors: recall falls as the gallery grows, a panel per direction."""

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from evals.evaluation.outcome import Outcome, Result
from evals.records.additions import write_into
from evals.tasks.gallery_curve import Curve, CurvePoint
from evals.views.gallery_curve import as_csv, as_markdown, title, with_curves
from evals.views.style import BLUE, GREEN, ORANGE

COLOURS = (BLUE, GREEN, ORANGE)  # R@1, R@5, R@10
DIRECTIONS = {"t2i": "texts search images", "i2t": "images search texts"}


def write_curves(outcomes: Sequence[Result]) -> list[Path]:
    """The table of each outcome with distractors beside its record, as markdown and as CSV."""
    paths = []
    for outcome in with_curves(outcomes):
        for name, content in (
            ("distractors.md", as_markdown(outcome).encode()),
            ("distractors.csv", as_csv(outcome)),
        ):
            write_into(outcome.path / name, content)
            paths.append(outcome.path / name)
    return paths


def draw_curves(outcomes: Sequence[Result]) -> list[Path]:
    """A figure for each subset at the most dimensions, beside the record; returns their paths."""
    return [
        _draw(outcome, subset, subset_curves)
        for outcome in with_curves(outcomes)
        for subset, subset_curves in outcome.curves.items()
    ]


def _draw(outcome: Outcome, subset: str, curves: Sequence[Curve]) -> Path:
    # Not pyplot: it would choose a backend for windows, and keep every figure until it is closed.
    from matplotlib.figure import Figure

    # At the widest alone: how scores fall with the dimension is the figure of a sweep.
    dim = max(curve.dim for curve in curves)
    widest = [curve for curve in curves if curve.dim == dim]
    figure = Figure(figsize=(4.2 * len(widest) + 0.8, 4.2), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(widest), sharey=True, squeeze=False)[0]
    figure.suptitle(f"{title(outcome)} · {subset} · {dim} dimensions", fontsize=10)
    for axes, curve in zip(panels, widest, strict=True):
        _draw_curve(axes, curve)
    panels[0].set_ylabel("recall (%), with 95% interval over images")
    panels[-1].legend(frameon=False, fontsize=8)
    data = BytesIO()
    figure.savefig(data, format="png")
    path = outcome.path / f"distractors-{subset}.png"
    write_into(path, data.getvalue())
    return path


def _draw_curve(axes: Any, curve: Curve) -> None:
    from matplotlib.ticker import NullLocator

    metrics = dict.fromkeys(point.metric for point in curve.points)
    for colour, metric in zip(COLOURS, metrics, strict=True):
        points = [point for point in curve.points if point.metric == metric]
        sizes = [point.n_gallery for point in points]
        ends = [_interval(point) for point in points]
        lows, highs = [low for low, _ in ends], [high for _, high in ends]
        axes.fill_between(sizes, lows, highs, color=colour, alpha=0.15, linewidth=0)
        values = [100 * point.value.value for point in points]
        axes.plot(sizes, values, color=colour, marker="o", markersize=3, label=metric)
    axes.set_xscale("log")
    sizes = sorted({point.n_gallery for point in curve.points})
    axes.set_xticks(sizes, _numbers(sizes), fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 103)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_xlabel("items in the gallery (log scale)")
    axes.set_title(DIRECTIONS.get(curve.direction, curve.direction), fontsize=9)


def _numbers(sizes: Sequence[int]) -> list[str]:
    """The labels of ticks; of sizes too near to each other on the axis the larger has its number."""
    # On a log axis a width is a ratio: a number takes about an eighth of the axis.
    room = (sizes[-1] / sizes[0]) ** 0.125
    labels = []
    following = math.inf
    for size in reversed(sizes):
        has_room = following / size > room
        labels.append(f"{size:,}" if has_room else "")
        following = size if has_room else following
    return labels[::-1]


def _interval(point: CurvePoint) -> tuple[float, float]:
    """In per cent; a point where there is no interval."""
    low, high = point.value.interval or (point.value.value, point.value.value)
    return 100 * low, 100 * high
