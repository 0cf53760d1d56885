"""Two figures of a fusion run: recall against the weight of the text, and the cosines that make the modality gap."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.analysis.fusion import Fused
from evals.analysis.modality_gap import BINS, Gap
from evals.files import write_atomically
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
    if direction in ("tt", "ti"):
        return 1.0 if direction == "tt" else 0.0
    return float(direction.removeprefix("weighted@")) if direction.startswith("weighted@") else None


def draw(fused: Fused) -> list[Path]:
    """Both figures of every subset at the most dimensions, beside the record.

    Returns their paths.
    """
    outcome, paths = fused.outcome, []
    for subset, scores in outcome.scores.items():
        dim = max(score.dim for score in scores)
        title = f"{outcome.benchmark.title} · {subset} · {outcome.model} · {dim} dimensions"
        widest = [score for score in scores if score.dim == dim]
        paths.append(plot_alpha(outcome.path / f"alpha-{subset}.png", widest, title))
        paths.append(plot_gap(outcome.path / f"gap-{subset}.png", fused.gaps[subset], title))
    return paths


def plot_alpha(path: Path, scores: Sequence[Scores], title: str) -> Path:
    """R@1 in per cent against alpha with its 95% intervals.

    The card's weights are marked, and the z-scores are a level.
    """
    figure, (axes,) = _figure(title)
    swept = sorted(
        (alpha, s.values[METRIC]) for s in scores if (alpha := alpha_of(s.direction)) is not None
    )
    alphas, values = [alpha for alpha, _ in swept], [100 * value.value for _, value in swept]
    ends = [_ends(value) for _, value in swept]
    axes.fill_between(
        alphas,
        [low for low, _ in ends],
        [high for _, high in ends],
        color=BLUE,
        alpha=0.15,
        linewidth=0,
    )
    axes.plot(alphas, values, color=BLUE, marker="o", markersize=4)
    card = values[alphas.index(CARD)]
    axes.plot(
        [CARD],
        [card],
        marker="o",
        markersize=10,
        markerfacecolor="none",
        markeredgecolor=BLUE,
        linestyle="none",
    )
    label = f"weighted average,\n{CARD} as on the card: {card:.1f}"
    axes.annotate(
        label, (CARD, card), (0, -14), textcoords="offset points", va="top", ha="center", color=BLUE
    )
    level = next(100 * s.values[METRIC].value for s in scores if s.direction == "zscore@0.5")
    axes.axhline(level, color=RED, linestyle="--", linewidth=1.5)
    at = {
        "xycoords": axes.get_yaxis_transform(),
        "va": "center",
        "color": RED,
    }  # outside: nothing is drawn there
    axes.annotate(f" z-scores,\n summed:\n {level:.1f}", (1, level), **at)
    axes.set_xlabel("alpha, the weight of the text: 0 is the image alone, 1 the text alone")
    axes.set_ylabel("R@1, per cent, with 95% interval")
    axes.set_xticks(np.linspace(0, 1, 11))
    return _save(figure, path)


def plot_gap(path: Path, gap: Gap, title: str) -> Path:
    """Densities of the cosines of matched and of random pairs, text-text above text-image on one scale; dotted: the means."""
    figure, panels = _figure(title, rows=2)
    for axes, kind, colour in zip(panels, ("text_text", "text_image"), (BLUE, RED), strict=True):
        means = {pair: float(gap.cosines[kind, pair].mean()) for pair in ("matched", "random")}
        for pair, mean in means.items():
            side, lean = (
                ("left", 3) if mean == max(means.values()) else ("right", -3)
            )  # labels lean away from each other
            cosines = gap.cosines[kind, pair]
            density, filled = (
                np.histogram(cosines.clip(-1, 1), BINS, density=True)[0],
                pair == "matched",
            )
            axes.stairs(
                density, BINS, color=colour, fill=filled, alpha=0.35 if filled else 1, linewidth=1.5
            )
            top = float(density.max())
            axes.plot([mean, mean], [0, top], color=colour, linestyle=":", linewidth=1.5)
            label = f"{pair} {kind.replace('_', '-')}\nmean {mean:.2f}, n {len(cosines):,}"
            axes.annotate(
                label,
                (mean, top),
                (lean, 4),
                textcoords="offset points",
                ha=side,
                va="bottom",
                color=colour,
            )
        axes.set_ylabel("density")
    lowest = min(float(cosines.min()) for cosines in gap.cosines.values())
    panels[0].set_xlim(
        np.floor(10 * lowest) / 10 - 0.3, 1.4
    )  # room for labels; no cosine is above 1
    panels[0].set_ylim(0, panels[0].get_ylim()[1] * 1.35)
    panels[-1].set_xticks(
        [tick for tick in np.linspace(-1, 1, 11).round(1) if tick >= np.floor(10 * lowest) / 10]
    )
    panels[-1].set_xlabel(
        f"cosine; the centroids of images and texts are {gap.centroid_distance:.2f} apart"
    )
    return _save(figure, path)


def _ends(value: Value) -> tuple[float, float]:
    low, high = value.interval or (value.value, value.value)
    return 100 * low, 100 * high


def _figure(title: str, rows: int = 1) -> tuple["Figure", list[Any]]:
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
    write_atomically(path, data.getvalue())
    return path
