"""The result of a replay, as people and programs read it."""

from typing import Any

from rich.markup import escape

from evals.analysis.replay import Replay
from evals.counts import counted
from evals.views.style import console, empty_table, verdict_line

SHOWN = 20  # differences that people see
SHOWN_OF_VALUE = 40  # characters, of a processor's name or a commit


def print_replay(result: Replay) -> None:
    """A sentence, a row per difference, and in what this machine is another one."""
    out = console()
    queries, numbers = (
        counted(result.queries, "query", "queries"),
        counted(result.numbers, "number"),
    )
    counts = f"{queries} and {numbers} from {result.rows_from}"
    word = "bit-equal" if result.bit_equal else "DIFFERS"
    text = verdict_line(word, f"{result.path}: {counts}", good=result.bit_equal)
    out.print(text, soft_wrap=True, highlight=False)
    if not result.bit_equal:
        out.print(escape(f"{result.cause}."), soft_wrap=True, highlight=False)
        table = empty_table("", "")
        for name in ("cell", "what", "rows", "largest", "example"):
            justify: Any = "right" if name in ("rows", "largest") else "left"
            table.add_column(name, justify=justify, overflow="fold")
        for difference in result.differences[:SHOWN]:
            largest = "–" if difference.largest is None else f"{difference.largest:.2g}"
            table.add_row(
                escape(difference.cell),
                escape(difference.what),
                f"{difference.rows:,}",
                largest,
                escape(difference.example),
            )
        out.print(table)
        rest = len(result.differences) - SHOWN
        if rest > 0:
            out.print(f"and {rest:,} more; --json has all of them", highlight=False)
    for name, (then, now) in result.changed.items():
        old, new = (str(value or "unknown")[:SHOWN_OF_VALUE] for value in (then, now))
        note = f"different from the run: {name} {old}, now {new}"
        out.print(escape(note), soft_wrap=True, highlight=False)


def as_json(result: Replay) -> dict[str, Any]:
    """The machine output."""
    return {
        "schema_version": 1,
        "record": str(result.path),
        "bit_equal": result.bit_equal,
        "cause": result.cause,
        "rows_from": result.rows_from,
        "device": result.device,
        "queries": result.queries,
        "numbers": result.numbers,
        "differences": [difference._asdict() for difference in result.differences],
        "changed": {name: list(pair) for name, pair in result.changed.items()},
    }
