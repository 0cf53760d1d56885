"""Results as people and programs read them: a table a benchmark and model, or one JSON object."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evals.averages import Mean
from evals.evaluate import Outcome, metric_lines
from evals.run import Failure
from evals.tasks.image_text import Value

SHOWN = ("R@1", "R@5", "R@10")
WIDTH = 84  # what a table needs; a narrower terminal wraps lines rather than lose a column


def console() -> Console:
    """The terminal; a file or a pipe gets the same width whatever it is."""
    found = Console()
    return Console(width=max(found.width if sys.stdout.isatty() else WIDTH, WIDTH))


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """A table for each, in per cent with 95% intervals, and the path of its record."""
    out = console()
    for outcome in outcomes:
        out.print(_table(outcome))
        encoded = " and ".join(f"{n:,} {kind}s" for kind, n in outcome.encoded.items())
        out.print(f"Encoded now: {encoded}; the rest came from the store.", highlight=False)
        out.print(f"record: {escape(str(outcome.path))}\n", soft_wrap=True, highlight=False)


def _table(outcome: Outcome) -> Table:
    part = " · partial: not the benchmark's number" if outcome.partial else ""
    several = "" if len(outcome.scores) == 1 else f" mean: plain mean over {' '.join(outcome.scores)}."
    table = Table(
        title=f"{escape(outcome.benchmark.title)} · {escape(outcome.model)}{part}",
        caption="t2i: texts find their image; i2t: images find one of their texts. Recall in per cent, 95% intervals from a "
        f"bootstrap over images; n: queries/gallery; ties count in expectation.{several}",
        title_justify="left",
        caption_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    for name, justify in (("", "left"), ("dim", "right"), ("", "left"), *((name, "left") for name in SHOWN)):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for name in ("n", "ties"):
        table.add_column(name, justify="right", no_wrap=True)
    for subset, every in outcome.scores.items():
        for s in every:
            counts = (f"{len(s.ranks)}/{s.n_gallery}", f"{100 * s.tie_rate:.1f}%")
            table.add_row(subset, str(s.dim), s.direction, *(percent(s.values[name]) for name in SHOWN), *counts)
    if len(outcome.scores) > 1:
        table.add_section()
        for s in next(iter(outcome.scores.values())):
            means = [f"{100 * mean_over_subsets(outcome, s.direction, s.dim, name):.1f}" for name in SHOWN]
            table.add_row("mean", str(s.dim), s.direction, *means)
    return table


def percent(value: Value) -> str:
    """`43.2 [39.9,46.4]`: per cent, with the interval when there is one."""
    number = f"{100 * value.value:.1f}"
    if value.interval is None:
        return number
    return f"{number} [dim]\\[{100 * value.interval.low:.1f},{100 * value.interval.high:.1f}][/dim]"


def mean_over_subsets(outcome: Outcome, direction: str, dim: int, name: str) -> float:
    """The plain mean of a metric over the subsets that were run."""
    values = [
        s.values[name].value for every in outcome.scores.values() for s in every if (s.direction, s.dim) == (direction, dim)
    ]
    return sum(values) / len(values)


def print_kept(outcomes: Sequence[Outcome]) -> None:
    """A line a direction: what each dimension keeps of the full width's R@1, as mean over the subsets that were run."""
    out = console()
    for outcome in outcomes:
        every = next(iter(outcome.scores.values()))
        dims = sorted({s.dim for s in every})
        names = " ".join(outcome.scores)
        out.print(f"[bold]Kept of R@1 at {dims[-1]} dimensions[/bold] · {escape(outcome.benchmark.title)} · mean of {names}")
        for direction in ("t2i", "i2t"):
            full = mean_over_subsets(outcome, direction, dims[-1], "R@1")
            shares = [mean_over_subsets(outcome, direction, dim, "R@1") / full if full else None for dim in dims]
            cells = [f"{dim}: {'–' if share is None else f'{100 * share:.1f}%'}" for dim, share in zip(dims, shares, strict=True)]
            out.print(f"  {direction}  {'   '.join(cells)}", highlight=False)
        out.print()


def print_averages(means: Sequence[Mean]) -> None:
    """A line for each average of a suite: the value in per cent, or which members it lacks."""
    out = console()
    for mean in means:
        head = f"{mean.suite}: {mean.title} · {mean.model} · {mean.direction} {mean.metric}, dim {mean.dim}"
        if mean.value is not None:
            out.print(f"{escape(head)}: [bold]{100 * mean.value:.2f}[/bold] ({mean.members} of {mean.members})", highlight=False)
        else:
            have = mean.members - len(mean.missing)
            out.print(f"{escape(head)}: none, {have} of {mean.members}; {mean.missing[0]} … missing", highlight=False)


def as_json(outcomes: Sequence[Outcome], failures: Sequence[Failure] = (), means: Sequence[Mean] = ()) -> dict[str, Any]:
    """The machine output of an evaluation."""
    return {
        "schema_version": 1,
        "runs": [
            {
                "path": str(outcome.path),
                "benchmark": outcome.benchmark.name,
                "model": outcome.model,
                "partial": outcome.partial,
                "encoded": outcome.encoded,
                "metrics": [asdict(line) for line in metric_lines(outcome.scores)],
            }
            for outcome in outcomes
        ],
        "averages": [mean._asdict() for mean in means],
        "failures": [
            {"benchmark": f.benchmark, "model": f.model, "error": str(f.error), "exit_code": f.error.exit_code} for f in failures
        ],
    }
