"""At how many tokens texts are cut: the number is searched for, and is exact.

The share of a difference that a cut at N tokens explains falls on both sides of the right N: what is
cut too early lacks words, and what is cut too late keeps some. So the best power of two is within a
factor of two of it, and halved steps from there end at it.
"""

import math
from collections.abc import Callable

SHORTEST, LONGEST = 3, 13  # powers of two: 8 to 8192 tokens


def best_limit(share: Callable[[int], float], most: int, enough: float) -> int | None:
    """The number of tokens, up to `most`, at which a cut explains the largest share.

    `share` is asked 30 times at most, and no more once a share is `enough`. None where `most` is below
    8.
    """
    if most < 2**SHORTEST:
        return None
    shares: dict[int, float] = {}

    def best_of(*limits: int) -> int:
        for limit in limits:
            is_wanted = limit not in shares and 1 < limit <= most
            if is_wanted and max(shares.values(), default=-math.inf) < enough:
                shares[limit] = share(limit)
        # Of equal ones the least: beyond the longest text no number cuts anything.
        return max(shares, key=lambda limit: (shares[limit], -limit))

    powers = range(SHORTEST, LONGEST + 1)
    best = best_of(*(2**power for power in powers))
    step = best // 2
    while step:
        best = best_of(best - step, best + step)
        step //= 2
    return best
