"""Bootstrap intervals of means over queries that come in clusters, as captions of an image do.

Shapes: q queries, g groups (clusters), m metrics, s resamples.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Float64, UInt8

from evals.stats.shapes import Draws, Groups, PartOfDraws, Values

K = TypeVar("K", bound=Hashable)
# Sums are whole multiples of 1 / GRID: totals are exact up to 2^21, however a matmul adds them.
GRID = 2.0**32
CHUNK = 64  # resamples drawn, and widened to float64, at once
KEEP = 2**27  # bytes of resamples worth keeping for the next call; beyond, every call draws again


# The sum of each metric over each resample, from the draws and the sums of each group. They are on
# the grid, so it changes no bit where and in which order they are added.
Totals = Callable[[Iterable[PartOfDraws], Float64[np.ndarray, "g m"]], Float64[np.ndarray, "s m"]]


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


def cluster_bootstrap(
    values: Mapping[K, Values],
    groups: Groups,
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
    totals: Totals | None = None,
) -> dict[K, Interval | None]:
    """Percentile intervals of the mean of each metric, whole groups resampled with replacement.

    A resample of groups has as many groups as the data but not as many queries, so its mean is the
    ratio of its sum to its count. The groups drawn depend on (number of groups, seed, resamples)
    only: all metrics, dimensions and languages with as many images share them. With fewer than two
    groups there is nothing to vary: no interval (None) rather than one of width zero. The result is
    equal bit for bit in every call, whatever else is asked in it, and whatever adds the totals.
    """
    labels, group = np.unique(groups, return_inverse=True)
    if len(labels) < 2:
        return dict.fromkeys(values)
    columns = np.stack(list(values.values()), axis=1)
    means = resampled_means(columns, group, len(labels), seed, resamples, totals=totals)
    tails = [(1 - level) / 2, (1 + level) / 2]
    lows, highs = np.quantile(means, tails, axis=0)
    return {
        name: Interval(float(low), float(high))
        for name, low, high in zip(values, lows, highs, strict=True)
    }


def stratified_bootstrap(
    values: Values,
    strata: Groups,
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval | None:
    """Percentile interval of the mean over strata of their means, resampled within strata.

    A stratum of one query does not vary; where none has more there is no interval (None).
    """
    if np.bincount(strata).max(initial=0) < 2:
        return None
    rng = np.random.Generator(np.random.PCG64(seed))
    labels, sizes = np.unique(strata, return_counts=True)
    total = np.zeros(resamples)
    for label, size in zip(labels, sizes, strict=True):
        # draws of queries differ only by how often each distinct value comes
        distinct, counts = np.unique(values[strata == label], return_counts=True)
        times = rng.multinomial(size, counts / size, size=resamples)
        total += times @ distinct / size
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(total / len(labels), tails)
    return Interval(float(low), float(high))


def resampled_means(
    values: Float[np.ndarray, "q m"],
    group: Groups,
    n_groups: int,
    seed: int,
    resamples: int,
    *,
    totals: Totals | None = None,
) -> Float64[np.ndarray, "s m"]:
    """The mean of each metric per resample of groups; NaN where none of the groups was drawn."""
    # the first column counts the queries of each group
    columns = [np.ones(len(group)), *values.T]
    sums = [np.bincount(group, weights=column, minlength=n_groups) for column in columns]
    on_grid: np.ndarray = np.round(np.stack(sums, axis=1) * GRID) / GRID
    draws = resamples_of(n_groups, seed, resamples)
    sums_of_resamples = (totals or host_totals)(draws, on_grid)
    counts = sums_of_resamples[:, :1]
    with np.errstate(invalid="ignore"):
        means: np.ndarray = sums_of_resamples[:, 1:] / counts
    return means


def host_totals(
    draws: Iterable[PartOfDraws], sums: Float64[np.ndarray, "g m"]
) -> Float64[np.ndarray, "s m"]:
    """The sum of each metric over each resample."""
    return np.concatenate([times.astype(np.float64) @ sums for times in draws])


def resamples_of(n_groups: int, seed: int, resamples: int) -> Iterator[Draws]:
    """How often each resample has each group, some resamples at a time.

    All data of as many groups share these draws.
    """
    if n_groups * resamples <= KEEP:
        yield from _kept(n_groups, seed, resamples)
    else:
        yield from _draw(n_groups, seed, resamples)


@lru_cache(maxsize=2)
def _kept(n_groups: int, seed: int, resamples: int) -> tuple[UInt8[np.ndarray, "_ g"], ...]:
    return tuple(_draw(n_groups, seed, resamples))


def _draw(n_groups: int, seed: int, resamples: int) -> Iterator[Draws]:
    rng = np.random.Generator(np.random.PCG64(seed))
    for start in range(0, resamples, CHUNK):
        # a byte is enough: a group is drawn once on average, and 256 times with chance below 1e-500
        times = np.empty((min(CHUNK, resamples - start), n_groups), dtype=np.uint8)
        for row in times:
            row[:] = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
        yield times
