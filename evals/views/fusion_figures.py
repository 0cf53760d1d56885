"""Two figures of a fusion run: recall by the weight of the text, and the cosines of the modality gap."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.analysis.fusion import Fused
from evals.analysis.modality_gap import BINS, Gap
from evals.records.additions import write_into
from evals.records.manifest import path_component
from evals.stats.bootstrap import Interval
from evals.tasks.fusion import CARD
from evals.tasks.scores import Scores, Value
from evals.views.style import BLUE, RED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRIC = "R@1"


def alpha_of(direction: str) -> float | None:
    """The weight of the text in a weighted average, the single scores included.

    None for other merges.
    """
    ends = {"tt": 1.0, "ti": 0.0}
    if direction in ends:
        return ends[direction]
    return float(direction.removeprefix("weighted@")) if direction.startswith("weighted@") else None


def by_alpha(scores: Sequence[Scores], dim: int) -> dict[float, Value]:
    """R@1 of the single scores and the weighted averages at a dimension, by ascending weight."""
    values = {}
    for score in scores:
        alpha = alpha_of(score.direction)
        if alpha is not None and score.dim == dim:
            values[alpha] = score.values[METRIC]
    return dict(sorted(values.items()))


def draw(fused: Fused, folder: Path | None = None) -> list[Path]:
    """Both figures of every subset at the most dimensions, in a folder or beside the record.

    Returns their paths.
    """
    outcome = fused.outcome
    paths = []
    place, prefix = outcome.path, ""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        # In a folder of several records a name must say whose figure it is.
        place = folder
        prefix = f"{path_component(outcome.name)}-{path_component(outcome.model)}-"
    for subset, scores in outcome.scores.items():
        dim = max(score.dim for score in scores)
        title = f"{outcome.benchmark.title} · {subset} · {outcome.model} · {dim} dimensions"
        # At the widest alone: how scores fall with the dimension is the figure of a sweep.
        widest = [score for score in scores if score.dim == dim]
        alpha = place / f"{prefix}alpha-{subset}.png"
        gap = place / f"{prefix}gap-{subset}.png"
        paths.append(plot_alpha(alpha, widest, title))
        paths.append(plot_gap(gap, fused.gaps[subset], title))
    return paths


def plot_alpha(path: Path, scores: Sequence[Scores], title: str) -> Path:
    """R@1 in per cent against alpha with its 95% intervals.

    The card's weights are marked, and the z-scores are a level.
    """
    figure, (axes,) = _figure(title)
    swept = by_alpha(scores, scores[0].dim)
    alphas = list(swept)
    intervals = [_interval(value) for value in swept.values()]
    axes.fill_between(
        alphas,
        [interval.low for interval in intervals],
        [interval.high for interval in intervals],
        color=BLUE,
        alpha=0.15,
        linewidth=0,
    )
    values = [100 * value.value for value in swept.values()]
    axes.plot(alphas, values, color=BLUE, marker="o", markersize=4)
    # The card's weight is marked, since the best of the curve was chosen on this very data.
    card = 100 * swept[CARD].value
    axes.plot(
        [CARD],
        [card],
        marker="o",
        markersize=10,
        markerfacecolor="none",
        markeredgecolor=BLUE,
        linestyle="none",
    )
    axes.annotate(
        f"weighted average,\n{CARD} as on the card: {card:.1f}",
        (CARD, card),
        (0, -14),
        textcoords="offset points",
        va="top",
        ha="center",
        color=BLUE,
    )
    # zscore@0.5 ranks as the plain sum of z-scores does, and has no place on the axis of weights.
    summed = next(score for score in scores if score.direction == "zscore@0.5")
    level = 100 * summed.values[METRIC].value
    axes.axhline(level, color=RED, linestyle="--", linewidth=1.5)
    # Right of the axis, where no curve can cross the words.
    axes.annotate(
        f" z-scores,\n summed:\n {level:.1f}",
        (1, level),
        xycoords=axes.get_yaxis_transform(),
        va="center",
        color=RED,
    )
    axes.set_xlabel("alpha, the weight of the text: 0 is the image alone, 1 the text alone")
    axes.set_ylabel("R@1, per cent, with 95% interval")
    axes.set_xticks(np.linspace(0, 1, 11))
    return _save(figure, path)


def plot_gap(path: Path, gap: Gap, title: str) -> Path:
    """Densities of the cosines of matched and of random pairs; dotted: the means.

    Text-text stands above text-image, on one scale.
    """
    figure, panels = _figure(title, rows=2)
    for axes, kind, colour in zip(panels, ("text_text", "text_image"), (BLUE, RED), strict=True):
        _draw_cosines(axes, gap, kind, colour)
    lowest = min(float(cosines.min()) for cosines in gap.cosines.values())
    least_tick = np.floor(10 * lowest) / 10
    # Room for labels beside the curves; no cosine is above 1.
    panels[0].set_xlim(least_tick - 0.3, 1.4)
    panels[0].set_ylim(0, panels[0].get_ylim()[1] * 1.35)
    ticks = np.linspace(-1, 1, 11).round(1)
    panels[-1].set_xticks(ticks[ticks >= least_tick].tolist())
    panels[-1].set_xlabel(
        f"cosine; the centroids of images and texts are {gap.centroid_distance:.2f} apart"
    )
    return _save(figure, path)


def _draw_cosines(axes: Any, gap: Gap, kind: str, colour: str) -> None:
    """The matched and the random pairs of one kind, each labelled at the top of its mean."""
    means = {pair: float(gap.cosines[kind, pair].mean()) for pair in ("matched", "random")}
    for pair, mean in means.items():
        cosines = gap.cosines[kind, pair]
        # Densities, not counts: there are far more random pairs than matched ones.
        density, _ = np.histogram(cosines.clip(-1, 1), BINS, density=True)
        top = float(density.max())
        filled = pair == "matched"
        axes.stairs(
            density,
            BINS,
            color=colour,
            fill=filled,
            alpha=0.35 if filled else 1,
            linewidth=1.5,
        )
        axes.plot(
            [mean, mean],
            [0, top],
            color=colour,
            linestyle=":",
            linewidth=1.5,
        )
        # The two labels lean away from each other: their means may be close.
        is_right = mean == max(means.values())
        axes.annotate(
            f"{pair} {kind.replace('_', '-')}\nmean {mean:.2f}, n {len(cosines):,}",
            (mean, top),
            (3 if is_right else -3, 4),
            textcoords="offset points",
            ha="left" if is_right else "right",
            va="bottom",
            color=colour,
        )
    axes.set_ylabel("density")


def _interval(value: Value) -> Interval:
    """In per cent; a point where there is no interval."""
    low, high = value.interval or (value.value, value.value)
    return Interval(100 * low, 100 * high)


def _figure(title: str, rows: int = 1) -> tuple["Figure", list[Any]]:
    # Not pyplot: it would choose a backend for windows, and keep every figure until it is closed.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, sharex=True, sharey=True, squeeze=False)[:, 0].tolist()
    panels[0].set_title(title, loc="left")
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _save(figure: "Figure", path: Path) -> Path:
    data = BytesIO()
    figure.savefig(data, format="png")
    write_into(path, data.getvalue())
    return path
