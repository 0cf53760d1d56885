"""The table of a sweep: score, share of the full width and bytes by dimension and precision."""

from collections.abc import Sequence

from rich.bar import Bar
from rich.markup import escape
from rich.table import Table

from evals.evaluation.outcome import Result
from evals.evaluation.points import Point, points
from evals.natural import natural
from evals.stats.bootstrap import Interval
from evals.tasks.scores import Value
from evals.views.style import WIDTH, console, empty_table, in_percent, percent
from evals.views.tables import print_origin

BAR_WIDTH = 50  # characters of 100 per cent
BESIDE_BARS = 16  # characters of direction, dimension and value
KEPT = (
    "kept: per cent of the full width's score in float32, paired by query; bytes: of one vector, the "
    "float32 row for rescoring included."
)
CAPTION = f"Score in per cent with its 95% interval; {KEPT}{{mean}}"


def print_sweep(outcomes: Sequence[Result]) -> None:
    """A table for each outcome, and the path of its record."""
    out = console()
    for outcome in outcomes:
        sweep_points = points(outcome)
        out.print(sweep_table(_heading(outcome, sweep_points), sweep_points))
        # Not into files and pipes: bars are for an eye, and a table is what a script reads.
        if out.is_terminal:
            out.print(bars(sweep_points, out.width))
        print_origin(out, outcome)


def _heading(outcome: Result, sweep_points: Sequence[Point]) -> str:
    part = " · partial: not the benchmark's number" if outcome.partial else ""
    return f"{sweep_points[0].title} · {outcome.model}{part}"


def sweep_table(heading: str, sweep_points: Sequence[Point]) -> Table:
    """A row per dimension and precision, with each metric and what is kept of it."""
    # Splits of an mteb task may have different subsets: the longest list is named.
    subsets = max((point.subsets.split() for point in sweep_points), key=len)
    mean = ""
    if len(subsets) > 1:
        mean = f" Mean over {len(subsets)} subsets: {' '.join(subsets)}."
    table = empty_table(heading, escape(CAPTION.format(mean=mean)))
    table.add_column("", no_wrap=True)
    table.add_column("dim", justify="right", no_wrap=True)
    table.add_column("precision", no_wrap=True)
    metrics = list(dict.fromkeys(point.metric for point in sweep_points))
    for metric in metrics:
        table.add_column(metric, no_wrap=True)
        table.add_column("kept", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    several = len({point.benchmark for point in sweep_points}) > 1
    for group in _groups(sweep_points):
        for row in group.values():
            table.add_row(*_cells(row, metrics, several=several))
        table.add_section()
    return table


def bars(sweep_points: Sequence[Point], width: int = WIDTH) -> Table:
    """A small plot in text for a terminal: the first metric in float32, one bar per dimension.

    A bar of the full width is 100 per cent; all of it takes `width` characters at most.
    """
    metric = sweep_points[0].metric
    bar_width = min(BAR_WIDTH, width - BESIDE_BARS)
    plot = empty_table(f"{metric} in per cent by dimension, float32", "")
    plot.show_header = False
    for justify in ("left", "right", "left", "right"):
        plot.add_column(justify=justify, no_wrap=True)
    shown = [p for p in sweep_points if (p.metric, p.precision) == (metric, "float32")]
    for point in sorted(
        shown, key=lambda point: (natural(point.benchmark), point.direction, -point.dim)
    ):
        plot.add_row(
            point.direction,
            str(point.dim),
            Bar(size=1.0, begin=0.0, end=point.value, width=bar_width),
            in_percent(point.value),
        )
    return plot


Row = dict[str, Point]  # by metric
Group = dict[tuple[int, str], Row]  # by dimension and precision


def _groups(sweep_points: Sequence[Point]) -> list[Group]:
    """Points of each benchmark and direction."""
    groups: dict[tuple[str, str], Group] = {}
    for point in sweep_points:
        group = groups.setdefault((point.benchmark, point.direction), {})
        row = group.setdefault((point.dim, point.precision), {})
        row[point.metric] = point
    return list(groups.values())


def _cells(row: Row, metrics: Sequence[str], *, several: bool) -> list[str]:
    first = next(iter(row.values()))
    # The splits of an mteb task stand as benchmarks, and have no directions.
    group = first.benchmark if several else first.direction
    cells = [escape(group), str(first.dim), first.precision]
    for metric in metrics:
        point = row[metric]
        interval = None
        if point.ci_low is not None and point.ci_high is not None:
            interval = Interval(point.ci_low, point.ci_high)
        cells.append(percent(Value(point.value, interval)))
        cells.append(_kept(point))
    return [*cells, f"{first.bytes:,}"]


def _kept(point: Point) -> str:
    """`98.3% [95.5,101.1]`; the full width has no interval, it is what the others are a share of."""
    # A share of 0 is none: whatever is measured at the full width cannot be divided by it.
    if point.kept is None:
        return "–"
    share = f"{in_percent(point.kept)}%"
    if point.kept_low is None or point.kept_high is None:
        return share
    low, high = in_percent(point.kept_low), in_percent(point.kept_high)
    # The bracket is escaped: to rich, text in brackets is markup.
    return f"{share} [dim]\\[{low},{high}][/dim]"
