"""A ranking of models as a figure, and as one page that loads nothing and runs nothing."""

import base64
import hashlib
import io
from pathlib import Path
from typing import Any

from evals.analysis.standings import Standing, Standings
from evals.escape import visible_page
from evals.views.page import styles
from evals.views.standings import (
    LEGEND,
    PAIRS,
    cells,
    columns,
    letter,
    pair_cells,
    verdict,
    weighting,
)
from evals.views.style import BLUE, GREY

TEMPLATE = Path(__file__).with_name("standings.html.jinja")
STYLE = Path(__file__).with_name("page.css")


def figure_bytes(result: Standings, kind: str = "png") -> bytes:
    """The figure as PNG or SVG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw(result)
    FigureCanvasAgg(figure)
    image = io.BytesIO()
    # Without a date, equal results are equal files.
    figure.savefig(image, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return image.getvalue()


def draw(result: Standings) -> Any:
    """A matplotlib figure: at the left scores with intervals, at the right the possible ranks.

    The thin line of a rank holds for all models at once, the thick one for its model by itself.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    n_models = len(result.standings)
    figure = Figure(figsize=(9, 1.6 + 0.32 * n_models), dpi=150, layout="constrained")
    scores, ranks = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    for place, standing in enumerate(result.standings):
        _draw_score(scores, place, standing)
        _draw_ranks(ranks, place, standing)
    scores.set_yticks(range(n_models), [_label(standing) for standing in result.standings])
    # Upside down: the best model on top, as in the table.
    scores.set_ylim(n_models - 0.5, -0.5)
    scores.set_xlabel("score, per cent, with 95% interval")
    ranks.set_xlabel("rank: thick by itself, thin all at once")
    ranks.set_xlim(0.5, n_models + 0.5)
    ranks.xaxis.set_major_locator(MaxNLocator(integer=True))
    scores.set_title(_title(result), loc="left", fontsize=10)
    for axes in (scores, ranks):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure


def as_html(result: Standings) -> str:
    """One page: the answer, the figure, the table and all pairs."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    style = styles(STYLE)
    # Content-Security-Policy allows this style by its hash, and the figure that is in the page.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    image = base64.b64encode(figure_bytes(result, "svg")).decode()
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        verdict=verdict(result),
        legend=LEGEND,
        about_pairs=PAIRS,
        weighting=weighting(result),
        columns=columns(result),
        rows=[cells(result, standing) for standing in result.standings],
        pairs=[(pair_cells(pair), pair.apart) for pair in result.pairs],
        image=f"data:image/svg+xml;base64,{image}",
        style=style,
        style_digest=digest,
    )
    # A model's name could turn the direction of what stands after it.
    return visible_page(text)


def _title(result: Standings) -> str:
    names = " + ".join(info.name for info in result.benchmarks)
    metrics = ", ".join(dict.fromkeys(info.metric for info in result.benchmarks))
    return f"{names}: {metrics}. Models that share a letter cannot be told apart."


def _label(standing: Standing) -> str:
    letters = "".join(letter(group) for group in standing.groups)
    # A dollar sign would begin a formula.
    return f"{standing.name}  {letters}".replace("$", r"\$")


def _draw_score(axes: Any, place: int, standing: Standing) -> None:
    if standing.interval:
        ends = [100 * end for end in standing.interval]
        axes.plot(ends, [place, place], color=BLUE, linewidth=1.6, solid_capstyle="butt")
    axes.plot(100 * standing.score, place, "o", color=BLUE, markersize=5)


def _draw_ranks(axes: Any, place: int, standing: Standing) -> None:
    # A little beyond the numbers, so that a single rank is a visible bar.
    for ranks, width in ((standing.ranks_at_once, 1.2), (standing.ranks, 5)):
        ends = [ranks.low - 0.2, ranks.high + 0.2]
        axes.plot(
            ends,
            [place, place],
            color=GREY,
            # The dot of the rank stands out of the bar.
            alpha=0.45 if width > 2 else 1,
            linewidth=width,
            solid_capstyle="butt",
        )
    axes.plot(standing.rank, place, "o", color=BLUE, markersize=5, zorder=3)
