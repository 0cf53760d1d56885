"""Finds the smallest vector that is shown to keep enough of the full vector's score.

Picking the smallest of many vectors that look good enough would pick one that was lucky. So they
are tested in a fixed order: for each precision from wide to narrow, and the first that is not shown
to keep enough ends its precision. A test is made only after all before it succeeded, so the whole
sequence has the error of a single test (Maurer, Hothorn & Lehmacher 1995; Westfall & Krishen 2001,
doi:10.1016/S0378-3758(01)00077-5). Of several precisions each gets an equal part of the error
(Bonferroni): a vector that does not keep enough is named with chance 2.5% at most, as far as its
intervals hold (tests/simulation_keep.py counts it).

A vector keeps enough when it does in every direction, of every benchmark that is judged together.
All of them must be shown, which needs no correction (Berger 1982, doi:10.1080/00401706.1982.10487790).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from evals.evaluation.outcome import Result
from evals.evaluation.points import Point, points
from evals.evaluation.shares import FULL, Vector
from evals.stats.intervals import TAIL

Steps = Mapping[Vector, list[Point]]


class Smallest(NamedTuple):
    """The smallest vector that keeps more than `keep` (in [0, 1]) of a model's `metric`.

    `chosen` are its points, one per direction and benchmark; empty where none is shown to. `nearest`
    are those of the vector at which the testing ended and that kept most. `full_bytes` are those of
    the full width in float32; `tail` the error of each precision's sequence; `vectors` how many
    were measured that are smaller than it.
    """

    model: str
    benchmarks: list[str]
    metric: str
    keep: float
    chosen: list[Point]
    nearest: list[Point]
    full_bytes: int
    vectors: int
    precisions: int
    tail: float


def smallest_of(outcomes: Sequence[Result], keep: float) -> list[Smallest]:
    """For each model the answer of each of its benchmarks, and that of all of them together."""
    by_model: dict[str, list[Result]] = {}
    for outcome in outcomes:
        by_model.setdefault(outcome.model, []).append(outcome)
    answers = []
    for members in by_model.values():
        precisions = {point.precision for outcome in members for point in points(outcome)}
        tail = TAIL / len(precisions)
        by_benchmark: dict[str, list[Point]] = {}
        for outcome in members:
            for point in points(outcome, tail=tail):
                by_benchmark.setdefault(point.benchmark, []).append(point)
        answers += [smallest(members, keep, tail) for members in by_benchmark.values()]
        if len(by_benchmark) > 1:
            together = [point for members in by_benchmark.values() for point in members]
            answers.append(smallest(together, keep, tail))
    return answers


def smallest(sweep_points: Sequence[Point], keep: float, tail: float) -> Smallest:
    """The answer for one model from the points of its benchmarks, intervals made with `tail`.

    Judged is the first metric of each benchmark. A vector that not all of them measured is left out.
    """
    first_metric: dict[str, str] = {}
    for point in sweep_points:
        first_metric.setdefault(point.benchmark, point.metric)
    judged = [point for point in sweep_points if point.metric == first_metric[point.benchmark]]
    full = max((p for p in judged if p.precision == FULL), key=lambda point: point.dim)
    steps = _steps(judged, full)
    precisions = list(dict.fromkeys(vector.precision for vector in steps))
    shown: list[list[Point]] = []
    ends: list[list[Point]] = []
    for precision in precisions:
        for vector in sorted(steps, key=lambda vector: -vector.dim):
            if vector.precision != precision:
                continue
            if not all(_keeps(point, keep) for point in steps[vector]):
                ends.append(steps[vector])
                break
            shown.append(steps[vector])
    # Of equal bytes the one that kept more: both were shown to keep enough.
    shown.sort(key=lambda members: (members[0].bytes, -least_kept(members)))
    ends.sort(key=least_kept, reverse=True)
    return Smallest(
        model=full.model,
        benchmarks=list(first_metric),
        metric=", ".join(dict.fromkeys(first_metric.values())),
        keep=keep,
        chosen=shown[0] if shown else [],
        nearest=ends[0] if ends else [],
        full_bytes=full.bytes,
        vectors=len(steps),
        precisions=len(precisions),
        tail=tail,
    )


def _steps(judged: Sequence[Point], full: Point) -> Steps:
    """The points of each vector of fewer bytes than the full one, in every place that is judged."""
    steps: dict[Vector, list[Point]] = {}
    for point in judged:
        steps.setdefault(Vector(point.dim, point.precision), []).append(point)
    places = len(steps[Vector(full.dim, FULL)])
    return {
        vector: members
        for vector, members in steps.items()
        if members[0].bytes < full.bytes and len(members) == places
    }


def least_kept(points: Sequence[Point]) -> float:
    """What a vector keeps where it keeps least."""
    return min(point.kept or 0.0 for point in points)


def _keeps(point: Point, keep: float) -> bool:
    return point.kept_low is not None and point.kept_low > keep
