"""Paired comparisons of two runs over the same queries: change, interval, p, Holm's correction.

Shapes: q queries, g groups (clusters), m metrics, s resamples.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float64, Int

from evals.stats.bootstrap import CHUNK, Interval, resampled_means
from evals.stats.sample_size import ALPHA
from evals.stats.shapes import Changes, Groups, GroupShares, Resampled, Values

K = TypeVar("K", bound=Hashable)
FLOOR = 0.003  # drops of 0.3 points and less are nobody's regression
# z(1 - alpha) + z(power) standard errors, as in any sample size calculation: 5% one-sided, 80% power
DETECTABLE_ERRORS = NormalDist().inv_cdf(0.95) + NormalDist().inv_cdf(0.80)


class Difference(NamedTuple):
    """A mean of `b` less that of `a`, over the same queries.

    What has no value is None, see `paired_bootstrap`.
    """

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

    a: Mapping[str, Values]
    b: Mapping[str, Values]
    groups: Groups


def paired_bootstrap(
    a: Mapping[str, Values],
    b: Mapping[str, Values],
    groups: Groups,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> dict[str, Difference]:
    """The change of each metric from `a` to `b`, paired by query and clustered by group.

    Interval and bounds are percentiles of the cluster bootstrap of the differences, with the draws
    of `cluster_bootstrap`. `p` is that of a permutation test which swaps the two runs in whole
    groups at random (a sign flip of each group's summed difference): exact where the runs are
    exchangeable. It counts the data as one of the permutations, so it is never 0 (Phipson & Smyth
    2010, doi:10.2202/1544-6115.1585). `detectable` is (z(0.95) + z(0.80)) times the bootstrap's
    standard error. With fewer than two groups there is nothing to vary, and all of these are None;
    `detectable` also when no query differs. Raises ValueError for no queries, and for metrics that
    only one of the two has.
    """
    return paired_means([Pair(a, b, groups)], seed=seed, resamples=resamples)


def paired_means(
    parts: Sequence[Pair], *, seed: int = 0, resamples: int = 2000, tests: int = 1
) -> dict[str, Difference]:
    """As `paired_bootstrap`, of the plain mean over parts, such as languages.

    A group is drawn as a whole. Groups of the same number are the same image: a resample has it
    equally often in every part, and a permutation swaps the runs in all parts at once. Wins, losses
    and ties are counted over all parts. Resamples that leave a part empty are left out; when these
    are more than half, there is no interval and no p. Among many `tests` there are more
    permutations, see `draws_of_test`.
    """
    names = list(parts[0].a)
    for part in parts:
        if part.a.keys() != set(names) or part.b.keys() != set(names):
            raise ValueError(f"the runs do not all have the metrics {', '.join(names)}")
    changes = [_changes(part, names) for part in parts]
    all_groups = np.concatenate([part.groups for part in parts])
    labels, places = np.unique(all_groups, return_inverse=True)
    ends_of_parts = np.cumsum([len(part.groups) for part in parts])
    groups = np.split(places, ends_of_parts[:-1])
    plain = {name: _without_spread(parts, name) for name in names}
    if len(labels) < 2:
        return plain
    means_of_parts = [
        resampled_means(change, group, len(labels), seed, resamples)
        for change, group in zip(changes, groups, strict=True)
    ]
    means = np.mean(means_of_parts, axis=0)
    # not finite where a part has none of the groups that were drawn
    means = means[np.isfinite(means).all(axis=1)]
    if len(means) < resamples / 2:
        return plain
    shares = _shares(changes, groups, len(labels))
    p_values = _sign_flips(shares, seed, draws_of_test(tests, resamples))
    return {
        name: plain[name]._replace(**spread(column), p=float(p))
        for name, column, p in zip(names, means.T, p_values, strict=True)
    }


def spread(changes: Resampled) -> dict[str, Any]:
    """The fields of a `Difference` that follow from resampled changes."""
    ends = np.quantile(changes, [0.025, 0.05, 0.95, 0.975])
    low, lower, upper, high = (float(end) for end in ends)
    error = float(changes.std(ddof=1))
    seen = DETECTABLE_ERRORS * error
    return {
        "interval": Interval(low, high),
        "upper": upper,
        "lower": lower,
        "detectable": seen or None,
    }


def fell(change: Difference, floor: float = FLOOR) -> bool:
    """Whether a drop is both seen and worth it.

    It is seen when the one-sided 95% upper bound of the change is below 0, and worth it above the
    floor.
    """
    return change.upper is not None and change.upper < 0 and -change.value > floor


def draws_of_test(tests: int, draws: int = 2000) -> int:
    """How many draws a p takes that is one of so many tests, at least `draws`.

    The smallest p of n draws is 1 / (n + 1). Of 125 tests Holm asks the first for 0.04%, which
    2,000 draws do not reach however large the difference is.
    """
    return max(draws, math.ceil(2 * tests / ALPHA))


def holm(p: Mapping[K, float]) -> dict[K, float]:
    """Holm's adjusted p values (Holm 1979).

    Among those that are at most alpha there is a false one with chance alpha at most.
    """
    adjusted: dict[K, float] = {}
    least = 0.0
    for place, key in enumerate(sorted(p, key=p.__getitem__)):
        # adjusted values never fall, and none is above 1
        least = min(1.0, max(least, (len(p) - place) * p[key]))
        adjusted[key] = least
    return {key: adjusted[key] for key in p}


def _changes(part: Pair, names: Sequence[str]) -> Changes:
    """What each query adds to the change of each metric."""
    columns = [part.b[name] - part.a[name] for name in names]
    return np.stack(columns, axis=1).astype(np.float64)


def _without_spread(parts: Sequence[Pair], name: str) -> Difference:
    """The value and the counts alone."""
    values = []
    wins = losses = ties = 0
    for part in parts:
        a, b = part.a[name], part.b[name]
        if len(a) == 0:
            raise ValueError("the change over no queries")
        # summed exactly, it is the difference of the runs' means, whatever the order of the queries
        values.append(math.fsum([*b.tolist(), *(-a).tolist()]) / len(a))
        wins += int((b > a).sum())
        losses += int((b < a).sum())
        ties += int((b == a).sum())
    value = math.fsum(values) / len(values)
    return Difference(
        value=value,
        interval=None,
        upper=None,
        lower=None,
        p=None,
        wins=wins,
        losses=losses,
        ties=ties,
        detectable=None,
    )


def _shares(
    changes: Sequence[Float64[np.ndarray, "_ m"]],
    groups: Sequence[Int[np.ndarray, "_"]],
    n_groups: int,
) -> GroupShares:
    """What each group adds to the change, which is a mean over parts of means over queries."""
    parts = []
    for change, group in zip(changes, groups, strict=True):
        sums = [np.bincount(group, weights=column, minlength=n_groups) for column in change.T]
        parts.append(np.stack(sums, axis=1) / len(group))
    shares: np.ndarray = np.mean(parts, axis=0)
    return shares


def _sign_flips(shares: GroupShares, seed: int, flips: int) -> Float64[np.ndarray, "m"]:
    """Two-sided p values of the sums, from so many random sign flips of the rows."""
    rng = np.random.Generator(np.random.PCG64(seed))
    # flips of whole queries give equal sums that differ by rounding: those count as reached
    rounding = 1e-12 * np.abs(shares).sum(axis=0)
    reached = np.abs(shares.sum(axis=0)) - rounding
    beyond = np.zeros(shares.shape[1])
    for start in range(0, flips, CHUNK):
        size = min(CHUNK, flips - start), len(shares)
        signs = 2.0 * rng.integers(2, size=size, dtype=np.int8) - 1.0
        beyond += (np.abs(signs @ shares) >= reached).sum(axis=0)
    # the data count as one of the permutations
    p: np.ndarray = (beyond + 1) / (flips + 1)
    return p
