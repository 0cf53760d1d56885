"""What a run would encode (`--dry-run`), as a table and as JSON."""

from collections.abc import Sequence
from typing import Any

from evals.evaluation.forecast import Forecast, duration

UNKNOWN = "unknown"
CAPTION = (
    "to encode: what is not in the store; size: of the embeddings in float32; time: by the rates of "
    "this machine's records of the model, without loading it and without scoring."
)


def print_forecast(lines: Sequence[Forecast]) -> None:
    """A row per model, benchmark and kind, and why of some nothing can be said."""
    from rich.markup import escape

    from evals.views.style import console, empty_table

    out = console()
    table = empty_table("Nothing is encoded now", CAPTION)
    for name in ("benchmark", "model", "kind"):
        table.add_column(name)
    for name in ("items", "to encode", "size", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    # What could not be counted is told below: a row of dashes would read as nothing to do.
    counted = [line for line in lines if line.problem is None]
    for line in counted:
        names = line.benchmark, line.model, f"{line.kind}s"
        counts = f"{line.items:,}", f"{line.missing:,}"
        costs = _size(line.size), _time(line.seconds)
        table.add_row(*map(escape, names), *counts, *costs)
    if counted:
        out.print(table)
        seconds = _seconds(lines)
        time = "how long it takes is not known" if seconds is None else _time(seconds)
        out.print(f"Together: {_size(_total(counted))}; {time}.", highlight=False)
    for benchmark, source in {line.benchmark: line.source for line in counted}.items():
        out.print(escape(f"{benchmark}: from {source}"), soft_wrap=True, highlight=False)
    for line in lines:
        if line.problem is not None:
            text = f"{line.benchmark} by {line.model}: {UNKNOWN}. {line.problem}"
            out.print(escape(text), soft_wrap=True, highlight=False)


def as_json(lines: Sequence[Forecast]) -> dict[str, Any]:
    """The same as JSON: bytes and seconds; what is unknown is null."""
    entries = []
    for line in lines:
        entry = line._asdict()
        entry["bytes"] = entry.pop("size")
        entries.append(entry)
    return {"schema_version": 1, "dry_run": entries, "seconds": _seconds(lines)}


def _total(lines: Sequence[Forecast]) -> int | None:
    """The size of all; None where that of one is unknown."""
    known = [line.size for line in lines if line.size is not None]
    return sum(known) if len(known) == len(lines) else None


def _seconds(lines: Sequence[Forecast]) -> float | None:
    """The time of all; None where that of one is unknown."""
    known = [line.seconds for line in lines if line.seconds is not None]
    return sum(known) if len(known) == len(lines) else None


def _size(size: int | None) -> str:
    if size is None:
        return UNKNOWN
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _time(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else duration(seconds)
