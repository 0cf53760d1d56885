"""Gives each primary metric of a verdict a p that is adjusted over all of them.

Shapes: g images, m metrics, q queries.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from evals.regress.pairing import Measured
from evals.stats.family import step_down


class Member(NamedTuple):
    """A metric of the family, and the benchmark and model whose images it is measured on."""

    record: tuple[str, str]
    measured: Measured


def adjusted_p(members: Sequence[Member]) -> list[float | None]:
    """The adjusted one-sided p of a drop of each metric, None for what has no queries.

    Metrics of one record share their images, and the runs are swapped in all of them at once.
    """
    places: dict[tuple[str, str], list[int]] = {}
    for i, member in enumerate(members):
        if member.measured.pairs:
            places.setdefault(member.record, []).append(i)
    blocks = [shares([members[i].measured for i in block]) for block in places.values()]
    p_values: list[float | None] = [None] * len(members)
    for block, adjusted in zip(places.values(), step_down(blocks), strict=True):
        for i, p in zip(block, adjusted.tolist(), strict=True):
            p_values[i] = p
    return p_values


def shares(metrics: Sequence[Measured]) -> Float64[np.ndarray, "g m"]:
    """What each image adds to the change of each metric: their sum over images is the change."""
    # images are numbered from 0; one that changes no query of a metric adds 0 to it
    images = 1 + max(int(pair.groups.max()) for each in metrics for pair in each.pairs)
    return np.stack([_share(each, images) for each in metrics], axis=1)


def _share(measured: Measured, images: int) -> Float64[np.ndarray, "g"]:
    """A metric is a mean over subsets of means over queries."""
    share = np.zeros(images)
    for pair in measured.pairs:
        change = pair.b[measured.metric] - pair.a[measured.metric]
        sums = np.bincount(pair.groups, weights=change, minlength=images)
        share += sums / (len(change) * len(measured.pairs))
    return share
