"""How often a query still hits in a larger gallery: the mean over all ways to draw distractors into it.

Distractors are documents that are nobody's answer. Of D of them, `drawn` join the gallery, every
such choice alike. How many of them are better than the best relevant document, and how many have
its score, is then a hypergeometric count, and P(hit@k) is a sum over these two. So one count of all
distractors gives the whole curve, without a draw and without its noise.

Chances of a hypergeometric count are made from its most likely value by their ratios, and divided by
their sum: scipy.stats.hypergeom, which takes gamma functions, is off by 1e-8 at D = 10^8.

Shapes: q queries, cases (queries with the same five counts are worked out once).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from evals.ranking.compiling import compiled
from evals.ranking.definition import Ranks
from evals.ranking.shapes import QueryCounts, QueryFloats

# A chance below this share of the largest is left out. Ratios of neighbours fall away from the
# largest, so that all that is left out together is no more than some thousand times as much.
NEGLIGIBLE = 1e-30
STEPS = (1, 2, 5)  # the sizes of a decade


class DistractorCounts(NamedTuple):
    """How many distractors stand above the best relevant document of each query, and on its score.

    `total` is how many distractors there are.
    """

    better: QueryCounts
    tied: QueryCounts
    total: int


def gallery_sizes(n_docs: int, n_distractors: int) -> list[int]:
    """The sizes of a curve: the gallery alone, 1, 2 and 5 of each decade beyond it, and all."""
    largest = n_docs + n_distractors
    decades = [10**exponent for exponent in range(len(str(largest)))]
    rounded = [step * decade for decade in decades for step in STEPS]
    between = [size for size in rounded if n_docs < size < largest]
    return sorted({n_docs, *between, largest})


def hit_at_sizes(
    ranks: Ranks, distractors: DistractorCounts, drawn: Sequence[int], k: int
) -> list[QueryFloats]:
    """P(a relevant document is among the first k) of each query, for each number of distractors drawn.

    `ranks` are those without distractors. Equal scores stand in random order, as everywhere. With
    none drawn it is `metrics.hit_at` of the ranks. Raises ValueError for a number of distractors
    that cannot be drawn.
    """
    outside = [number for number in drawn if not 0 <= number <= distractors.total]
    if outside:
        raise ValueError(f"cannot draw {outside[0]} of {distractors.total} distractors")
    counts = (ranks.better, ranks.tied, ranks.tied_relevant, distractors.better, distractors.tied)
    cases, case_of_query = np.unique(np.stack(counts, axis=1), axis=0, return_inverse=True)
    chances = []
    for number in drawn:
        hits = np.empty(len(cases))
        hits_of_cases(cases.astype(np.int64), distractors.total, number, k, hits)
        chances.append(hits[case_of_query.ravel()])
    return chances


def _drawn_chances(total: int, marked: int, drawn: int) -> Any:
    """P(x of the `drawn` are marked), as the first x and the chances of it and those that follow.

    `marked` of the `total` are. The chances left out, at both ends, are negligible.
    """
    lowest, highest = max(0, drawn + marked - total), min(marked, drawn)
    mode = min(max((drawn + 1) * (marked + 1) // (total + 2), lowest), highest)
    rest = total - marked - drawn
    # P(x + 1) / P(x) = (marked - x) (drawn - x) / ((x + 1) (rest + x + 1))
    first, weight = mode, 1.0
    while first > lowest and weight > NEGLIGIBLE:
        weight *= first * float(rest + first) / (float(marked - first + 1) * (drawn - first + 1))
        first -= 1
    last, weight = mode, 1.0
    while last < highest and weight > NEGLIGIBLE:
        weight *= float(marked - last) * (drawn - last) / (float(last + 1) * (rest + last + 1))
        last += 1
    chances = np.ones(last - first + 1)
    for x in range(mode, last):
        ratio = float(marked - x) * (drawn - x) / (float(x + 1) * (rest + x + 1))
        chances[x + 1 - first] = chances[x - first] * ratio
    for x in range(mode, first, -1):
        ratio = x * float(rest + x) / (float(marked - x + 1) * (drawn - x + 1))
        chances[x - 1 - first] = chances[x - first] * ratio
    return first, chances / chances.sum()


def _hit_among_equals(tied: int, relevant: int, places: int) -> float:
    """P(one of the `relevant` is among the first `places` of `tied` and them, in random order)."""
    # as in metrics.hit_at: C(t, m) / C(t + r, m) as a product of m shares
    miss = 1.0
    for i in range(places):
        miss *= max(tied - i, 0) / max(tied + relevant - i, 1)
    return 1.0 - miss


def _hits_of_cases(
    cases: Int64[np.ndarray, "cases 5"], total: int, drawn: int, k: int, hits: np.ndarray
) -> None:
    """Fill in P(hit@k) of each case: better, tied and relevant ones, better and tied distractors."""
    for case in range(len(cases)):
        tied, relevant = cases[case, 1], cases[case, 2]
        far_better, far_tied = cases[case, 3], cases[case, 4]
        places = k - cases[case, 0]
        hits[case] = 0.0
        # P(X <= m - e) < exp(-e^2 / 2 m) for a mean of m (Hoeffding 1963, JASA 58, section 6): 1e-30
        excess = drawn / max(total, 1) * far_better - places
        if places < 1 or (excess > 0 and excess**2 > 140 * (excess + places)):
            continue
        no_ties = tied + far_tied == 0
        if no_ties and min(far_better, drawn) < places:
            hits[case] = 1.0
            continue
        first, chances = drawn_chances(total, far_better, drawn)
        for above in range(first, min(first + len(chances), places)):
            hit = 1.0
            if not no_ties:
                first_tied, shares = drawn_chances(total - far_better, far_tied, drawn - above)
                hit = 0.0
                for i in range(len(shares)):
                    equal = tied + first_tied + i
                    hit += shares[i] * hit_among_equals(equal, relevant, places - above)
            hits[case] += chances[above - first] * hit
        # the sum of all chances may exceed 1 by its last bit
        hits[case] = min(hits[case], 1.0)


drawn_chances = compiled(_drawn_chances)
hit_among_equals = compiled(_hit_among_equals)
hits_of_cases = compiled(_hits_of_cases)
