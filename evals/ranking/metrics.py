"""What a ranking is worth: R@k, MRR, nDCG@10 and the rank itself, with ties in expectation.

Shapes: q queries.
"""

import math

import numpy as np
from jaxtyping import Float

from evals.ranking.definition import Ranks
from evals.ranking.shapes import QueryFloats


def hit_at(ranks: Ranks, k: int) -> QueryFloats:
    """P(a relevant document is among the first k), equal scores in random order.

    That is 1 - C(t, k-g) / C(t+r, k-g), where g documents are better than the best relevant one,
    and t irrelevant and r relevant ones have its score.
    """
    hits = (ranks.better < k).astype(np.float64)
    with_ties = np.flatnonzero(ranks.tied)
    if not with_ties.size:
        return hits
    g, t, r = (x[with_ties] for x in (ranks.better, ranks.tied, ranks.tied_relevant))
    miss = np.ones(len(with_ties))
    # C(t, m) / C(t+r, m) as a product of m shares: nothing overflows, and from i = t on it is 0
    for i in range(k):
        miss *= np.where(i < k - g, (t - i) / np.maximum(t + r - i, 1), 1.0)
    hits[with_ties] = 1.0 - miss
    return hits


def reciprocal_rank(ranks: Ranks, k: int | None = None) -> QueryFloats:
    """Expected 1 / rank of the first relevant document, equal scores in random order.

    A rank beyond `k` counts 0; None: all ranks count.
    """
    values = 1.0 / (ranks.better + 1.0)
    if k is not None:
        values = np.where(ranks.better < k, values, 0.0)
    with_ties = np.flatnonzero(ranks.tied)
    # few queries tie, and most of these alike: each case is worked out once
    counts = np.stack([ranks.better, ranks.tied, ranks.tied_relevant])
    cases, case = np.unique(counts[:, with_ties], axis=1, return_inverse=True)
    of_case = [_expected_reciprocal(int(g), int(t), int(r), k) for g, t, r in cases.T]
    values[with_ties] = np.array(of_case)[case]
    return values


def expected_rank(ranks: Ranks) -> QueryFloats:
    """Expected rank, from 1, of the first relevant document: g + 1 + t / (r + 1)."""
    rank: np.ndarray = ranks.better + 1 + ranks.tied / (ranks.tied_relevant + 1)
    return rank


def mean(values: Float[np.ndarray, "q"]) -> float:
    """The mean, summed exactly: the order of the queries changes no bit.

    Raises ValueError when there are none.
    """
    if len(values) == 0:
        raise ValueError("the mean of no queries")
    total = float(values.sum())
    # whole numbers below 2^53 add up exactly in any order; all else needs fsum, which is slower
    if abs(total) >= 2.0**53 or not (values == np.rint(values)).all():
        total = math.fsum(values.tolist())
    return total / len(values)


def mean_rank(ranks: Ranks) -> float:
    """The mean over queries of the expected rank."""
    return mean(expected_rank(ranks))


def median_rank(ranks: Ranks) -> float:
    """The median over queries of the expected rank."""
    return float(np.median(expected_rank(ranks)))


def tie_rate(ranks: Ranks) -> float:
    """Share of the queries whose best relevant document ties with an irrelevant one."""
    return mean((ranks.tied > 0).astype(np.float64))


def _expected_reciprocal(g: int, t: int, r: int, k: int | None) -> float:
    """The mean of 1 / (g + x), where the x-th of t + r documents is the first relevant one.

    It is 0 where g + x is beyond k.
    """
    x = np.arange(1.0, t + 1)
    # P(x) = C(t+r-x, r-1) / C(t+r, r), each from the last:
    # P(x+1) / P(x) = (t + 1 - x) / (t + r - x)
    ratios = (t + 1 - x) / (t + r - x)
    chance = np.cumprod(np.concatenate([[r / (t + r)], ratios]))
    rank = g + np.arange(1.0, t + 2)
    if k is not None:
        chance = np.where(rank <= k, chance, 0.0)
    return float((chance / rank).sum())
