"""What a cut vector keeps of the full one's score: the interval of a ratio, paired by query.

Both scores come from the same queries, so most of their variation is common and leaves the ratio:
the interval is narrower than the two scores' own would suggest. A resample draws whole images for
both scores at once.

Where few queries differ, a bootstrap can only draw what the data hold: of 50 images of which none
lost its place it would say that 100% is kept for sure. There the ends follow from binomial bounds
of the share of queries that lost, and of those that gained, as in `evals.stats.intervals`. Where
more differ the ends are moved by the skewness of what images add: losses are rare and gains rarer,
and plain percentiles of so skewed a ratio lie too high. The ends are as much wider as Student's t is
wider than the normal distribution, because few images tell the variance.

Shapes: q queries, s resamples, v vectors (dimensions and precisions).
"""

from collections.abc import Hashable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from evals.stats.bootstrap import Interval, resampled_means
from evals.stats.intervals import FEW, FEW_GROUPS, TAIL, binomial_interval, effective
from evals.stats.shapes import Groups, Values

RESAMPLES = 2000


class Cut(NamedTuple):
    """The queries of one part, such as a language: what each scored with the full vector and with cut ones.

    Groups of the same number in several parts are the same image.
    """

    full: Values
    cuts: Mapping[Any, Values]
    groups: Groups


def kept_intervals(
    parts: Sequence[Cut], *, tail: float = TAIL, seed: int = 0, resamples: int = RESAMPLES
) -> dict[Hashable, Interval | None]:
    """Intervals of mean(cut) / mean(full) for each cut vector, means being plain over parts.

    Each end is missed with chance `tail`. Values are shares in [0, 1]. None with fewer than two
    groups, or where the full vector scores 0 in most resamples.
    """
    names = list(parts[0].cuts)
    labels, places = np.unique(np.concatenate([p.groups for p in parts]), return_inverse=True)
    if len(labels) < 2:
        return dict.fromkeys(names)
    ends_of_parts = np.cumsum([len(part.groups) for part in parts])[:-1]
    groups = np.split(places, ends_of_parts)
    means = np.mean(
        [
            resampled_means(_columns(part), group, len(labels), seed, resamples)
            for part, group in zip(parts, groups, strict=True)
        ],
        axis=0,
    )
    # A part that was not drawn has no mean, and a score of 0 no share.
    means = means[np.isfinite(means).all(axis=1) & (means[:, 0] > 0)]
    if len(means) < resamples / 2:
        return dict.fromkeys(names)
    kept = means[:, 1:] / means[:, :1]
    intervals: dict[Hashable, Interval | None] = {}
    for place, name in enumerate(names):
        few = _where_few_differ(parts, name, places, tail)
        low, high = np.quantile(kept[:, place], _levels(_shape(parts, name, places), tail))
        intervals[name] = few or Interval(float(low), float(high))
    return intervals


def _columns(part: Cut) -> Float64[np.ndarray, "q v"]:
    """The full vector's values, then those of the cut ones."""
    return np.stack([part.full, *part.cuts.values()], axis=1).astype(np.float64)


class _Shape(NamedTuple):
    """How far what the groups add to the share is from a normal distribution."""

    skewness: float  # of their sum
    freedom: float  # degrees of freedom of their variance


def _shape(parts: Sequence[Cut], name: Hashable, group: Groups) -> _Shape:
    """That of what each group adds to the share that is kept, a ratio taken as linear.

    The relative variance of a variance is 2 / freedom, and about sum(x^4) / sum(x^2)^2: where few
    queries differ, few groups carry it (Satterthwaite 1946).
    """
    full = np.mean([part.full.mean() for part in parts])
    kept = np.mean([part.cuts[name].mean() for part in parts]) / full
    off = []
    for part in parts:
        difference = part.cuts[name] - kept * part.full
        off.append((difference - difference.mean()) / len(difference))
    shares = np.bincount(group, weights=np.concatenate(off))
    squares = float(np.square(shares).sum())
    if not squares:
        return _Shape(0.0, 2.0 * len(shares))
    return _Shape(
        skewness=float((shares**3).sum()) / squares**1.5,
        freedom=2 * squares**2 / float((shares**4).sum()),
    )


def _levels(shape: _Shape, tail: float) -> list[float]:
    """The quantiles of a bootstrap that are missed with chance `tail` at either end.

    Those of BCa (Efron 1987, JASA 82, section 3), whose acceleration and bias of a mean are both a
    sixth of the skewness, and wider by as much as Student's t is.
    """
    from scipy.special import stdtrit

    normal, bias = NormalDist(), shape.skewness / 6
    wider = float(stdtrit(shape.freedom, tail)) / normal.inv_cdf(tail)
    levels = []
    for level in (tail, 1 - tail):
        z = bias + normal.inv_cdf(level)
        # The skewness of a sum is 1 at most, so the divisor is above 0 for any tail in use.
        levels.append(normal.cdf(wider * (bias + z / (1 - bias * z))))
    return levels


def _where_few_differ(
    parts: Sequence[Cut], name: Hashable, group: Groups, tail: float
) -> Interval | None:
    """The bounds from losses and gains, where too few independent queries differ; else None.

    kept = 1 + (gained - lost) / full. Either end takes the other of the two as 0, which is on the
    safe side. The full score is taken as it is: its error scales a loss that is small here.
    """
    n_queries = len(group)
    # A query weighs so much that its part counts as one.
    weights = [n_queries / len(parts) / len(part.full) for part in parts]
    weight = np.repeat(weights, [len(part.full) for part in parts])
    full = np.concatenate([part.full for part in parts])
    change = np.concatenate([part.cuts[name] - part.full for part in parts]).astype(np.float64)
    n_groups = int(group.max()) + 1
    differing = effective(np.abs(change), weight, group)
    if differing.value * differing.queries >= FEW and n_groups >= FEW_GROUPS:
        return None
    lost = binomial_interval(effective(np.maximum(-change, 0), weight, group), n_groups, tail)
    gained = binomial_interval(effective(np.maximum(change, 0), weight, group), n_groups, tail)
    score = float((weight * full).sum() / n_queries)
    return Interval(max(0.0, 1 - lost.high / score), 1 + gained.high / score)
