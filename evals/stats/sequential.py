"""A test for drops that may be looked at after every checkpoint of a training run.

The same queries are asked of every checkpoint, so its values are paired with those of the baseline.
Where a checkpoint is as good as the baseline, each image's change is as likely up as down. Then the
sum of the changes, with random signs s and the changes d of n images, is bounded by Chernoff:

    P(sum s d <= -t) <= min over l > 0 of exp(-l t) prod cosh(l d)

That holds for any number of images and any values, without a normal approximation, which is far off
where p must be as small as it must be here. Sharing alpha among the checkpoints (Bonferroni) bounds
the chance of any false alarm in the whole run, however the checkpoints hang together: they are asked
the same queries, and one is trained from the other, so nothing less would do.
"""

import math

import numpy as np
from jaxtyping import Float64

from evals.stats.shapes import Values

# Values of l tried, in units of t / sum d^2, where the bound of a normal sum has its minimum.
STEPS = np.geomspace(0.25, 8, 41)


def drop_p(changes: Values) -> float:
    """A bound of the one-sided p of a drop, from what each image (or other cluster) adds to the change.

    1 where there is no drop. Valid for every n; it is at most 1, and larger than the exact p by a
    factor that grows slowly as p falls (2.5e-6 for 3e-7).
    """
    t = -math.fsum(changes.tolist())
    squares = float((changes**2).sum())
    if t <= 0 or squares == 0:
        return 1.0
    # Any l gives a bound that holds, so a grid does: between two of its values lies little.
    scaled = STEPS * (t / squares)
    exponents = [_log_cosh(step * changes).sum() - step * t for step in scaled]
    return min(1.0, math.exp(min(exponents)))


def _log_cosh(x: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """log cosh x = |x| + log(1 + exp(-2 |x|)) - log 2, which does not overflow."""
    size = np.abs(x)
    result: np.ndarray = size + np.log1p(np.exp(-2 * size)) - math.log(2)
    return result


def alpha_of(place: int, alpha: float, checkpoints: int | None) -> float:
    """The share of alpha that a checkpoint may spend, by its place from 1 on.

    Equal shares where the number of checkpoints is known, and 0 beyond it; else alpha / (k (k + 1)),
    whose sum over all k is alpha.
    """
    if checkpoints is None:
        return alpha / (place * (place + 1))
    return alpha / checkpoints if place <= checkpoints else 0.0


def seen_drop(changes: Values, alpha: float) -> float | None:
    """The drop that the test sees at this alpha in four of five cases, as its spread tells.

    The bound needs t^2 / (2 sum d^2) >= log(1 / alpha); the part of it that varies is normal, and
    its 80% quantile is 0.84 standard errors. None where no query differs.
    """
    error = math.sqrt(float((changes**2).sum()))
    if not error or not alpha:
        return None
    return (math.sqrt(2 * math.log(1 / alpha)) + 0.8416) * error
