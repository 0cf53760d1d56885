"""A parity certificate as one page of HTML: nothing is loaded, nothing runs.

The page has what the terminal has, a figure of the cosines, and the settings that differ. It can be
sent to whoever runs the server: it holds names and numbers, and no item.
"""

import base64
import hashlib
import math
from pathlib import Path
from typing import NamedTuple

from evals.escape import visible_page
from evals.parity.agreement import Agreement
from evals.parity.certificate import Certificate
from evals.parity.show import (
    GROUP_HEAD,
    METRIC_HEAD,
    cause_lines,
    counts,
    group_rows,
    metric_rows,
    settings_apart,
    verdict_line,
)
from evals.views.page import styles

TEMPLATE = Path(__file__).with_name("page.html.jinja")
STYLE = Path(__file__).with_name("page.css")
# 1 - cosine from the rounding of float32 to opposite directions, on a logarithmic scale.
LEAST, MOST = 1e-8, 2.0
LABELS, WIDTH, LINE = 190, 640, 24  # pixels of the figure: names, all of it, a line of it
BELOW = 24  # of the axis


class Mark(NamedTuple):
    """A group in the figure: where its median, tail and least cosine stand, in pixels."""

    name: str
    y: int
    median: float
    tail: float
    least: float
    title: str


class Figure(NamedTuple):
    """How far cosines are from 1, a line per group, with the limits as upright lines."""

    marks: list[Mark]
    ticks: list[tuple[float, str]]
    limits: list[tuple[float, str]]
    height: int


def as_html(certificate: Certificate) -> str:
    """The page."""
    from jinja2 import Environment, StrictUndefined

    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        TEMPLATE.read_text(encoding="utf-8")
    )
    style = styles(STYLE)
    # The page's Content-Security-Policy allows this style by its hash and nothing else: a name that
    # got past the escaping could still load and run nothing.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    text = template.render(
        certificate=certificate,
        verdict=verdict_line(certificate),
        counts=counts(certificate),
        causes=cause_lines(certificate),
        apart=settings_apart(certificate.a, certificate.b),
        group_head=GROUP_HEAD,
        group_rows=group_rows(certificate),
        metric_head=METRIC_HEAD,
        metric_rows=metric_rows(certificate),
        figure=_figure(certificate),
        limits=_limits(certificate),
        labels=LABELS,
        width=WIDTH,
        style=style,
        style_digest=digest,
    )
    return visible_page(text)


def _limits(certificate: Certificate) -> list[str]:
    limits = certificate.limits
    return [
        f"least cosine {limits.min_cosine:g}",
        f"0.1% cosine {limits.tail_cosine:g}",
        f"median cosine {limits.median_cosine:g}",
        f"norms {100 * limits.norm:g}%",
        f"metrics {100 * limits.metric:g} points",
    ]


def _figure(certificate: Certificate) -> Figure:
    marks = [
        _mark(group, LINE * place + LINE // 2) for place, group in enumerate(certificate.groups)
    ]
    ticks = [(_x(10.0**power), f"1e{power}" if power else "1") for power in range(-8, 1, 2)]
    chosen = certificate.limits
    limits = [
        (_x(1 - chosen.median_cosine), "median"),
        (_x(1 - chosen.min_cosine), "least"),
    ]
    return Figure(marks, ticks, limits, LINE * len(marks) + BELOW)


def _mark(group: Agreement, y: int) -> Mark:
    name = f"{group.kind}s" if group.by == "all" else f"{group.by}: {group.group}"
    title = (
        f"{name}: least cosine {group.cosine_min:.6f} ({group.worst}), 0.1% "
        f"{group.cosine_tail:.6f}, median {group.cosine_median:.6f}"
    )
    return Mark(
        name=name,
        y=y,
        median=_x(1 - group.cosine_median),
        tail=_x(1 - group.cosine_tail),
        least=_x(1 - group.cosine_min),
        title=title,
    )


def _x(distance: float) -> float:
    """Where 1 - cosine stands in the figure."""
    inside = min(max(distance, LEAST), MOST)
    share = math.log10(inside / LEAST) / math.log10(MOST / LEAST)
    return round(LABELS + share * (WIDTH - LABELS - 12), 1)
