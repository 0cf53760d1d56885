"""Means over queries that come in clusters, as the five captions of an image do: intervals, paired comparisons, Holm.

Shapes: q queries, g groups (clusters), m metrics, s resamples.
"""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Float64, Int, UInt8

K = TypeVar("K", bound=Hashable)
FLOOR = 0.003  # drops of 0.3 points and less are nobody's regression
GRID = (
    2.0**32
)  # sums are whole multiples of 1 / GRID: their totals are exact up to 2^21, however a matmul adds them
CHUNK = 64  # resamples drawn, and widened to float64, at once
KEEP = (
    2**27
)  # bytes of resamples worth keeping for the next call; more are drawn again by every call


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


class Difference(NamedTuple):
    """A mean of `b` less that of `a`, over the same queries; what has no value is None, see `paired_bootstrap`."""

    value: float
    interval: Interval | None  # 95%
    upper: float | None  # one-sided 95% bounds of the change
    lower: float | None
    p: float | None  # two-sided
    wins: int  # queries where b is above a
    losses: int
    ties: int
    detectable: float | None  # the smallest drop that would have been seen: 5% one-sided, 80% power


class Pair(NamedTuple):
    """The values of two runs for the same queries by metric, and the group of each query."""

    a: Mapping[str, Float[np.ndarray, "q"]]
    b: Mapping[str, Float[np.ndarray, "q"]]
    groups: Int[np.ndarray, "q"]


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
    means = _resampled_means(
        np.stack(list(values.values()), axis=1), group, len(labels), seed, resamples
    )
    ends = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {
        name: Interval(float(low), float(high))
        for name, (low, high) in zip(values, ends.T, strict=True)
    }


def paired_bootstrap(
    a: Mapping[str, Float[np.ndarray, "q"]],
    b: Mapping[str, Float[np.ndarray, "q"]],
    groups: Int[np.ndarray, "q"],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> dict[str, Difference]:
    """The change of each metric from `a` to `b`, paired by query and clustered by group.

    Interval and bounds are percentiles of the cluster bootstrap of the differences, with the draws of `cluster_bootstrap`.
    `p` is that of a permutation test which swaps the two runs in whole groups at random (a sign flip of each group's summed
    difference): exact where the runs are exchangeable. It counts the data as one of the permutations, so it is never 0
    (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585). `detectable` is (z(0.95) + z(0.80)) times the bootstrap's standard error.
    With fewer than two groups there is nothing to vary, and all of these are None; `detectable` also when no query differs.
    Raises ValueError for no queries, and for metrics that only one of the two has.
    """
    return paired_means([Pair(a, b, groups)], seed=seed, resamples=resamples)


def paired_means(
    parts: Sequence[Pair], *, seed: int = 0, resamples: int = 2000
) -> dict[str, Difference]:
    """As `paired_bootstrap`, of the plain mean over parts, such as languages, in which a group is drawn as a whole.

    Groups of the same number are the same image: a resample has it equally often in every part, and a permutation swaps the
    runs in all parts at once. Wins, losses and ties are counted over all parts. Resamples that leave a part empty are left out;
    when these are more than half, there is no interval and no p.
    """
    names = list(parts[0].a)
    if any(part.a.keys() != set(names) or part.b.keys() != set(names) for part in parts):
        raise ValueError(f"the runs do not all have the metrics {', '.join(names)}")
    changes = [
        np.stack([part.b[name] - part.a[name] for name in names], axis=1).astype(np.float64)
        for part in parts
    ]
    labels, every = np.unique(np.concatenate([part.groups for part in parts]), return_inverse=True)
    groups = np.split(every, np.cumsum([len(part.groups) for part in parts])[:-1])
    plain = {name: _unvaried(parts, name) for name in names}
    if len(labels) < 2:
        return plain
    means = np.mean(
        [
            _resampled_means(*part, len(labels), seed, resamples)
            for part in zip(changes, groups, strict=True)
        ],
        axis=0,
    )
    means = means[np.isfinite(means).all(axis=1)]
    if len(means) < resamples / 2:
        return plain
    p = _sign_flips(_shares(changes, groups, len(labels)), seed, resamples)
    return {
        name: plain[name]._replace(**spread(column), p=float(chance))
        for name, column, chance in zip(names, means.T, p, strict=True)
    }


def spread(changes: Float64[np.ndarray, "s"]) -> dict[str, Any]:
    """The fields of a `Difference` that follow from resampled changes: all but the value, the counts and p."""
    low, lower, upper, high = (
        float(end) for end in np.quantile(changes, [0.025, 0.05, 0.95, 0.975])
    )
    seen = (NormalDist().inv_cdf(0.95) + NormalDist().inv_cdf(0.80)) * float(changes.std(ddof=1))
    return {
        "interval": Interval(low, high),
        "upper": upper,
        "lower": lower,
        "detectable": seen or None,
    }


def fell(change: Difference, floor: float = FLOOR) -> bool:
    """Whether a drop is both seen (the one-sided 95% upper bound of the change is below 0) and worth it (above the floor)."""
    return change.upper is not None and change.upper < 0 and -change.value > floor


def holm(p: Mapping[K, float]) -> dict[K, float]:
    """Holm's adjusted p values (Holm 1979): those at most alpha hold one false one or more with chance alpha."""
    adjusted: dict[K, float] = {}
    least = 0.0
    for place, key in enumerate(sorted(p, key=p.__getitem__)):
        least = adjusted[key] = min(1.0, max(least, (len(p) - place) * p[key]))
    return {key: adjusted[key] for key in p}


def _unvaried(parts: Sequence[Pair], name: str) -> Difference:
    """The value and the counts. It is summed exactly: the difference of the runs' means, whatever the order of the queries."""
    values, counts = [], dict.fromkeys((1, -1, 0), 0)
    for part in parts:
        a, b = part.a[name], part.b[name]
        if len(a) == 0:
            raise ValueError("the change over no queries")
        values.append(math.fsum([*b.tolist(), *(-a).tolist()]) / len(a))
        for sign in counts:
            counts[sign] += int((np.sign(b - a) == sign).sum())
    return Difference(
        math.fsum(values) / len(values),
        None,
        None,
        None,
        None,
        counts[1],
        counts[-1],
        counts[0],
        None,
    )


def _resampled_means(
    values: Float[np.ndarray, "q m"],
    group: Int[np.ndarray, "q"],
    n_groups: int,
    seed: int,
    resamples: int,
) -> Float64[np.ndarray, "s m"]:
    columns = [np.ones(len(group)), *values.T]
    per_group = np.stack(
        [np.bincount(group, weights=column, minlength=n_groups) for column in columns], axis=1
    )
    sums: np.ndarray = np.round(per_group * GRID) / GRID
    totals = np.concatenate(
        [times.astype(np.float64) @ sums for times in resamples_of(n_groups, seed, resamples)]
    )
    with np.errstate(invalid="ignore"):  # NaN where none of these groups was drawn
        means: np.ndarray = totals[:, 1:] / totals[:, :1]
    return means


def _shares(
    changes: Sequence[Float64[np.ndarray, "_ m"]],
    groups: Sequence[Int[np.ndarray, "_"]],
    n_groups: int,
) -> Float64[np.ndarray, "g m"]:
    """What each group adds to the change: their sum is the mean over parts of the mean over queries."""
    parts = [
        np.stack(
            [np.bincount(group, weights=column, minlength=n_groups) for column in change.T], axis=1
        )
        / len(group)
        for change, group in zip(changes, groups, strict=True)
    ]
    shares: np.ndarray = np.mean(parts, axis=0)
    return shares


def _sign_flips(
    shares: Float64[np.ndarray, "g m"], seed: int, flips: int
) -> Float64[np.ndarray, "m"]:
    """Two-sided p values of the sums, from so many random sign flips of the rows."""
    rng = np.random.Generator(np.random.PCG64(seed))
    # flips of whole queries give equal sums that differ by rounding: those count as reached
    reached = np.abs(shares.sum(axis=0)) - 1e-12 * np.abs(shares).sum(axis=0)
    beyond = np.zeros(shares.shape[1])
    for start in range(0, flips, CHUNK):
        signs = rng.integers(2, size=(min(CHUNK, flips - start), len(shares)), dtype=np.int8)
        beyond += (np.abs((2.0 * signs - 1.0) @ shares) >= reached).sum(axis=0)
    p: np.ndarray = (beyond + 1) / (flips + 1)
    return p


def stratified_bootstrap(
    values: Float[np.ndarray, "q"],
    strata: Int[np.ndarray, "q"],
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval | None:
    """Percentile interval of the mean over strata of their means, each stratum resampled within itself.

    A stratum of one query does not vary; where none has more there is no interval (None).
    """
    if np.bincount(strata).max(initial=0) < 2:
        return None
    rng = np.random.Generator(np.random.PCG64(seed))
    labels, sizes = np.unique(strata, return_counts=True)
    total = np.zeros(resamples)
    for label, size in zip(labels, sizes, strict=True):
        distinct, counts = np.unique(
            values[strata == label], return_counts=True
        )  # draws differ by how often each value comes
        total += rng.multinomial(size, counts / size, size=resamples) @ distinct / size
    low, high = np.quantile(total / len(labels), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def resamples_of(n_groups: int, seed: int, resamples: int) -> Iterator[UInt8[np.ndarray, "s g"]]:
    """How often each resample has each group, some resamples at a time: the draws that all of the same size share."""
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
