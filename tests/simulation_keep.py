"""Simulated sweeps whose truth is known: how often `mrl_sweep --keep` names a vector that keeps too little.

python -m tests.simulation_keep [--runs 1000] [--seed 0]

A query is a hit of the full vector when its margin is above a threshold; half of the margin is its
image's, as in tests/simulation.py. Each narrower vector adds noise to the margins of the one before,
half of it the image's too, and has the threshold that gives it the share of hits that is asked for.
So what it keeps in truth is known. A vector that keeps exactly what `--keep` promises to exceed
is the hardest to refuse, and naming it counts as wrong.
"""

import argparse
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from evals.analysis.smallest import Smallest, smallest
from evals.evaluation.points import Point
from evals.evaluation.shares import FULL, Vector
from evals.stats.intervals import TAIL
from evals.stats.kept import RESAMPLES, Cut, kept_intervals
from tests.simulation import margins, table

WIDTH = 1024
DIMS = (512, 256, 128, 64)
PRECISIONS = {FULL: 32, "float16": 16, "int8": 8, "binary": 1}  # bits per value
NOISE = 0.15  # of each step; the hits that it changes are 4% at first, and 9% after four steps


class Design(NamedTuple):
    """A sweep: its images and captions, the share of hits of the full vector, and what is asked for.

    `kept` is what each dimension keeps in truth, from wide to narrow, in every one of `precisions`.
    """

    name: str
    images: int
    captions: int
    share: float
    keep: float
    kept: Sequence[float]
    precisions: int = 1


class Rates(NamedTuple):
    """Shares of simulated sweeps."""

    wrong: float  # a vector was named that keeps no more than was asked for
    named: float  # any vector was named


def edge(images: int, captions: int, share: float, keep: float, precisions: int = 1) -> Design:
    """Every vector keeps exactly what is asked for, so that whatever is named is wrong."""
    return Design("all at the edge", images, captions, share, keep, [keep] * len(DIMS), precisions)


def behind(images: int, captions: int, share: float, keep: float, precisions: int = 1) -> Design:
    """The widest two keep all, and the others what is asked for exactly."""
    kept = [1.0, 1.0, keep, keep]
    return Design("two keep all", images, captions, share, keep, kept, precisions)


def slope(images: int, captions: int, share: float, keep: float, precisions: int = 1) -> Design:
    """As sweeps look: each keeps less than the one before, and the third is too small by a little."""
    lost = 1 - keep
    kept = [1 - 0.2 * lost, 1 - 0.6 * lost, 1 - 1.1 * lost, 1 - 2 * lost]
    return Design("a slope", images, captions, share, keep, kept, precisions)


DESIGNS = (
    edge(50, 1, 0.9, 0.9),
    edge(300, 1, 0.5, 0.95),
    edge(300, 5, 0.2, 0.95),
    edge(300, 5, 0.5, 0.95),
    edge(300, 5, 0.9, 0.99),
    edge(300, 5, 0.5, 0.95, precisions=4),
    edge(1000, 5, 0.8, 0.99),
    behind(300, 5, 0.5, 0.95),
    slope(300, 5, 0.5, 0.95),
)


def sweep(design: Design, rng: np.random.Generator) -> Cut:
    """The hits of every query by the full vector and by each cut one."""

    def threshold(share: float, variance: float) -> float:
        return -((1 + variance) ** 0.5) * NormalDist().inv_cdf(share)

    def noise() -> np.ndarray:
        return margins(rng, 1, design.images, design.captions).ravel()

    full = noise()
    cuts = {}
    for precision in list(PRECISIONS)[: design.precisions]:
        margin, variance = full, 0.0
        for dim, kept in zip(DIMS, design.kept, strict=True):
            margin, variance = margin + NOISE * noise(), variance + NOISE**2
            hits = margin > threshold(kept * design.share, variance)
            cuts[Vector(dim, precision)] = hits.astype(np.float64)
    hits_of_full = (full > threshold(design.share, 0.0)).astype(np.float64)
    return Cut(hits_of_full, cuts, np.repeat(np.arange(design.images), design.captions))


def answer(design: Design, queries: Cut, seed: int, resamples: int = RESAMPLES) -> Smallest:
    """What `--keep` says of a sweep."""
    tail = TAIL / design.precisions
    intervals = kept_intervals([queries], tail=tail, seed=seed, resamples=resamples)
    score = float(queries.full.mean())
    points = [_point(Vector(WIDTH, FULL), score, score)]
    for vector, hits in queries.cuts.items():
        point = _point(vector, float(hits.mean()), score)
        interval = intervals[vector]
        if interval is not None:
            point = point._replace(kept_low=interval.low, kept_high=interval.high)
        points.append(point)
    return smallest(points, design.keep, tail)


def rates(design: Design, runs: int, *, seed: int = 0, resamples: int = RESAMPLES) -> Rates:
    """The rates of so many simulated sweeps."""
    rng = np.random.default_rng(seed)
    truth = dict(zip(DIMS, design.kept, strict=True))
    wrong = named = 0
    for run in range(runs):
        chosen = answer(design, sweep(design, rng), run, resamples).chosen
        named += bool(chosen)
        wrong += bool(chosen) and truth[chosen[0].dim] <= design.keep
    return Rates(wrong / runs, named / runs)


def _point(vector: Vector, value: float, full: float) -> Point:
    return Point(
        benchmark="simulated",
        title="Simulated",
        model="m",
        subsets="en",
        direction="t2i",
        dim=vector.dim,
        precision=vector.precision,
        metric="R@1",
        value=value,
        ci_low=None,
        ci_high=None,
        kept=value / full if full else None,
        bytes=vector.dim * PRECISIONS[vector.precision] // 8,
        n=0,
    )


def _rows(runs: int, seed: int) -> Iterator[Sequence[str | float]]:
    for design in DESIGNS:
        size = [f"{design.images:,}", f"{design.captions}", f"{100 * design.share:g}%"]
        asked = [f"{100 * design.keep:g}%", f"{design.precisions}"]
        yield [design.name, *size, *asked, *rates(design, runs, seed=seed)]


def main() -> None:
    """Print the table of docs/sweeps.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{args.runs:,} sweeps of each kind, {len(DIMS)} dimensions, seed {args.seed}:\n")
    head = ["truth", "images", "captions", "full score", "--keep", "precisions", "wrong", "named"]
    table(head, _rows(args.runs, args.seed))


if __name__ == "__main__":
    main()
