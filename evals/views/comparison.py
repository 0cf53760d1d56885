"""A comparison as people and programs read it: tables on the terminal and in markdown, a forest plot, JSON."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evals.analysis.comparison import MEAN, Change
from evals.records.record import path_component
from evals.records.selection import Measured
from evals.stats.paired import FLOOR
from evals.views.style import BLUE, GREY, RED

HEAD = ("", "", "metric", "A", "B", "B - A [95%]", "p", "Holm", "wins/losses", "detects")
LEGEND = (
    "In per cent, changes in points, paired by query; 95% intervals from a bootstrap over images; p: two-sided, from swapping "
    "the runs in whole images; Holm: adjusted over the primary metrics of this comparison; wins/losses: queries where B is "
    "better or worse; detects: the drop seen with 80% power; ▼: each by itself, fell by more than "
    f"{100 * FLOOR:.1f} points, and the one-sided 95% bound says so."
)
FELL, ROSE, NEITHER = RED, BLUE, GREY


class Title(NamedTuple):
    """What A and B are; two records of one name are told apart by their folders."""

    a: str
    b: str
    notes: list[str]

    @classmethod
    def of(cls, pairs: Sequence[tuple[Measured, Measured]]) -> "Title":
        labels = [
            ", ".join(dict.fromkeys(side.label for side in sides))
            for sides in zip(*pairs, strict=True)
        ]
        notes = [
            f"{name}: {side.run.path}"
            for pair in pairs
            for name, side in zip("AB", pair, strict=True)
        ]
        if labels[0] == labels[1]:
            notes += [
                f"They differ in {', '.join(_settings_apart(*pair)) or 'no setting of the encoder'}."
                for pair in pairs
            ]
        return cls(labels[0], labels[1], notes)


def _settings_apart(a: Measured, b: Measured) -> list[str]:
    """What tells the encoders of two records apart: weights, dtype …"""
    sides = [m.run.manifest.get("encoder", {}).get("fingerprint", {}) for m in (a, b)]
    return sorted(
        name
        for name in sides[0].keys() | sides[1].keys()
        if sides[0].get(name) != sides[1].get(name)
    )


def print_tables(title: Title, changes: Sequence[Change]) -> None:
    """A table a benchmark, and the records that were read."""
    from rich.markup import escape
    from rich.table import Table

    from evals.views.style import console

    out = console()
    out.print(
        f"[bold]A[/bold] {escape(title.a)}   [bold]B[/bold] {escape(title.b)}", highlight=False
    )
    out.print()
    for benchmark, rows in _by_benchmark(changes).items():
        n = f"{rows[0].n:,} queries of {rows[0].groups:,} images" if len(rows) == 1 else ""
        table = Table(
            title=escape(" · ".join(filter(None, (benchmark, n)))),
            title_justify="left",
            box=None,
            pad_edge=False,
        )
        table.padding = (0, 1, 0, 0)
        for i, name in enumerate(HEAD):
            table.add_column(
                name, justify="right" if i in (3, 4, 6, 7, 8, 9) else "left", overflow="fold"
            )
        for row in rows:
            table.add_row(
                *(escape(cell) for cell in _cells(row)), style="red" if row.fell else None
            )
        out.print(table)
        out.print()
    out.print(LEGEND, style="dim", highlight=False)
    for note in title.notes:
        out.print(escape(note), soft_wrap=True, highlight=False)


def print_path(kind: str, path: Path) -> None:
    """Where a file was written."""
    from rich.markup import escape

    from evals.views.style import console

    console().print(f"{kind}: {escape(str(path))}", soft_wrap=True, highlight=False)


def as_markdown(title: Title, changes: Sequence[Change]) -> str:
    """A table a benchmark, as GitHub reads it."""
    lines = [
        f"# {_plain(title.b)} against {_plain(title.a)}",
        "",
        f"A: {_plain(title.a)} · B: {_plain(title.b)}",
        "",
    ]
    for benchmark, rows in _by_benchmark(changes).items():
        lines += [
            f"## {_plain(benchmark)}",
            "",
            _line(HEAD),
            _line(["---"] * 3 + ["--:"] * (len(HEAD) - 3)),
        ]
        lines += [_line([_plain(cell) for cell in _cells(row)]) for row in rows] + [""]
    return "\n".join([*lines, LEGEND, "", *(f"- {_plain(note)}" for note in title.notes)]) + "\n"


def as_json(
    pairs: Sequence[tuple[Measured, Measured]], changes: Sequence[Change]
) -> dict[str, Any]:
    """The machine output: fractions in [0, 1]; what has no value is null."""
    records = [
        {
            name: {
                "record": str(m.run.path),
                "label": m.label,
                "dim": m.dim,
                "precision": m.precision,
            }
            for name, m in zip("ab", pair, strict=True)
        }
        for pair in pairs
    ]
    flat = []
    for change in changes:
        entry = change._asdict() | {"fell": change.fell}
        difference = entry.pop("difference")._asdict()
        ends = difference.pop("interval")
        change_of = {
            "difference": difference.pop("value"),
            "ci_low": ends.low if ends else None,
            "ci_high": ends.high if ends else None,
        }
        flat.append(entry | change_of | difference)
    return {"schema_version": 1, "floor": FLOOR, "records": records, "changes": flat}


def place_beside(pairs: Sequence[tuple[Measured, Measured]]) -> Path:
    """Where a forest plot lies unless it is told where: in the record of the first B, named after what A is."""
    a, b = pairs[0]
    return b.run.path / f"{path_component(f'{b.label}-against-{a.label}')}.png"


def forest_png(title: Title, changes: Sequence[Change]) -> bytes:
    """The forest plot as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    image = io.BytesIO()
    figure = forest(title, changes)
    FigureCanvasAgg(figure)
    figure.savefig(image, format="png")
    return image.getvalue()


def forest(title: Title, changes: Sequence[Change]) -> Any:
    """A matplotlib figure: a line a change with its interval, the floor as a band about zero, numbers at the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.5 + 0.27 * len(changes)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.axvspan(
        -100 * FLOOR,
        100 * FLOOR,
        color="#e6e6e6",
        zorder=0,
        label=f"within {100 * FLOOR:.1f} points",
    )
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)
    for place, change in enumerate(changes):
        _draw(axes, place, change)
    axes.set_yticks(range(len(changes)), [_label(change) for change in changes])
    for tick, change in zip(axes.get_yticklabels(), changes, strict=True):
        tick.set_fontweight("bold" if change.primary else "normal")
    axes.set_ylim(len(changes) - 0.5, -0.5)
    axes.set_xlabel(
        f"B − A, points, with 95% interval; grey band: the floor of {100 * FLOOR:.1f} points"
    )
    axes.set_title(f"A: {title.a}\nB: {title.b}", loc="left", fontsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _draw(axes: Any, place: int, change: Change) -> None:
    difference = change.difference
    rose = difference.lower is not None and difference.lower > 0 and difference.value > FLOOR
    colour = FELL if change.fell else ROSE if rose else NEITHER
    if difference.interval:
        axes.plot(
            [100 * end for end in difference.interval],
            [place, place],
            color=colour,
            linewidth=1.6,
            solid_capstyle="butt",
        )
    axes.plot(
        100 * difference.value,
        place,
        "D" if change.subset == MEAN else "o",
        color=colour,
        markersize=5,
    )
    text = f"{100 * difference.value:+.2f}   p {_p(difference.p)}" + (" ▼" if change.fell else "")
    axes.annotate(
        text,
        (1.01, place),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=9,
        color=colour,
    )


def _label(change: Change) -> str:
    return " ".join(
        part for part in (change.benchmark, change.subset, change.direction, change.metric) if part
    )


def _by_benchmark(changes: Sequence[Change]) -> dict[str, list[Change]]:
    by_benchmark: dict[str, list[Change]] = {}
    for change in changes:
        by_benchmark.setdefault(change.benchmark, []).append(change)
    return by_benchmark


def _cells(row: Change) -> list[str]:
    difference = row.difference
    ends = (
        f" [{100 * difference.interval.low:+.2f},{100 * difference.interval.high:+.2f}]"
        if difference.interval
        else ""
    )
    return [
        row.subset,
        row.direction,
        row.metric,
        f"{100 * row.a:.2f}",
        f"{100 * row.b:.2f}",
        f"{100 * difference.value:+.2f}{ends}{' ▼' if row.fell else ''}",
        _p(difference.p),
        _p(row.p_holm),
        f"{difference.wins}/{difference.losses}",
        f"{100 * difference.detectable:.2f}" if difference.detectable is not None else "–",
    ]


def _p(p: float | None) -> str:
    return "–" if p is None else f"{p:.3f}" if p >= 0.001 else "<0.001"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Names as text: no markup of markdown or HTML."""
    from evals.escape import markdown_text

    return markdown_text(text)
