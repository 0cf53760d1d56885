"""Figures of a sweep: score by dimension, per cent kept, and score by bytes with its Pareto front."""

import math
import textwrap
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.embeddings.precision import BITS
from evals.evaluation.points import Point
from evals.records.additions import write_into
from evals.records.manifest import PARTIAL, path_component
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
BYTE_TICKS = [4**power for power in range(12)]
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
            # @ is left out of file names: to scp and many shells it means a host.
            name = path_component(".".join([benchmark, model, metric.replace("@", ""), kind]))
            image = BytesIO()
            make(group).savefig(image, format="png", dpi=150)
            paths.append(folder / f"{name}.png")
            write_into(paths[-1], image.getvalue())
    return paths


def score_by_dimension(sweep_points: Sequence[Point]) -> "Figure":
    """Score in per cent on a log axis of dimensions, with bands of 95% intervals.

    An axis of its own for each direction.
    """
    figure, panels = _panels(sweep_points, "by dimension")
    for ax, panel_points in panels:
        for name, line in _lines(panel_points).items():
            look = _look(name)
            dims = [p.dim for p in line]
            ax.plot(dims, _percents(line), label=name, **look)
            # A band of some points alone would suggest that the others are certain.
            if all(p.ci_low is not None for p in line):
                ax.fill_between(
                    dims,
                    [100 * (p.ci_low or 0.0) for p in line],
                    [100 * (p.ci_high or 0.0) for p in line],
                    color=look["color"],
                    alpha=0.15,
                    linewidth=0,
                )
        _dimension_axis(ax, panel_points)
        # From 0: what 8 dimensions lose should not look like what 256 lose. Above 100 for markers.
        ax.set_ylim(0, 106)
    panels[0][0].set_ylabel(f"{sweep_points[0].metric} (%), bands: 95% interval")
    return _finished(figure, panels)


def kept_by_dimension(sweep_points: Sequence[Point]) -> "Figure":
    """Per cent of the full width's float32 score, with the line of 100%.

    An axis that does not begin at 0 says so.
    """
    figure, panels = _panels(sweep_points, "as a share of the full width in float32")
    shares = [100 * p.kept for p in sweep_points if p.kept is not None]
    # Where all points keep half or more, their differences would be lost above an empty half.
    least = min(shares, default=0.0)
    floor = 10 * (least // 10) - 5 if least >= 50 else 0.0
    for ax, panel_points in panels:
        with_share = [p for p in panel_points if p.kept is not None]
        for name, line in _lines(with_share).items():
            dims = [p.dim for p in line]
            percents = [100 * (p.kept or 0.0) for p in line]
            ax.plot(dims, percents, label=name, **_look(name))
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
            # Markers alone: the line of this figure is the front, across precisions.
            look = _look(name) | {"linestyle": ""}
            ax.plot([p.bytes for p in line], _percents(line), label=name, **look)
        front = pareto(panel_points)
        ax.step(
            [p.bytes for p in front],
            _percents(front),
            # Between two points nothing was measured: until the next there is the last.
            where="post",
            color="0.3",
            linewidth=1,
            zorder=1,
            label="Pareto front",
        )
        for p in _with_room(front):
            ax.annotate(
                str(p.dim),
                (p.bytes, 100 * p.value),
                (-5, 6),
                textcoords="offset points",
                fontsize=7,
                ha="right",
            )
        sizes = [p.bytes for p in panel_points]
        ticks = [tick for tick in BYTE_TICKS if min(sizes) <= tick <= max(sizes)]
        _log_axis(ax, ticks, sizes)
        ax.set_xlabel("bytes of a vector (log scale); numbers: dimensions on the front")
        ax.set_ylim(0, 106)
    panels[0][0].set_ylabel(f"{sweep_points[0].metric} (%)")
    return _finished(figure, panels)


FIGURES = {"score": score_by_dimension, "kept": kept_by_dimension, "bytes": score_by_bytes}


def _percents(line: Sequence[Point]) -> list[float]:
    return [100 * p.value for p in line]


def pareto(sweep_points: Sequence[Point]) -> list[Point]:
    """The points that no point of as few bytes or fewer beats, smallest first."""
    front: list[Point] = []
    for point in sorted(sweep_points, key=lambda p: (p.bytes, -p.value)):
        if not front or point.value > front[-1].value:
            front.append(point)
    return front


def _with_room(front: Sequence[Point]) -> list[Point]:
    """Those of the front whose numbers have room: of points within 1.5 times the bytes, the smallest."""
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
    n_panels = len(directions)
    figure = Figure(figsize=(4.2 * n_panels + 1.6, 4.2), layout="constrained")
    axes = figure.subplots(1, n_panels, sharey=True, squeeze=False)[0]
    first = sweep_points[0]
    n_subsets = len(first.subsets.split())
    members = first.subsets
    if n_subsets > 1:
        members = f"mean over {n_subsets} subsets"
    # A figure travels alone: that it is of a part of the benchmark must stand in it.
    part = ""
    if first.benchmark.endswith(PARTIAL):
        part = " (partial run)"
    title = f"{first.title} by {first.model}: {first.metric} {what}, {members}{part}"
    # 13 characters per inch at this size. matplotlib does not wrap titles by itself.
    width = int(13 * figure.get_figwidth())
    figure.suptitle(textwrap.fill(title, width, break_on_hyphens=False), fontsize=10)
    panels = []
    for ax, direction in zip(axes, directions, strict=True):
        panel_points = [p for p in sweep_points if p.direction == direction]
        name = DIRECTIONS.get(direction, direction)
        ax.set_title(f"{name}, n = {panel_points[0].n:,}", fontsize=9)
        panels.append((ax, panel_points))
    return figure, panels


def _lines(panel_points: Sequence[Point]) -> dict[str, list[Point]]:
    """The points of each precision by ascending dimension; most bits first, plain before rescored."""
    kinds = list(BITS)
    lines: dict[str, list[Point]] = {}
    for point in sorted(panel_points, key=lambda p: p.dim):
        lines.setdefault(point.precision, []).append(point)
    order = sorted(lines, key=lambda name: (kinds.index(name.partition("+")[0]), name))
    return {name: lines[name] for name in order}


def _look(precision: str) -> dict[str, Any]:
    """A rescored precision has a dashed line and rings for markers."""
    kind, _, rescored = precision.partition("+")
    look = LOOKS.get(kind, OTHER)
    if not rescored:
        return look | {"linestyle": "-"}
    ring = {
        "linestyle": "--",
        "markerfacecolor": "none",
        "markersize": RING.get(kind, 10),
    }
    return look | ring


def _dimension_axis(ax: "Axes", panel_points: Sequence[Point]) -> None:
    dims = sorted({p.dim for p in panel_points})
    _log_axis(ax, dims, dims)
    ax.set_xlabel("dimensions kept (log scale)")


def _log_axis(ax: "Axes", ticks: Sequence[int], values: Sequence[int]) -> None:
    """Base 2, with plain numbers at the ticks.

    Of ticks too near to each other the larger has its number.
    """
    from matplotlib.ticker import NullLocator

    # On a log axis a width is a ratio: a number takes about 8% of the axis.
    room = (max(values) / min(values)) ** 0.08
    numbers = []
    for tick, higher in zip(ticks, [*ticks[1:], math.inf], strict=True):
        numbers.append(f"{tick:,}" if higher / tick > room else "")
    ax.set_xscale("log", base=2)
    ax.set_xticks(ticks, numbers, fontsize=8)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(min(values) / 1.3, max(values) * 1.3)
    ax.grid(alpha=0.25, linewidth=0.6)


def _finished(figure: "Figure", panels: Sequence[tuple["Axes", Any]]) -> "Figure":
    """The figure with one legend below all axes, which show the same precisions."""
    shown: dict[str, Any] = {}
    for ax, _ in panels:
        handles, labels = ax.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    # Nothing is shown where no point has a share of the full width.
    if shown:
        # Three entries fit below an axis; rows are filled evenly, 4 as 2 and 2 rather than 3 and 1.
        rows = -(-len(shown) // (3 * len(panels)))
        columns = -(-len(shown) // rows)
        figure.legend(
            list(shown.values()),
            list(shown),
            loc="outside lower center",
            ncols=columns,
            fontsize=8,
            frameon=False,
        )
    return figure
