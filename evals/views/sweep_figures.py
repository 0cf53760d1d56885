"""Figures of a sweep: score against dimension, per cent kept, and bytes against score with its Pareto front."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.embeddings.precision import BITS
from evals.evaluation.points import Point
from evals.records.record import path_component
from evals.views.style import BLUE, GREEN, ORANGE, PINK, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Markers say the same as colours. Equal values are all seen: the first marker is the largest, and
# those of rescored precisions are rings around them.
LOOKS: dict[str, dict[str, Any]] = {
    "float32": {"color": BLUE, "marker": "o", "markersize": 10},
    "float16": {"color": GREEN, "marker": "s", "markersize": 7},
    "int8": {"color": ORANGE, "marker": "^", "markersize": 5},
    "binary": {"color": PINK, "marker": "D", "markersize": 4},
}
RING = {"int8": 11, "binary": 9}
# of a precision that has no look of its own
OTHER: dict[str, Any] = {"color": RED, "marker": "v", "markersize": 6}
DIRECTIONS = {"t2i": "text finds image (t2i)", "i2t": "image finds text (i2t)", "": "main score"}


def draw(sweep_points: Sequence[Point], folder: Path) -> list[Path]:
    """Three PNGs for each benchmark, model and metric, named by them; the folder is made.

    Returns their paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    groups: dict[tuple[str, str, str], list[Point]] = {}
    for point in sweep_points:
        groups.setdefault((point.benchmark, point.model, point.metric), []).append(point)
    for (benchmark, model, metric), group in groups.items():
        for kind, make in FIGURES.items():
            figure = make(group)
            paths.append(
                folder
                / f"{path_component('.'.join([benchmark, model, metric.replace('@', ''), kind]))}.png"
            )
            figure.savefig(paths[-1], dpi=150)
    return paths


def score_by_dimension(sweep_points: Sequence[Point]) -> "Figure":
    """Score in per cent on a log axis of dimensions, with bands of 95% intervals.

    An axis of its own for each direction.
    """
    figure, panels = _panels(sweep_points, "by dimension")
    for ax, panel_points in panels:
        for name, line in _lines(panel_points).items():
            look = _look(name)
            x, y = [p.dim for p in line], [100 * p.value for p in line]
            ax.plot(x, y, label=name, **look)
            if all(p.ci_low is not None for p in line):
                low, high = (
                    [100 * (getattr(p, end) or 0.0) for p in line] for end in ("ci_low", "ci_high")
                )
                ax.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
        _dimension_axis(ax, panel_points)
        ax.set_ylim(0, 106)
    panels[0][0].set_ylabel(f"{sweep_points[0].metric} (%), bands: 95% interval")
    return _finished(figure, panels)


def kept_by_dimension(sweep_points: Sequence[Point]) -> "Figure":
    """Per cent of the full width's float32 score, with the line of 100%.

    An axis that does not begin at 0 says so.
    """
    figure, panels = _panels(sweep_points, "as a share of the full width in float32")
    shares = [100 * p.kept for p in sweep_points if p.kept is not None]
    least = min(shares, default=0.0)
    floor = 10 * (least // 10) - 5 if least >= 50 else 0.0
    for ax, panel_points in panels:
        for name, line in _lines([p for p in panel_points if p.kept is not None]).items():
            ax.plot(
                [p.dim for p in line],
                [100 * (p.kept or 0.0) for p in line],
                label=name,
                **_look(name),
            )
        ax.axhline(100, color="0.4", linewidth=1, linestyle=":")
        _dimension_axis(ax, panel_points)
        ax.set_ylim(floor, max([105.0, *shares]) * 1.01)
    cut = f"; axis begins at {floor:.0f}" if floor else ""
    panels[0][0].set_ylabel(f"{sweep_points[0].metric} kept (%{cut})")
    return _finished(figure, panels)


def score_by_bytes(sweep_points: Sequence[Point]) -> "Figure":
    """Score in per cent against the bytes of a vector on a log axis.

    The front is what nothing smaller beats.
    """
    figure, panels = _panels(sweep_points, "for the bytes of a vector")
    for ax, panel_points in panels:
        for name, line in _lines(panel_points).items():
            x, y = [p.bytes for p in line], [100 * p.value for p in line]
            ax.plot(x, y, label=name, **{**_look(name), "linestyle": ""})
        front = pareto(panel_points)
        x, y = [p.bytes for p in front], [100 * p.value for p in front]
        ax.step(x, y, where="post", color="0.3", linewidth=1, zorder=1, label="Pareto front")
        for p in _told_apart(front):
            at = (p.bytes, 100 * p.value)
            ax.annotate(
                str(p.dim), at, xytext=(-5, 6), textcoords="offset points", fontsize=7, ha="right"
            )
        sizes = [p.bytes for p in panel_points]
        _log_axis(ax, [4**i for i in range(12) if min(sizes) <= 4**i <= max(sizes)], sizes)
        ax.set_xlabel("bytes of a vector (log scale); numbers: dimensions on the front")
        ax.set_ylim(0, 106)
    panels[0][0].set_ylabel(f"{sweep_points[0].metric} (%)")
    return _finished(figure, panels)


FIGURES = {"score": score_by_dimension, "kept": kept_by_dimension, "bytes": score_by_bytes}


def pareto(sweep_points: Sequence[Point]) -> list[Point]:
    """The points that no point of as few bytes or fewer beats, smallest first."""
    front: list[Point] = []
    for point in sorted(sweep_points, key=lambda p: (p.bytes, -p.value)):
        if not front or point.value > front[-1].value:
            front.append(point)
    return front


def _told_apart(front: Sequence[Point]) -> list[Point]:
    """Those of the front whose numbers have room: of points within half a doubling of bytes, the smallest."""
    labelled: list[Point] = []
    for point in front:
        if not labelled or point.bytes > 1.5 * labelled[-1].bytes:
            labelled.append(point)
    return labelled


def _panels(
    sweep_points: Sequence[Point], what: str
) -> tuple["Figure", list[tuple["Axes", list[Point]]]]:
    """A figure with an axis for each direction, titled with the data and its size."""
    from matplotlib.figure import Figure

    directions = list(dict.fromkeys(p.direction for p in sweep_points))
    figure = Figure(figsize=(4.2 * len(directions) + 1.6, 4.2), layout="constrained")
    axes = figure.subplots(1, len(directions), sharey=True, squeeze=False)[0]
    first, several = sweep_points[0], len(sweep_points[0].subsets.split())
    members = f"mean over {several} subsets" if several > 1 else first.subsets
    part = " (partial run)" if first.benchmark.endswith(".partial") else ""
    title = f"{first.title} by {first.model}: {first.metric} {what}, {members}{part}"
    figure.suptitle(
        textwrap.fill(title, int(13 * figure.get_figwidth()), break_on_hyphens=False), fontsize=10
    )
    panels = []
    for ax, direction in zip(axes, directions, strict=True):
        panel_points = [p for p in sweep_points if p.direction == direction]
        ax.set_title(
            f"{DIRECTIONS.get(direction, direction)}, n = {panel_points[0].n:,}", fontsize=9
        )
        panels.append((ax, panel_points))
    return figure, panels


def _lines(panel_points: Sequence[Point]) -> dict[str, list[Point]]:
    names = sorted(
        {p.precision for p in panel_points},
        key=lambda name: (list(BITS).index(name.partition("+")[0]), name),
    )
    return {
        name: sorted((p for p in panel_points if p.precision == name), key=lambda p: p.dim)
        for name in names
    }


def _look(precision: str) -> dict[str, Any]:
    """A rescored precision has a dashed line and rings for markers."""
    kind, _, rescored = precision.partition("+")
    ring = {"linestyle": "--", "markerfacecolor": "none", "markersize": RING.get(kind, 10)}
    return LOOKS.get(kind, OTHER) | (ring if rescored else {"linestyle": "-"})


def _dimension_axis(ax: "Axes", panel_points: Sequence[Point]) -> None:
    dims = sorted({p.dim for p in panel_points})
    _log_axis(ax, dims, dims)
    ax.set_xlabel("dimensions kept (log scale)")


def _log_axis(ax: "Axes", ticks: Sequence[int], values: Sequence[int]) -> None:
    """Base 2, with plain numbers at the ticks.

    Of ticks too near to each other the larger has its number.
    """
    from matplotlib.ticker import NullLocator

    room = (max(values) / min(values)) ** 0.08  # the width of a number, as a ratio
    numbers = [
        f"{tick:,}" if higher / tick > room else ""
        for tick, higher in zip(ticks, [*ticks[1:], math.inf], strict=True)
    ]
    ax.set_xscale("log", base=2)
    ax.set_xticks(ticks, numbers, fontsize=8)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(min(values) / 1.3, max(values) * 1.3)
    ax.grid(alpha=0.25, linewidth=0.6)


def _finished(figure: "Figure", panels: Sequence[tuple["Axes", Any]]) -> "Figure":
    shown = {
        label: handle
        for ax, _ in panels
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    if shown:  # nothing is, where no point has a share
        lines = -(-len(shown) // (3 * len(panels)))
        columns = -(-len(shown) // lines)
        figure.legend(
            list(shown.values()),
            list(shown),
            loc="outside lower center",
            ncols=columns,
            fontsize=8,
            frameon=False,
        )
    return figure
