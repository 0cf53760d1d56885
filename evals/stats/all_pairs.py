"""Which of many models can be told apart: every pair tested over the same queries, all at once.

Shapes: g groups (images), m models, h hypotheses, s sign flips.

Of 10 models 45 pairs are compared, and two of them would differ by chance at 5%. Here the runs are
swapped image by image, in all pairs at once, and the largest difference of any pair is noted: the
chance of one as large as was seen is the adjusted p. That is the step-down maxT procedure of Romano
& Wolf (2005, doi:10.1198/016214504000000539), with the studentised sign flips of
`evals.stats.family`. Each pair has two hypotheses, one for each direction: a model is not better.

A rank interval counts the models that are better for sure, and those that are worse for sure
(Mogstad, Romano, Shaikh & Wilhelm 2024, doi:10.1093/restud/rdad006). With the pairs of one model as
the family it holds that model's rank with 95%; with all pairs, the ranks of all models together.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from evals.stats.bootstrap import CHUNK
from evals.stats.family import ROUNDING

LEVEL = 0.05
FLIPS = 10_000
# what each group adds to the score of each model
Shares = Float64[np.ndarray, "g m"]
Sums = Float64[np.ndarray, "s m"]
# model, rival: the model is not better than the rival
Hypotheses = Int64[np.ndarray, "h 2"]
Statistics = Float64[np.ndarray, "s h"]
PValues = Float64[np.ndarray, "h"]
Order = Int64[np.ndarray, "h"]
# of each two models
Errors = Float64[np.ndarray, "m m"]
Apart = Bool[np.ndarray, "m m"]


class Ranks(NamedTuple):
    """The best and the worst rank that a model may have, counted from 1."""

    low: int
    high: int


def decided_at(flips: int = FLIPS) -> float:
    """The largest p at which two models are told apart: 0.046 with 10,000 flips.

    That is 0.05 less two standard errors of a p that so many random flips estimate, so that neither
    the seed nor luck decides, and errors stay below 5%.
    """
    return float(LEVEL - 2 * np.sqrt(LEVEL * (1 - LEVEL) / flips))


def all_pairs(n_models: int) -> Hypotheses:
    """Each two models, in both directions."""
    pairs = [(a, b) for a in range(n_models) for b in range(n_models) if a != b]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def pairs_of(model: int, n_models: int) -> Hypotheses:
    """One model and each of its rivals, in both directions."""
    pairs = all_pairs(n_models)
    of_model: Hypotheses = pairs[(pairs == model).any(axis=1)]
    return of_model


def adjusted_p(
    shares: Shares, families: Sequence[Hypotheses], *, seed: int = 0, flips: int = FLIPS
) -> list[Float64[np.ndarray, "_"]]:
    """One-sided p values that a model is better than its rival, adjusted within each family.

    A column of `shares` sums to the score of its model. Among the hypotheses of a family that are
    true, one has p of 0.05 or less with chance 5% at most, where the runs are exchangeable group by
    group; asymptotically also where models of equal means vary differently. Two models that differ
    in no group have p 1. The data count as one of the flips, so p is never 0.
    """
    # what all models have in common cancels in each pair: without it less is lost by rounding
    centred = shares - shares.mean(axis=1, keepdims=True)
    errors = _errors(centred)
    scores = centred.sum(axis=0, keepdims=True)
    tests = [_Family.of(family, scores, errors) for family in families]
    for sums in _flipped(centred, seed, flips):
        for test in tests:
            test.count(_statistics(sums, errors, test.ordered))
    return [test.p(flips) for test in tests]


def rank_intervals(shares: Shares, *, seed: int = 0, flips: int = FLIPS) -> list[Ranks]:
    """For each model the ranks that it may have; each interval by itself is of 95%."""
    n_models = shares.shape[1]
    families = [pairs_of(model, n_models) for model in range(n_models)]
    p_values = adjusted_p(shares, families, seed=seed, flips=flips)
    level = decided_at(flips)
    ranks = []
    for model, family in enumerate(families):
        better = family[p_values[model] <= level]
        ranks.append(possible_ranks(model, better, n_models))
    return ranks


def possible_ranks(model: int, better: Hypotheses, n_models: int) -> Ranks:
    """The ranks that are left to a model by the pairs whose first is better for sure."""
    n_better = int((better[:, 1] == model).sum())
    n_worse = int((better[:, 0] == model).sum())
    return Ranks(1 + n_better, n_models - n_worse)


def groups_not_apart(apart: Apart) -> list[tuple[int, ...]]:
    """The largest sets of models of which no two are told apart, from a symmetric matrix.

    A model may be in several: the first and the last of three may differ though neither differs
    from the second. Each set is one letter of a compact letter display, made by insertion and
    absorption (Piepho 2004, doi:10.1198/1061860043515).
    """
    sets = [frozenset(range(len(apart)))]
    for a, b in np.argwhere(np.triu(apart)).tolist():
        split: set[frozenset[int]] = set()
        for members in sets:
            # a set that holds both becomes one without the first, and one without the second
            split |= {members - {a}, members - {b}} if {a, b} <= members else {members}
        sets = [members for members in split if not any(members < larger for larger in split)]
    return sorted(tuple(sorted(members)) for members in sets)


class _Family:
    """Hypotheses tested together: how often a flip reached each of them."""

    def __init__(self, hypotheses: Hypotheses, order: Order, reached: PValues) -> None:
        self.ordered = hypotheses[order]
        self._order = order
        self._reached = reached
        self._beyond = np.zeros(len(hypotheses))

    @classmethod
    def of(cls, hypotheses: Hypotheses, scores: Sums, errors: Errors) -> "_Family":
        """A family, the largest difference of the data first."""
        (statistics,) = _statistics(scores, errors, hypotheses)
        order = np.argsort(-statistics, kind="stable")
        # sums of whole queries are often equal, and differ by rounding: those count as reached
        return cls(hypotheses, order, statistics[order] - ROUNDING)

    def count(self, statistics: Statistics) -> None:
        """Count the flips in which a pair, or one of smaller difference, reaches the data."""
        backwards = statistics[:, ::-1]
        largest = np.maximum.accumulate(backwards, axis=1)[:, ::-1]
        self._beyond += (largest >= self._reached).sum(axis=0)

    def p(self, flips: int) -> PValues:
        """The adjusted p values, in the order in which the hypotheses were given."""
        ordered = (self._beyond + 1) / (flips + 1)
        p = np.empty(len(ordered))
        # the p of a smaller difference is never below that of a larger one
        p[self._order] = np.maximum.accumulate(ordered)
        return p


def _errors(shares: Shares) -> Errors:
    """The standard error of each difference under random signs; 1 where two models are equal."""
    columns = []
    for column in shares.T:
        # a difference of two sums of squares would be nothing but rounding for like models
        changes = shares - column[:, None]
        columns.append(np.square(changes).sum(axis=0))
    errors: np.ndarray = np.sqrt(np.stack(columns, axis=1))
    # any positive number does: the difference stays 0
    errors[errors == 0] = 1.0
    return errors


def _statistics(sums: Sums, errors: Errors, family: Hypotheses) -> Statistics:
    """By how many standard errors the model is above its rival."""
    model, rival = family.T
    changes = sums[:, model] - sums[:, rival]
    statistics: np.ndarray = changes / errors[model, rival]
    return statistics


def _flipped(shares: Shares, seed: int, flips: int) -> Iterator[Sums]:
    """The scores under random signs of the groups, some flips at a time."""
    rng = np.random.Generator(np.random.PCG64(seed))
    # groups in which all models agree add nothing whatever their sign
    varying = shares[shares.any(axis=1)]
    for start in range(0, flips, CHUNK):
        size = min(CHUNK, flips - start), len(varying)
        flipped = rng.integers(2, size=size, dtype=np.int8)
        yield (2.0 * flipped - 1.0) @ varying
