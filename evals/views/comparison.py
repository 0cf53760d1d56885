"""A comparison as people and programs read it: tables, markdown, JSON."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.analysis.comparison import Change
from evals.counts import counted
from evals.records.selection import Measured
from evals.stats.paired import FLOOR
from evals.views.style import in_percent, in_points

if TYPE_CHECKING:
    from rich.console import JustifyMethod

HEAD = ("", "", "metric", "A", "B", "B - A [95%]", "p", "Holm", "wins/losses", "detects")
NUMBERS = frozenset(("A", "B", "p", "Holm", "wins/losses", "detects"))
LEGEND = (
    "A and B in per cent, changes in points, paired by query. 95% intervals: bootstrap over images. "
    "p: two-sided permutation test that exchanges A and B for all queries of an image. Holm: p "
    "adjusted over the primary metrics. wins/losses: queries that are better or worse in B. "
    "detects: the drop that a one-sided test of this row alone would find with 80% power (the first "
    f"sentence counts all tests). ▼: fell by more than {100 * FLOOR:.1f} points, and the one-sided "
    "95% bound of this row alone is below 0."
)


class Title(NamedTuple):
    """What A and B are; two records of one name are told apart by their folders."""

    a: str
    b: str
    notes: list[str]

    @classmethod
    def of(cls, pairs: Sequence[tuple[Measured, Measured]]) -> "Title":
        # A label per benchmark, and nearly always the same one: the widest dimension may differ.
        label_of_a = ", ".join(dict.fromkeys(a.label for a, _ in pairs))
        label_of_b = ", ".join(dict.fromkeys(b.label for _, b in pairs))
        notes = []
        for a, b in pairs:
            notes += [f"A: {a.run.path}", f"B: {b.run.path}"]
        if label_of_a == label_of_b:
            for a, b in pairs:
                settings = ", ".join(_settings_apart(a, b)) or "no setting of the encoder"
                notes.append(f"They differ in {settings}.")
        return cls(label_of_a, label_of_b, notes)


def _settings_apart(a: Measured, b: Measured) -> list[str]:
    """What tells the encoders of two records apart: weights, dtype …"""
    settings_of_a = _settings(a)
    settings_of_b = _settings(b)
    names = settings_of_a.keys() | settings_of_b.keys()
    return sorted(name for name in names if settings_of_a.get(name) != settings_of_b.get(name))


def _settings(side: Measured) -> Mapping[str, str]:
    return side.run.manifest.encoder.fingerprint


def print_tables(title: Title, changes: Sequence[Change], answer: str) -> None:
    """The answer in a sentence, a table per benchmark, and the records that were read."""
    from rich.markup import escape

    from evals.views.style import console, empty_table

    out = console()
    out.print(f"[bold]{escape(answer)}[/bold]", highlight=False)
    out.print()
    heading = f"[bold]A[/bold] {escape(title.a)}   [bold]B[/bold] {escape(title.b)}"
    out.print(heading, highlight=False)
    out.print()
    for benchmark, rows in _by_benchmark(changes).items():
        # Of several rows each has other counts, and a title can only say one.
        counts = ""
        if len(rows) == 1:
            row = rows[0]
            counts = f"{counted(row.n, 'query', 'queries')} of {counted(row.groups, 'image')}"
        name = " · ".join(filter(None, (benchmark, counts)))
        table = empty_table(name, "")
        for column in HEAD:
            justify: JustifyMethod = "right" if column in NUMBERS else "left"
            table.add_column(
                column, justify=justify, no_wrap=column in NUMBERS or HEAD.index(column) > 2
            )
        for row in rows:
            texts = [escape(cell) for cell in cells(row)]
            table.add_row(*texts, style="red" if row.fell else None)
        out.print(table)
        out.print()
    out.print(LEGEND, style="dim", highlight=False)
    for note in title.notes:
        out.print(escape(note), soft_wrap=True, highlight=False)


def as_markdown(title: Title, changes: Sequence[Change], answer: str) -> str:
    """The answer in a sentence, and a table per benchmark, as GitHub reads it."""
    lines = [
        f"# {_plain(title.b)} against {_plain(title.a)}",
        "",
        f"**{_plain(answer)}**",
        "",
        f"A: {_plain(title.a)} · B: {_plain(title.b)}",
        "",
    ]
    for benchmark, rows in _by_benchmark(changes).items():
        # The first three columns are names, all others are numbers.
        rule = ["---"] * 3 + ["--:"] * (len(HEAD) - 3)
        lines += [f"## {_plain(benchmark)}", "", _line(HEAD), _line(rule)]
        for row in rows:
            lines.append(_line([_plain(cell) for cell in cells(row)]))
        lines.append("")
    lines += [LEGEND, ""]
    lines += [f"- {_plain(note)}" for note in title.notes]
    return "\n".join(lines) + "\n"


def as_json(
    pairs: Sequence[tuple[Measured, Measured]], changes: Sequence[Change]
) -> dict[str, Any]:
    """The machine output: fractions in [0, 1]; what has no value is null."""
    records = [{"a": _side_json(a), "b": _side_json(b)} for a, b in pairs]
    flat = []
    for change in changes:
        entry = change._asdict() | {"fell": change.fell}
        difference = entry.pop("difference")._asdict()
        # An interval is flat, ci_low and ci_high, as in metrics.jsonl: one reader does for both.
        interval = difference.pop("interval")
        entry |= {
            "difference": difference.pop("value"),
            "ci_low": interval.low if interval else None,
            "ci_high": interval.high if interval else None,
        }
        flat.append(entry | difference)
    return {"schema_version": 1, "floor": FLOOR, "records": records, "changes": flat}


def _side_json(side: Measured) -> dict[str, Any]:
    return {
        "record": str(side.run.path),
        "label": side.label,
        "dim": side.dim,
        "precision": side.precision,
    }


def mark(change: Change) -> str:
    """A sign of what fell."""
    # Beside the colour: a plain terminal and a printed page have none.
    return " ▼" if change.fell else ""


def _by_benchmark(changes: Sequence[Change]) -> dict[str, list[Change]]:
    by_benchmark: dict[str, list[Change]] = {}
    for change in changes:
        by_benchmark.setdefault(change.benchmark, []).append(change)
    return by_benchmark


def cells(row: Change) -> list[str]:
    """The cells of HEAD, in its order."""
    difference = row.difference
    interval = ""
    if difference.interval:
        low, high = (in_points(end, digits=2) for end in difference.interval)
        interval = f" [{low},{high}]"
    change = in_points(difference.value, digits=2)
    return [
        row.subset,
        row.direction,
        row.metric,
        in_percent(row.a, digits=2),
        in_percent(row.b, digits=2),
        f"{change}{interval}{mark(row)}",
        p_text(difference.p),
        p_text(row.p_holm),
        f"{difference.wins}/{difference.losses}",
        in_percent(difference.detectable, digits=2),
    ]


def p_text(p: float | None) -> str:
    """A p to three digits; a dash where there is none."""
    if p is None:
        return "–"
    # Of 2,000 sign flips the least p is 1/2,001: more digits would be those of the seed.
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Names as text: no markup of markdown or HTML."""
    from evals.escape import markdown_text

    return markdown_text(text)
