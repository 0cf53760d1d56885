"""The table of a sweep: score, interval, share of the full width and bytes, a row for each dimension and precision."""

from collections.abc import Sequence

from rich.bar import Bar
from rich.markup import escape
from rich.table import Table

from evals.evaluation.outcome import Result
from evals.evaluation.points import Point, points
from evals.stats.bootstrap import Interval
from evals.tasks.scores import Value
from evals.views.style import console, empty_table, percent, print_whole
from evals.views.tables import print_origin

BAR_WIDTH = 50  # characters of 100 per cent
CAPTION = (
    "Score in per cent with its 95% interval; kept: per cent of the full width's score in float32; bytes: of one vector, the "
    "float32 row for rescoring included.{mean}"
)


def print_sweep(outcomes: Sequence[Result]) -> None:
    """A table for each outcome, and the path of its record."""
    out = console()
    for outcome in outcomes:
        sweep_points = points(outcome)
        subsets = max((point.subsets.split() for point in sweep_points), key=len)
        mean = (
            f" Mean over {len(subsets)} subsets: {' '.join(subsets)}." if len(subsets) > 1 else ""
        )
        part = " · partial: not the benchmark's number" if outcome.partial else ""
        metrics = list(dict.fromkeys(point.metric for point in sweep_points))
        head = f"{sweep_points[0].title} · {outcome.model}{part}"
        table = empty_table(head, escape(CAPTION.format(mean=mean)))
        for name, justify in (("", "left"), ("dim", "right"), ("precision", "left")):
            table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        for metric in metrics:
            table.add_column(metric, no_wrap=True)
            table.add_column("kept", justify="right", no_wrap=True)
        table.add_column("bytes", justify="right", no_wrap=True)
        several = len({point.benchmark for point in sweep_points}) > 1
        for group, rows in _groups(sweep_points).items():
            for row in rows.values():
                table.add_row(*_cells(group, row, metrics, several=several))
            table.add_section()
        print_whole(out, table)
        if out.is_terminal:
            out.print(bars(sweep_points))
        print_origin(out, outcome)


def bars(sweep_points: Sequence[Point]) -> Table:
    """A small plot in text for a terminal: the first metric in float32 by dimension, one bar per dimension from 0 to 100."""
    metric = sweep_points[0].metric
    plot = empty_table(f"{metric} in per cent by dimension, float32", "")
    plot.show_header = False
    for justify in ("left", "right", "left", "right"):
        plot.add_column(justify=justify, no_wrap=True)
    shown = [p for p in sweep_points if (p.metric, p.precision) == (metric, "float32")]
    for point in sorted(shown, key=lambda point: (point.benchmark, point.direction, -point.dim)):
        bar = Bar(size=1.0, begin=0.0, end=point.value, width=BAR_WIDTH)
        plot.add_row(point.direction, str(point.dim), bar, f"{100 * point.value:.1f}")
    return plot


Row = dict[str, Point]  # by metric


def _groups(sweep_points: Sequence[Point]) -> dict[tuple[str, str], dict[tuple[int, str], Row]]:
    """Points by benchmark and direction, then by dimension and precision."""
    groups: dict[tuple[str, str], dict[tuple[int, str], Row]] = {}
    for point in sweep_points:
        rows = groups.setdefault((point.benchmark, point.direction), {})
        rows.setdefault((point.dim, point.precision), {})[point.metric] = point
    return groups


def _cells(group: tuple[str, str], row: Row, metrics: Sequence[str], *, several: bool) -> list[str]:
    first = next(iter(row.values()))
    cells = [escape(group[0] if several else group[1]), str(first.dim), first.precision]
    for metric in metrics:
        point = row[metric]
        interval = (
            None
            if point.ci_low is None or point.ci_high is None
            else Interval(point.ci_low, point.ci_high)
        )
        cells += [
            percent(Value(point.value, interval)),
            "–" if point.kept is None else f"{100 * point.kept:.1f}%",
        ]
    return [*cells, f"{first.bytes:,}"]
