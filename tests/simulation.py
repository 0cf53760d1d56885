"""Simulated runs and comparisons whose truth is known: how often intervals cover it, and drops are found.

python -m tests.simulation [--runs 1000] [--comparisons 2000]

A query is a hit when its margin is above a threshold. The margin is the sum of an image's share and a
caption's own, half of it each, so that the five captions of an image agree more often than chance has
it. An image finds a caption of its own when the best of their margins is above the threshold. For
nDCG@10 the margin decides whether a caption ranks its image 1, 2, 3, 4 or not at all.

In comparisons the second run has the margins of the first, blurred by noise (half of it the image's)
and lowered until the true drop is what is asked for. The width of the noise decides how many hits
change without any drop: 0.2% of the hits of `tiny` on Scenes do between float32 and bfloat16, 7%
between 256 and 64 dimensions.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from evals.stats.bootstrap import Interval
from evals.stats.correlation import spearman_interval
from evals.stats.intervals import class_mean_interval, mean_intervals
from evals.stats.paired import Difference, fell, paired_bootstrap

SHARES = (0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)
SIZES = (10, 20, 50, 100, 300, 1000, 5000)  # images
CLASSES = ((5, 20), (50, 2), (50, 20), (200, 5))  # classes, images of each
OF_TASKS = (0.2, 0.5, 0.8)
CORRELATIONS = (0.3, 0.6, 0.9)
PAIRS = (10, 30, 100, 1000)
IMAGES, CAPTIONS = 1000, 5  # of a comparison
NOISES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.3)
BATCH = 100  # runs whose intervals are asked for at once, as metrics of one call

Margins = np.ndarray  # runs x images x captions


class Case(NamedTuple):
    """A kind of metric: how many captions an image has, and values from margins at a true share."""

    name: str
    captions: int
    values: Callable[[Margins, float], np.ndarray]


class Rates(NamedTuple):
    """Shares of simulated comparisons; `changed` is that of the hits that differ though there is no drop."""

    changed: float
    covered: float  # the 95% interval holds the true change
    below_5: float  # p < 0.05 though there is no drop
    false_alarms: float  # fell, though there is no drop
    found: float  # fell, with a true drop


def margins(rng: np.random.Generator, runs: int, images: int, captions: int) -> Margins:
    """Standard normal margins, half of whose variance is the image's."""
    of_image = rng.standard_normal((runs, images, 1))
    return (of_image + rng.standard_normal((runs, images, captions))) / 2**0.5


def caption_hits(margin: Margins, share: float) -> np.ndarray:
    """t2i recall: every caption is a query."""
    return (margin > -NormalDist().inv_cdf(share)).astype(np.float64)


def image_hits(margin: Margins, share: float) -> np.ndarray:
    """i2t recall: an image is a query, and a hit when the best of its captions is."""
    best = margin.max(axis=2, keepdims=True)
    return (best > _threshold_of_best(share, margin.shape[2])).astype(np.float64)


def caption_ndcg(margin: Margins, share: float) -> np.ndarray:
    """nDCG@10 with the mean `share`: share^2 are first, others rank 2 to 4 or are not found."""
    of_rank = 1 / np.log2([3, 4, 5])
    ranked = share * (1 - share) / of_rank.mean()  # so that the mean is share^2 + share (1 - share)
    above = share**2 + ranked * np.arange(4) / 3
    edges = np.array([-NormalDist().inv_cdf(part) for part in above])
    place = np.searchsorted(edges[::-1], margin)  # how many edges lie below the margin
    return np.array([0.0, *of_rank[::-1], 1.0])[place]


@cache
def _threshold_of_best(share: float, captions: int) -> float:
    """Of so many margins of an image the best is above it with probability `share`."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    nodes, weights = np.polynomial.hermite_e.hermegauss(80)

    def excess(threshold: float) -> float:
        below = ndtr(threshold * 2**0.5 - nodes) ** captions
        return float(1 - weights @ below / weights.sum() - share)

    return float(brentq(excess, -8, 8))


CASES = (
    Case("t2i, 1 caption", 1, caption_hits),
    Case("t2i, 5 captions", 5, caption_hits),
    Case("i2t, 5 captions", 5, image_hits),
    Case("nDCG@10, 5 captions", 5, caption_ndcg),
)


def coverage(case: Case, images: int, shares: Sequence[float], runs: int) -> list[float]:
    """How often the interval of a mean holds the true share, for each share."""
    rng, covered = np.random.default_rng(images), np.zeros(len(shares))
    for start in range(0, runs, BATCH):
        margin = margins(rng, min(BATCH, runs - start), images, case.captions)
        for i, share in enumerate(shares):
            values = case.values(margin, share)
            groups = np.repeat(np.arange(images), values.shape[2])
            columns = {run: column.ravel() for run, column in enumerate(values)}
            intervals = mean_intervals(columns, groups).values()
            covered[i] += sum(holds(interval, share) for interval in intervals)
    return (covered / runs).tolist()


def class_coverage(classes: int, images: int, shares: Sequence[float], runs: int) -> list[float]:
    """How often the interval of a mean over classes holds the true mean; classes differ in theirs."""
    rng, rates = np.random.default_rng(0), []
    labels = np.repeat(np.arange(classes), images)
    for share in shares:
        of_class = rng.beta(5 * share, 5 * (1 - share), classes)
        covered = 0
        for _ in range(runs):
            hits = (rng.random(len(labels)) < of_class[labels]).astype(np.float64)
            covered += holds(class_mean_interval(hits, labels), float(of_class.mean()))
        rates.append(covered / runs)
    return rates


def spearman_coverage(pairs: int, correlation: float, runs: int) -> float:
    """How often the interval of Spearman's correlation holds that of normal pairs (6 / pi asin(r / 2))."""
    rng, covered = np.random.default_rng(pairs), 0
    for _ in range(runs):
        x, noise = rng.standard_normal((2, pairs))
        y = correlation * x + (1 - correlation**2) ** 0.5 * noise
        covered += holds(spearman_interval(x, y), 6 / np.pi * np.arcsin(correlation / 2))
    return covered / runs


def hits(
    seed: int, noise: float, drop: float, images: int = IMAGES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The hits of two runs and the image of each query; half of all queries are hits of the first run."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), CAPTIONS)

    def half_of_the_image() -> np.ndarray:
        return (rng.standard_normal(images)[image] + rng.standard_normal(len(image))) / 2**0.5

    margin = half_of_the_image()
    lower = (1 + noise**2) ** 0.5 * NormalDist().inv_cdf(0.5 + drop)
    other = margin + noise * half_of_the_image() - lower
    return (margin > 0).astype(np.float64), (other > 0).astype(np.float64), image


def comparisons(
    seeds: range, noise: float, drop: float, *, images: int = IMAGES, resamples: int = 2000
) -> Iterator[Difference]:
    """One simulated comparison for each seed; some at a time are metrics of one call."""
    for start in range(0, len(seeds), BATCH):
        a, b = {}, {}
        for seed in seeds[start : start + BATCH]:
            a[str(seed)], b[str(seed)], image = hits(seed, noise, drop, images)
        yield from paired_bootstrap(a, b, image, resamples=resamples).values()


def rates(
    noise: float, drop: float, count: int, *, images: int = IMAGES, resamples: int = 2000
) -> Rates:
    """The rates at one noise, from as many comparisons without a drop as with one."""
    size = {"images": images, "resamples": resamples}
    same = list(comparisons(range(count), noise, 0.0, **size))
    worse = list(comparisons(range(2**32, 2**32 + count), noise, drop, **size))
    covered = [holds(change.interval, 0.0) for change in same]
    covered += [holds(change.interval, -drop) for change in worse]
    return Rates(
        changed=float(np.mean([change.wins + change.losses for change in same]))
        / (images * CAPTIONS),
        covered=float(np.mean(covered)),
        below_5=float(np.mean([change.p is not None and change.p < 0.05 for change in same])),
        false_alarms=float(np.mean([fell(change) for change in same])),
        found=float(np.mean([fell(change) for change in worse])),
    )


def holds(interval: Interval | None, truth: float) -> bool:
    """Whether the truth lies between the ends, up to the rounding of sums."""
    return interval is not None and interval.low - 1e-9 <= truth <= interval.high + 1e-9


def table(header: Sequence[str], rows: Iterator[Sequence[str | float]]) -> None:
    """Print a Markdown table, row by row as they come; numbers are shares."""
    print(f"| {' | '.join(header)} |\n|{'--:|' * len(header)}")
    for row in rows:
        cells = [cell if isinstance(cell, str) else f"{100 * cell:.1f}%" for cell in row]
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000, help="of each size and share")
    parser.add_argument("--comparisons", type=int, default=2000, help="of each kind")
    args = parser.parse_args()
    from tests import simulation_mteb  # which has the margins and the tables from here

    of_class = [share for share in SHARES if share >= 0.5]
    print(f"How often 95% intervals of {args.runs:,} runs hold the true mean:\n")
    table(
        ["metric", "images", *map(str, SHARES)],
        (
            [case.name, f"{images:,}", *coverage(case, images, SHARES, args.runs)]
            for case in CASES
            for images in SIZES
        ),
    )
    print(f"\nMean over classes (acc@1 within each), {args.runs // 2:,} runs:\n")
    table(
        ["classes", "images of each", *map(str, of_class)],
        (
            [f"{classes}", f"{images}", *class_coverage(classes, images, of_class, args.runs // 2)]
            for classes, images in CLASSES
        ),
    )
    print(f"\nTasks of mteb (nDCG@10), {args.runs:,} runs:\n")
    means = [f"{way} {share}" for way in ("clustered", "independent") for share in OF_TASKS]
    table(
        ["judgements", "clusters", *means],
        (simulation_mteb.row(design, OF_TASKS, args.runs) for design in simulation_mteb.DESIGNS),
    )
    print(f"\nSpearman's correlation, {args.runs // 5:,} runs:\n")
    table(
        ["pairs", *map(str, CORRELATIONS)],
        (
            [f"{n:,}", *(spearman_coverage(n, r, args.runs // 5) for r in CORRELATIONS)]
            for n in PAIRS
        ),
    )
    count = args.comparisons
    print(
        f"\nComparisons, {count:,} of each kind, {IMAGES:,} images x {CAPTIONS} captions, "
        "a drop of 0.5 points:\n"
    )
    table(
        ["hits that change", "covered", "p < 0.05", "false alarms", "found"],
        (rates(noise, 0.005, count) for noise in NOISES),
    )


if __name__ == "__main__":
    main()
