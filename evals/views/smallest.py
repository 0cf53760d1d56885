"""The answer of a sweep with --keep: which vector is the smallest that keeps enough."""

from collections.abc import Sequence
from typing import Any

from evals.analysis.smallest import Smallest
from evals.evaluation.points import Point
from evals.views.style import in_percent


def sentence(answer: Smallest) -> str:
    """Dimension, precision and bytes, and what they are shown to keep; or that none is shown to."""
    where = ", ".join(answer.benchmarks)
    of_what = f"{100 * answer.keep:g}% of {answer.metric} on {where}"
    if answer.chosen:
        size = answer.chosen[0].bytes
        share = 100 * size / answer.full_bytes
        # The bytes are what a deployment pays for: they come before what is kept.
        vector = f"{_vector(answer.chosen)} of {answer.model}"
        bytes_of_it = f"{size:,} bytes per item ({share:.0f}% of the full {answer.full_bytes:,})"
        return (
            f"{vector}, {bytes_of_it}, is the smallest vector shown to keep more than "
            f"{of_what}: {_kept(answer.chosen)}."
        )
    if not answer.vectors:
        return f"No vector smaller than the full one of {answer.model} was measured: name --dims."
    return (
        f"No vector of {answer.model} smaller than the full {answer.full_bytes:,} bytes is shown to "
        f"keep more than {of_what}. {_nearest(answer)}"
    )


def method(answer: Smallest) -> str:
    """How sure the sentence is, in another one."""
    level = 100 * (1 - 2 * answer.tail)
    sequences = ", in each precision by itself," if answer.precisions > 1 else ""
    return (
        f"--keep: vectors are tested from wide to narrow{sequences} until the {level:.4g}% interval "
        "of one no longer shows that it keeps enough. So a vector that keeps less is named with a "
        "chance of about 2.5% at most."
    )


def as_json(answer: Smallest) -> dict[str, Any]:
    """The facts of the sentence; shares in [0, 1]. `chosen` is null where none is shown."""
    return {
        "sentence": sentence(answer),
        "model": answer.model,
        "benchmarks": answer.benchmarks,
        "metric": answer.metric,
        "keep": answer.keep,
        "full_bytes": answer.full_bytes,
        "vectors": answer.vectors,
        "level": 1 - 2 * answer.tail,
        "chosen": _facts(answer.chosen),
        "ended_at": _facts(answer.nearest),
    }


def print_smallest(answers: Sequence[Smallest]) -> None:
    """The sentences, and how they were come by."""
    from rich.markup import escape

    from evals.views.style import console

    out = console()
    for answer in answers:
        out.print(f"[bold]{escape(sentence(answer))}[/bold]", highlight=False)
    if answers:
        out.print(method(answers[0]), style="dim", highlight=False)


def _nearest(answer: Smallest) -> str:
    if all(point.kept_low is None for point in answer.nearest):
        return f"{answer.metric} has no value for each query there, so nothing can be shown."
    return (
        f"{_vector(answer.nearest)} came nearest: {_kept(answer.nearest)}. More images make the "
        "intervals narrower."
    )


def _vector(points: Sequence[Point]) -> str:
    first = points[0]
    return f"{first.dim} dimensions in {first.precision}"


def _kept(points: Sequence[Point]) -> str:
    """`t2i 98.3% [95.5,101.1], i2t …`, with the benchmark where there are several."""
    # The interval stands beside the share: the verdict is about its lower end.
    several = len({point.benchmark for point in points}) > 1
    parts = []
    for point in points:
        names = [point.benchmark] if several else []
        names += [point.direction] if point.direction else []
        kept = in_percent(point.kept)
        low = in_percent(point.kept_low)
        high = in_percent(point.kept_high)
        parts.append(" ".join([*names, f"{kept}% [{low},{high}]"]))
    return ", ".join(parts)


def _facts(points: Sequence[Point]) -> dict[str, Any] | None:
    if not points:
        return None
    first = points[0]
    kept = []
    for point in points:
        fields = ("benchmark", "direction", "kept", "kept_low", "kept_high")
        kept.append({name: getattr(point, name) for name in fields})
    return {"dim": first.dim, "precision": first.precision, "bytes": first.bytes, "kept": kept}
