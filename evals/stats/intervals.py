"""The interval of a mean over queries: a bootstrap, or a binomial one where the data are few.

A bootstrap can only draw what the data hold. Where nearly all queries hit, most resamples have no
miss at all, and the interval is too narrow or has no width: of 50 images of which 99% hit, it
covers the truth in 4 of 10 cases. There the interval is Clopper and Pearson's on the effective
sample size, as in surveys (Korn & Graubard 1998, Survey Methodology 24(2); on the intervals of
proportions: Brown, Cai & DasGupta 2001, Statistical Science 16(2)).

The effective sample size is that of independent queries whose share would vary as much. Few misses
cannot tell how much the queries of an image agree, so one more miss is put to the data for that
estimate, in an image whose queries all agree. Which interval is taken follows from the data alone.
tests/simulation.py shows how often each covers; docs/concepts.md has the table.

Shapes: q queries, g groups (clusters).
"""

from collections.abc import Hashable, Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Float64, Int64

from evals.stats.bootstrap import Interval, Totals, cluster_bootstrap, stratified_bootstrap
from evals.stats.shapes import Groups, Values

K = TypeVar("K", bound=Hashable)
FEW = 15  # independent hits, or misses (the rule of Agresti & Franklin's textbook)
FEW_GROUPS = 30  # fewer do not tell their own variance well
FEW_PER_CLASS = 20  # the variance within a class of n images comes out (n - 1) / n too small
TAIL = 0.025  # of a 95% interval
DECIMALS = 12  # of the ends: builds of scipy differ in the last bits


class Effective(NamedTuple):
    """A mean of shares as that of so many independent queries."""

    value: float
    queries: float
    binomial: bool  # hits and misses of independent draws: the value gives the variance

    @property
    def rarer(self) -> float:
        """The hits, or the misses, whichever are fewer."""
        # rounded, or the last bit of a sum would decide whether 15 are few
        return round(min(self.value, 1 - self.value) * self.queries, 6)


def mean_intervals(
    values: Mapping[K, Values], groups: Groups, *, totals: Totals | None = None
) -> dict[K, Interval | None]:
    """95% intervals of the mean of each metric, over queries that come in groups.

    None with fewer than two groups. Metrics that are no shares in [0, 1] have the bootstrap's.
    `totals` says where its sums are added, unless that is the host.
    """
    labels, group = np.unique(groups, return_inverse=True)
    if len(labels) < 2:
        return dict.fromkeys(values)
    weight = np.ones(len(group))
    binomial = {name: _where_few(column, weight, group) for name, column in values.items()}
    enough = {name: column for name, column in values.items() if binomial[name] is None}
    bootstrap = cluster_bootstrap(enough, groups, totals=totals) if enough else {}
    return {name: binomial[name] or bootstrap[name] for name in values}


def parts_mean_interval(
    values: Sequence[Float[np.ndarray, "_"]], groups: Sequence[Sequence[Hashable]]
) -> Interval | None:
    """The 95% interval of the plain mean over parts, such as languages, of means over queries.

    Equal groups of several parts are one, an image that is drawn for all of them. None with fewer
    than two groups.
    """
    labels = np.array([label for part in groups for label in part])
    group = np.unique(labels, return_inverse=True)[1]
    if group.max(initial=0) < 1:
        return None
    # a query weighs so much that its part counts as one
    weights = [len(labels) / len(values) / len(column) for column in values]
    weight = np.repeat(weights, [len(column) for column in values])
    columns = np.concatenate(values)
    binomial = _where_few(columns, weight, group)
    return binomial or cluster_bootstrap({"mean": columns * weight}, group)["mean"]


def class_mean_interval(values: Values, classes: Groups) -> Interval | None:
    """The 95% interval of the mean over classes of the mean over their images.

    Images are drawn within their class, where all classes have enough. Else the binomial interval
    takes the images as drawn from all classes, which is wider. None with fewer than two images.
    """
    if len(values) < 2:
        return None
    images = np.arange(len(values))
    sizes = np.bincount(classes)
    weight = 1 / sizes[classes]
    # the harmonic mean: what is lost of the variance is 1 / n of a class of n images
    if np.mean(1 / sizes[sizes > 0]) > 1 / FEW_PER_CLASS:
        return binomial_interval(effective(values, weight, images), len(images))
    return _where_few(values, weight, images) or stratified_bootstrap(values, classes)


def effective(values: Values, weight: Values, group: Groups) -> Effective:
    """The weighted mean of values in [0, 1], and how many independent queries would vary as much."""
    value = float((weight * values).sum() / weight.sum())
    weight = weight / weight.sum()
    rare = values if value < 0.5 else 1 - values
    query_weight = float(np.square(weight).sum())  # of a typical query
    group_weights = np.bincount(group, weights=weight)
    group_weight = float(np.square(group_weights).sum())  # of a typical group
    # one more of the rare outcomes, with the weight of a query, in a group that agrees
    total = 1 + query_weight
    share = (min(value, 1 - value) + query_weight) / total
    # the variance of a ratio of sums over groups (Cochran 1977, Sampling Techniques, ch. 6)
    off = np.bincount(group, weights=weight * rare) - share * group_weights
    clustered = np.square(off).sum() + query_weight * group_weight * (1 - share) ** 2
    # and as if every query were a group of its own
    off = weight * (rare - share)
    independent = np.square(off).sum() + (query_weight * (1 - share)) ** 2
    # queries of a group that differ from each other are no better than independent ones
    is_clustered = clustered > independent * (1 + 1e-9)
    variance = max(clustered, independent) / total**2
    # n from share (1 - share) / n = variance, less the one that was added
    queries = share * (1 - share) / variance / total
    is_binary = bool(((values == 0) | (values == 1)).all())
    # without any rare outcome the groups are taken as wholes, and no variance was estimated
    binomial = value in (0.0, 1.0) or (is_binary and not is_clustered)
    return Effective(value, float(queries), binomial)


def binomial_interval(mean: Effective, n_groups: int, tail: float = TAIL) -> Interval:
    """Clopper and Pearson's interval of a share of independent queries, a whole number or not.

    Each end is missed with chance `tail` at most: 95% unless it says otherwise.

    Where the variance is an estimate, queries are fewer by as much as Student's t is wider.
    """
    from scipy.special import betaincinv, stdtrit

    queries = mean.queries
    if not mean.binomial:
        queries *= (NormalDist().inv_cdf(1 - tail) / float(stdtrit(n_groups - 1, 1 - tail))) ** 2
    hits = mean.value * queries
    misses = queries - hits
    low = float(betaincinv(hits, misses + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, misses, 1 - tail)) if misses > 0 else 1.0
    return Interval(round(low, DECIMALS), round(high, DECIMALS))


def _where_few(
    values: Values, weight: Float64[np.ndarray, "q"], group: Int64[np.ndarray, "q"]
) -> Interval | None:
    """The binomial interval of shares where hits, misses or groups are few, else None."""
    if values.min() < 0 or values.max() > 1:
        return None
    mean, n_groups = effective(values, weight, group), int(group.max()) + 1
    if mean.rarer >= FEW and n_groups >= FEW_GROUPS:
        return None
    return binomial_interval(mean, n_groups)
