"""How many images a comparison needs to see a difference, and what it sees with those it has.

The closed form of a paired test of means (Guenther 1981, doi:10.1080/00031305.1981.10479365):

    n = variance (z(1 - alpha / 2) + z(power))^2 / difference^2 + z(1 - alpha / 2)^2 / 2

`variance` is that of one image: n times the squared standard error of the difference, in which the
images are the independent units, whatever number of queries each of them has. The second term is
what Student's t needs beyond the normal distribution. tests/simulation_plan.py checks the power.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

NORMAL = NormalDist()
ALPHA, POWER = 0.05, 0.8


class Design(NamedTuple):
    """What a difference must pass: a two-sided test at `alpha`, which sees it with this `power`."""

    alpha: float = ALPHA
    power: float = POWER

    @property
    def z_alpha(self) -> float:
        """The threshold of the test, in standard errors."""
        return NORMAL.inv_cdf(1 - self.alpha / 2)

    @property
    def correction(self) -> float:
        """The images that Student's t needs beyond the normal distribution."""
        return self.z_alpha**2 / 2


USUAL = Design()


def images_needed(variance: float, difference: float, design: Design = USUAL) -> int:
    """The images with which a test of this design sees the difference.

    At least two: one does not vary. ValueError for a difference of 0.
    """
    if not difference:
        raise ValueError("a difference of 0 is not seen by any number of images")
    z = design.z_alpha + NORMAL.inv_cdf(design.power)
    return max(2, math.ceil(variance * (z / difference) ** 2 + design.correction))


def difference_seen(variance: float, images: int, design: Design = USUAL) -> float | None:
    """The smallest difference that so many images show; None for too few of them."""
    effective = images - design.correction
    if effective <= 0:
        return None
    z = design.z_alpha + NORMAL.inv_cdf(design.power)
    return z * math.sqrt(variance / effective)


def power_of(variance: float, difference: float, images: int, design: Design = USUAL) -> float:
    """How often a test at `alpha` sees the difference with so many images."""
    effective = images - design.correction
    if effective <= 0:
        return 0.0
    if variance == 0:
        return 1.0
    shift = abs(difference) / math.sqrt(variance / effective)
    # the second term: seen, with the wrong sign
    return NORMAL.cdf(shift - design.z_alpha) + NORMAL.cdf(-shift - design.z_alpha)
