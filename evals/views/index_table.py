"""What indexes cost and lose, as people and programs read it: table, Markdown, CSV, JSON, figure, page."""

import csv
import io
from typing import Any

from rich.markup import escape

from evals.analysis.index_points import Point, Quality, exact_recall, names_left_out, smallest
from evals.counts import counted
from evals.escape import markdown_text
from evals.records.queries import Cell, cell_name
from evals.records.record import width_of
from evals.views.page import Table, page
from evals.views.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    RED,
    console,
    empty_table,
    in_percent,
    in_points,
)

HEAD = ("", "index", "recall", "lost", "neighbours", "bytes/doc", "build s", "queries/s")
COLOURS = (BLUE, RED, GREEN, ORANGE, PINK, GREY, "#56B4E9", "#000000", "#999933")
DECIMALS = 2
FRONT = "*"
KEEP = 0.99  # of exact search, by the index that the verdict names


def title(quality: Quality) -> str:
    """What was measured."""
    manifest = quality.run.manifest
    cell = Cell(quality.subset, quality.direction, quality.points[0].dim, "float32")
    where = cell_name(cell).partition(",")[0]
    return f"Indexes for {manifest.model} on {manifest.benchmark} {where}: {quality.metric}"


def verdict(quality: Quality) -> str:
    """What exact search finds, and the smallest index that is shown to keep almost all of it."""
    exact = in_percent(exact_recall(quality.points[0]), DECIMALS)
    found = f"Exact search over all {width_of(quality.run)} dimensions finds {exact}% ({quality.metric})."
    best = smallest(quality, KEEP)
    if best is None:
        return f"{found} No index measured here is shown to keep {KEEP:.0%} of that."
    return (
        f"{found} The smallest index that keeps {KEEP:.0%} of that is {best.label}: it finds "
        f"{in_percent(best.recall, DECIMALS)}% in {best.bytes_per_doc:,.0f} bytes per document. Its "
        f"loss against exact search at {best.dim} dimensions is {_loss(best)} points."
    )


def legend(quality: Quality) -> str:
    """What the columns mean."""
    threads = counted(quality.threads, "thread")
    return (
        f"In per cent, losses in points with 95% interval, paired by query. recall: {quality.metric} "
        "of the task, end to end. lost: against exact search at this width. "
        f"neighbours: share of the exact {quality.k} nearest that the index "
        "finds. bytes: of the index as a file, rows for rescoring included. "
        f"{FRONT}: on the Pareto front of recall, speed and bytes. {quality.queries:,} queries of "
        f"{quality.docs:,} documents, {threads}, the fastest of three searches."
    )


def losses(quality: Quality) -> list[str]:
    """Two sentences per width: what is lost before any index, and that the losses add up."""
    lines = []
    for dim in dict.fromkeys(point.dim for point in quality.points):
        first = next(point for point in quality.points if point.dim == dim)
        exact = 1 - first.lost_to_embedding - first.lost_to_dims
        lines.append(
            f"{dim} dimensions: exact search finds {in_percent(exact, DECIMALS)}. The embedding loses "
            f"{in_percent(first.lost_to_embedding, DECIMALS)} points, fewer dimensions "
            f"{in_percent(first.lost_to_dims, DECIMALS)}; an index loses what its row says beyond that."
        )
    return lines


def left_out(quality: Quality) -> list[str]:
    """A sentence per reason for which indexes were left out."""
    lines = []
    for reason, names in names_left_out(quality).items():
        lines.append(f"Left out: {', '.join(names)}. {reason}")
    return lines


def cells(point: Point) -> list[str]:
    """The cells under HEAD."""
    return [
        FRONT if point.front else "",
        point.label,
        in_percent(point.recall, DECIMALS),
        _loss(point),
        in_percent(point.neighbours),
        f"{point.bytes_per_doc:,.0f}",
        f"{point.build_seconds:.3f}",
        f"{point.queries_per_second:,.0f}",
    ]


def _loss(point: Point) -> str:
    """`+0.41 [-0.62,+1.40]`: what the index loses, in points."""
    lost = in_points(point.lost_to_index, DECIMALS)
    if point.loss_interval:
        low, high = (in_points(end, DECIMALS) for end in point.loss_interval)
        lost += f" [{low},{high}]"
    return lost


def print_quality(quality: Quality) -> None:
    """The verdict, the table, the losses before any index, and the record."""
    table = empty_table(title(quality), "")
    for name in HEAD:
        justify: Any = "left" if name in ("", "index") else "right"
        table.add_column(name, justify=justify, no_wrap=True)
    for point in quality.points:
        table.add_row(*map(escape, cells(point)), style="bold" if point.front else None)
    out = console()
    out.print(f"[bold]{escape(verdict(quality))}[/bold]", highlight=False)
    out.print()
    out.print(table)
    out.print(escape(legend(quality)), style="dim", highlight=False)
    lines = losses(quality)
    lines += left_out(quality)
    lines.append(f"record: {quality.run.path}")
    for line in lines:
        out.print(escape(line), soft_wrap=True, highlight=False)


def as_markdown(quality: Quality) -> str:
    """The table, as GitHub reads it."""
    rule = ["---", "---", *["--:"] * (len(HEAD) - 2)]
    lines = [f"# {markdown_text(title(quality))}", "", markdown_text(verdict(quality)), ""]
    lines += [_line(HEAD), _line(rule)]
    lines += [_line([markdown_text(cell) for cell in cells(point)]) for point in quality.points]
    lines += ["", markdown_text(legend(quality)), ""]
    lines += [f"- {markdown_text(line)}" for line in [*losses(quality), *left_out(quality)]]
    return "\n".join(lines) + "\n"


def as_csv(quality: Quality) -> str:
    """A line per point: fractions in [0, 1], bytes, seconds."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    entries = [_flat(point) for point in quality.points]
    writer.writerow(entries[0])
    writer.writerows(entry.values() for entry in entries)
    return out.getvalue()


def as_json(quality: Quality) -> dict[str, Any]:
    """The machine output."""
    return {
        "schema_version": 1,
        "sentence": verdict(quality),
        "record": str(quality.run.path),
        "subset": quality.subset,
        "direction": quality.direction,
        "metric": quality.metric,
        "k": quality.k,
        "queries": quality.queries,
        "docs": quality.docs,
        "threads": quality.threads,
        "unlike_record": quality.unlike,
        "left_out": dict(quality.left_out),
        "points": [_flat(point) for point in quality.points],
    }


def as_html(quality: Quality) -> str:
    """One page that loads nothing: the verdict, the figure, the table, the losses."""
    return page(
        title(quality),
        verdict=verdict(quality),
        image=figure_bytes(quality, "svg"),
        alt="Recall against queries per second and against bytes; the table has the numbers.",
        tables=[Table([name or "front" for name in HEAD], [*map(cells, quality.points)])],
        notes=[legend(quality), *losses(quality), *left_out(quality)],
    )


def figure_bytes(quality: Quality, kind: str = "png") -> bytes:
    """The figure as PNG or SVG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw(quality)
    FigureCanvasAgg(figure)
    image = io.BytesIO()
    figure.savefig(image, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return image.getvalue()


def draw(quality: Quality) -> Any:
    """Recall against speed and against bytes; points of the Pareto front are filled and joined."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.8), dpi=150, layout="constrained")
    speed, size = figure.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(point.name for point in quality.points))
    for axes, of_point in ((speed, _speed), (size, _size)):
        for place, name in enumerate(names):
            members = [point for point in quality.points if point.name == name]
            _draw_index(axes, members, of_point, COLOURS[place % len(COLOURS)])
        axes.set_xscale("log")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
    speed.set_ylabel(f"{quality.metric} of the task, per cent")
    speed.set_xlabel("queries per second")
    size.set_xlabel("bytes per document")
    handles, labels = size.get_legend_handles_labels()
    # Beside the panels: inside it would hide points.
    figure.legend(
        handles,
        labels,
        loc="outside right upper",
        fontsize=8,
        title="filled: Pareto front\nlarge: widest",
        title_fontsize=8,
    )
    speed.set_title(title(quality).replace("$", r"\$"), loc="left", fontsize=10)
    return figure


def _draw_index(axes: Any, points: list[Point], of_point: Any, colour: str) -> None:
    for point in points:
        axes.plot(
            of_point(point),
            100 * point.recall,
            # Narrower vectors are smaller signs.
            marker="o",
            markersize=4 + 3 * (point.dim == max(p.dim for p in points)),
            markeredgecolor=colour,
            markerfacecolor=colour if point.front else "white",
            linestyle="none",
        )
    # The sign of the legend is that of the name, whatever the first point is.
    axes.plot([], [], marker="o", color=colour, linestyle="none", label=points[0].name)


def _speed(point: Point) -> float:
    return point.queries_per_second


def _size(point: Point) -> float:
    return point.bytes_per_doc


def _flat(point: Point) -> dict[str, Any]:
    entry = point._asdict()
    low, high = entry.pop("loss_interval") or (None, None)
    return entry | {"lost_to_index_low": low, "lost_to_index_high": high}


def _line(row: Any) -> str:
    return f"| {' | '.join(row)} |"
