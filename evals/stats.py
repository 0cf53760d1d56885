"""Confidence intervals of means over queries that come in clusters: the five captions of an image are not independent.

Shapes: q queries, g groups (clusters), m metrics, s resamples.
"""

from collections.abc import Hashable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int, UInt8

K = TypeVar("K", bound=Hashable)
GRID = 2.0**32  # sums are whole multiples of 1 / GRID: their totals are exact up to 2^21, however a matmul adds them
CHUNK = 64  # resamples drawn, and widened to float64, at once
KEEP = 2**27  # bytes of resamples worth keeping for the next call; more are drawn again by every call


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


def cluster_bootstrap(
    values: Mapping[K, Float[np.ndarray, "q"]],
    groups: Int[np.ndarray, "q"],
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> dict[K, Interval | None]:
    """Percentile intervals of the mean of each metric, whole groups resampled with replacement.

    A resample of groups has as many groups as the data but not as many queries, so its mean is the ratio of its sum
    to its count. The groups drawn depend on (number of groups, seed, resamples) only: all metrics, dimensions and
    languages with as many images share them. With fewer than two groups there is nothing to vary: no interval (None)
    rather than one of width zero. The result is equal bit for bit in every call, whatever else is asked in it.
    """
    labels, group = np.unique(groups, return_inverse=True)
    if len(labels) < 2:
        return dict.fromkeys(values)
    columns = [np.ones(len(groups)), *values.values()]
    per_group = np.stack([np.bincount(group, weights=column, minlength=len(labels)) for column in columns], axis=1)
    sums: np.ndarray = np.round(per_group * GRID) / GRID
    totals = np.concatenate([times.astype(np.float64) @ sums for times in _resamples(len(labels), seed, resamples)])
    means = totals[:, 1:] / totals[:, :1]
    ends = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: Interval(float(low), float(high)) for name, (low, high) in zip(values, ends.T, strict=True)}


def _resamples(n_groups: int, seed: int, resamples: int) -> Iterator[UInt8[np.ndarray, "s g"]]:
    """How often each resample has each group, some resamples at a time."""
    if n_groups * resamples <= KEEP:
        yield from _kept(n_groups, seed, resamples)
    else:
        yield from _draw(n_groups, seed, resamples)


@lru_cache(maxsize=2)
def _kept(n_groups: int, seed: int, resamples: int) -> tuple[UInt8[np.ndarray, "_ g"], ...]:
    return tuple(_draw(n_groups, seed, resamples))


def _draw(n_groups: int, seed: int, resamples: int) -> Iterator[UInt8[np.ndarray, "s g"]]:
    rng = np.random.Generator(np.random.PCG64(seed))
    for start in range(0, resamples, CHUNK):
        # one byte is enough: a group is drawn once on average, and 256 times with a chance below 1e-500
        times = np.empty((min(CHUNK, resamples - start), n_groups), dtype=np.uint8)
        for row in times:
            row[:] = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
        yield times
