"""Spearman's correlation of scored pairs: its interval, and the paired change between two runs.

Shapes: n pairs, s resamples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evals.stats.bootstrap import Interval, resamples_of
from evals.stats.paired import Difference, draws_of_test, spread
from evals.stats.shapes import Places, Resampled, Scores


class ScoredTwice(NamedTuple):
    """The scores that two runs gave to the same pairs, and the gold score of each."""

    a: Scores
    b: Scores
    gold: Scores


def spearman_interval(
    x: Scores,
    y: Scores,
    *,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval | None:
    """Percentile interval of Spearman's correlation, pairs resampled with replacement.

    Equal values share their mean rank. A resample is a count for each pair, so that its ranks
    follow from sums over the sorted values, without sorting again. None where a resample cannot
    vary: fewer than three pairs, or one side constant.
    """
    if not _varies(x, y):
        return None
    correlations = _resampled(x, y, seed, resamples)
    # a resample of a single value has no correlation
    correlations = correlations[np.isfinite(correlations)]
    low, high = np.quantile(correlations, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def spearman(x: Scores, y: Scores) -> float:
    """Spearman's correlation, equal values at their mean rank; NaN where a side is constant."""
    return float(_weighted(_groups(x), _groups(y), np.ones(len(x))))


def paired_spearman(
    parts: Sequence[ScoredTwice], *, seed: int = 0, resamples: int = 2000, tests: int = 1
) -> Difference:
    """The change of Spearman's correlation from `a` to `b`, as plain mean over parts.

    Parts are such as languages. Pairs are resampled. `p` is that of the bootstrap, its changes
    shifted to mean nothing (Efron & Tibshirani 1993, chapter 16), with the data counted as one of
    the resamples. A win is a pair whose rank came nearer to that of its gold score. Intervals and p
    are None where a correlation cannot vary. Among many `tests` p takes more draws than the
    interval, see `draws_of_test`.
    """
    value = 0.0
    wins = losses = ties = 0
    for part in parts:
        change = spearman(part.b, part.gold) - spearman(part.a, part.gold)
        value += change / len(parts)
        gold = _ranks(part.gold)
        off_a = np.abs(_ranks(part.a) - gold)
        off_b = np.abs(_ranks(part.b) - gold)
        wins += int((off_b < off_a).sum())
        losses += int((off_b > off_a).sum())
        ties += int((off_b == off_a).sum())
    plain = Difference(
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
    if not all(_varies(part.a, part.gold) and _varies(part.b, part.gold) for part in parts):
        return plain
    draws = draws_of_test(tests, resamples)
    changes_of_parts = []
    for part in parts:
        # the same draws for both, so that the change is paired
        before = _resampled(part.a, part.gold, seed, draws)
        after = _resampled(part.b, part.gold, seed, draws)
        changes_of_parts.append(after - before)
    all_changes = np.mean(changes_of_parts, axis=0)
    changes = all_changes[np.isfinite(all_changes)]
    first = all_changes[:resamples]
    # resampled changes scatter about `value`; moved to scatter about 0, this many are as far out
    beyond = int((np.abs(changes - value) >= abs(value)).sum())
    p = (beyond + 1) / (len(changes) + 1)
    return plain._replace(**spread(first[np.isfinite(first)]), p=p)


def _varies(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether a resample can have another correlation than the data."""
    return len(x) >= 3 and bool(np.ptp(x) > 0 and np.ptp(y) > 0)


def _resampled(x: np.ndarray, y: np.ndarray, seed: int, resamples: int) -> Resampled:
    """The correlation of each resample; NaN for one of a single value.

    Runs with as many pairs share the draws.
    """
    group_x, group_y = _groups(x), _groups(y)
    correlations = []
    for chunk in resamples_of(len(x), seed, resamples):
        correlations += [_weighted(group_x, group_y, times.astype(np.float64)) for times in chunk]
    return np.array(correlations)


def _weighted(group_x: Places, group_y: Places, times: Scores) -> float:
    """Pearson's correlation of the ranks, each pair counted so many times."""
    a = _centred_ranks(group_x, times)
    b = _centred_ranks(group_y, times)
    # sum ab / sqrt(sum aa sum bb)
    variation = np.sqrt((times * a * a).sum() * (times * b * b).sum())
    if variation <= 0:
        return np.nan
    return float((times * a * b).sum() / variation)


def _groups(values: np.ndarray) -> Places:
    """The place of each value among the distinct ones, in ascending order."""
    return np.unique(values, return_inverse=True)[1]


def _ranks(values: Scores) -> Scores:
    return _centred_ranks(_groups(values), np.ones(len(values)))


def _centred_ranks(group: Places, times: Scores) -> Scores:
    """The mean rank of each value's group, less the mean of all ranks."""
    sizes = np.bincount(group, weights=times)
    # ranks of a group end at the sum of all sizes up to it, and begin a size less one before
    ranks = np.cumsum(sizes) - (sizes - 1) / 2
    mean_rank = (times.sum() + 1) / 2
    centred: np.ndarray = (ranks - mean_rank)[group]
    return centred
