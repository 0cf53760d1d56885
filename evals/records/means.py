"""Means over the subsets of a benchmark, such as the languages of Crossmodal-3600.

A mean is of all subsets that a record has, or there is none: a mean over those that happen to be
there is another number. Source: section 4.2 of the jina-clip-v2 paper, which averages so.
"""

from collections.abc import Callable, Hashable, Iterable
from statistics import fmean
from typing import TypeVar

from evals.ranking.metric_table import RANKS

MEAN = "mean"  # stands where the name of a subset would

T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)


def plain_mean(values: Iterable[float]) -> float:
    """The plain mean: each subset counts the same, however many queries it has."""
    # fmean rounds once: the order of the subsets changes no bit
    return fmean(values)


def groups(
    parts: Iterable[T], *, subset: Callable[[T], str], key: Callable[[T], Key]
) -> dict[Key, list[T]]:
    """What is averaged: the parts of equal `key`, where there are several subsets and all have it.

    `key` is all that names a part but its subset: direction, dimension, precision, metric.
    """
    by_key: dict[Key, list[T]] = {}
    subsets = set()
    for part in parts:
        by_key.setdefault(key(part), []).append(part)
        subsets.add(subset(part))
    n_subsets = len(subsets)
    if n_subsets < 2:
        return {}
    return {name: members for name, members in by_key.items() if len(members) == n_subsets}


def has_mean(metric: str) -> bool:
    """Whether a mean over subsets says anything: over galleries of several sizes that of a rank does not."""
    return metric not in RANKS
