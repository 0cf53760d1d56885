"""Two runs compared query by query: how each metric changed, and how sure that is."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from evals.analysis.pairing import SPEARMAN, Part, chosen_metrics, paired_parts
from evals.ranking.metric_table import primary
from evals.records.means import MEAN, plain_mean
from evals.records.queries import PerQuery
from evals.records.record import Run
from evals.records.selection import Measured
from evals.stats.correlation import ScoredTwice, paired_spearman, spearman
from evals.stats.paired import Difference, Pair, fell, holm, paired_means


class Change(NamedTuple):
    """A metric of one subset (or the `mean` of several) in both runs, and its change from `a` to `b`.

    `n` counts queries, `groups` images. `p_holm` is p adjusted over the primary metrics of the
    comparison, None for others.
    """

    benchmark: str
    subset: str
    direction: str
    metric: str
    primary: bool
    a: float
    b: float
    difference: Difference
    n: int
    groups: int
    p_holm: float | None = None

    @property
    def fell(self) -> bool:
        """Whether it dropped by more than 0.3 points, and the one-sided 95% bound says so too."""
        return fell(self.difference)


def compare(
    pairs: Sequence[tuple[Measured, Measured]],
    *,
    subsets: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> list[Change]:
    """The changes in every pair of runs, in all subsets or those that are named.

    Unless `metrics` names others they are the primary ones: R@1 and R@5, acc@1, or the main metric
    of an mteb task. Holm's adjustment is over the primary metrics of all benchmarks and directions,
    of the mean where there are several subsets. Raises NotComparableError, with the reason and the
    remedy, for runs that do not measure the same thing, and ConfigError for a subset or metric that
    the runs do not have.
    """
    measured = []
    for a, b in pairs:
        for direction, parts in paired_parts(a, b, subsets).items():
            chosen = chosen_metrics(a.run, parts, metrics)
            measured += [(a.run, direction, metric, parts) for metric in chosen]
    changes: list[Change] = []
    for run, direction, metric, parts in measured:
        changes += _of_metric(run, direction, metric, parts, tests=len(measured))
    # The primary metrics alone: a metric that is only looked at makes no other one's p larger.
    family: dict[int, float] = {}
    for place, change in enumerate(changes):
        if change.primary and change.difference.p is not None:
            family[place] = change.difference.p
    adjusted = holm(family)
    return [change._replace(p_holm=adjusted.get(place)) for place, change in enumerate(changes)]


def _of_metric(
    run: Run, direction: str, metric: str, parts: Mapping[str, Part], *, tests: int
) -> list[Change]:
    """A change for each subset, and before them that of their mean when there are several.

    It is one of at most so many `tests` that are adjusted together.
    """
    first = next(iter(parts.values())).a
    primary_metrics = {run.main_metric, SPEARMAN, *primary(first.values)}
    # The values of queries of an mteb task stand for its main metric, also where they have another
    # name.
    is_primary = metric in primary_metrics or len(first.values) == 1
    several = len(parts) > 1
    members_of = {MEAN: list(parts.values())} if several else {}
    members_of |= {subset: [part] for subset, part in parts.items()}
    group_numbers = {group: number for number, group in enumerate(sorted(_groups(parts.values())))}
    changes = []
    for name, members in members_of.items():
        # Of several subsets their mean is tested: 36 languages would cost a drop its significance.
        in_family = is_primary and (name == MEAN or not several)
        change = Change(
            benchmark=run.manifest.benchmark,
            subset=name,
            direction=direction,
            metric=metric,
            primary=in_family,
            a=_mean([part.a for part in members], metric),
            b=_mean([part.b for part in members], metric),
            difference=_difference(members, metric, group_numbers, tests),
            n=sum(len(part.a.ids) for part in members),
            groups=len(_groups(members)),
        )
        changes.append(change)
    return changes


def _groups(parts: Iterable[Part]) -> set[str]:
    """The images that queries of any part belong to."""
    return set().union(*(part.a.groups for part in parts))


def _mean(sides: Sequence[PerQuery], metric: str) -> float:
    """The plain mean over subsets of one run."""
    return plain_mean(_value(side, metric) for side in sides)


def _value(side: PerQuery, metric: str) -> float:
    if metric == SPEARMAN and side.pairs is not None:
        return spearman(side.pairs.score, side.pairs.gold)
    return math.fsum(side.values[metric].tolist()) / len(side.ids)


def _difference(
    parts: Sequence[Part], metric: str, group_numbers: Mapping[str, int], tests: int
) -> Difference:
    if metric == SPEARMAN:
        scored = []
        for a, b in parts:
            if a.pairs is not None and b.pairs is not None:
                scored.append(ScoredTwice(a.pairs.score, b.pairs.score, a.pairs.gold))
        return paired_spearman(scored, tests=tests)
    pairs = []
    for a, b in parts:
        # One number per image across subsets, so that a resample draws it for all languages.
        groups = np.array([group_numbers[group] for group in a.groups])
        pairs.append(Pair({metric: a.values[metric]}, {metric: b.values[metric]}, groups))
    return paired_means(pairs, tests=tests)[metric]
