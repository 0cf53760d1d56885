"""How a checkpoint compares with the baseline, query by query, and whether it fell.

Called is a drop that is both sure and worth it: its p is at most the checkpoint's share of alpha
(evals.stats.sequential), and it exceeds the floor. Alpha is shared by the metrics that are tested.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from evals.analysis.pairing import SPEARMAN, Part, chosen_metrics, paired_parts
from evals.records.record import Run
from evals.records.selection import FULL, Measured
from evals.schema import ConfigError
from evals.stats.paired import FLOOR, Pair, paired_means
from evals.stats.sequential import alpha_of, drop_p, seen_drop

FIRST_METRICS = ("R@1", "acc@1")  # one per direction: each that is tested costs the others alpha


class Rule(NamedTuple):
    """What is tested: metrics by name (none: the first of each direction), alpha of the whole run.

    `checkpoints` is how many there will be, None where nobody knows; `floor` the drop (a share) up
    to which nobody minds.
    """

    metrics: tuple[str, ...] = ()
    alpha: float = 0.01
    checkpoints: int | None = None
    floor: float = FLOOR


class Judged(NamedTuple):
    """A metric of a checkpoint: its value, its change from the baseline, and what the test says.

    Shares in [0, 1]; `low` and `high` are the 95% interval of the change, of this checkpoint alone.
    `seen` is the drop that would have been called in four of five cases.
    """

    metric: str
    value: float
    change: float
    low: float | None
    high: float | None
    p: float
    alpha: float
    seen: float | None
    fell: bool


def check_rule(rule: Rule) -> None:
    """ConfigError for an alpha, a floor or a number of checkpoints that cannot be meant."""
    if not 0 < rule.alpha < 1:
        raise ConfigError(f"--alpha {rule.alpha}: give a share between 0 and 1, such as 0.01.")
    if not 0 <= rule.floor < 1:
        raise ConfigError(f"--floor {rule.floor}: give a share from 0 on, such as 0.003.")
    if rule.checkpoints is not None and rule.checkpoints < 1:
        raise ConfigError(f"--checkpoints {rule.checkpoints}: give 1 or more.")


def judge(baseline: Run, checkpoint: Run, rule: Rule, place: int) -> list[Judged]:
    """Each tested metric of the checkpoint that is tested as number `place`, from 1 on.

    Raises NotComparableError for records that do not measure the same, and ConfigError for a metric
    that they do not have.
    """
    # The full width: a checkpoint that only its first values keep is another question (mrl-sweep).
    a, b = (Measured(run, _width(run), FULL) for run in (baseline, checkpoint))
    chosen = []
    for direction, parts in paired_parts(a, b, ()).items():
        names = chosen_metrics(baseline, parts, rule.metrics)
        # R@1 alone, and not R@5 beside it: the two are so alike that the second costs alpha for
        # nothing.
        if not rule.metrics:
            names = [name for name in names if name in FIRST_METRICS] or names[:1]
        chosen += [(direction, name, parts) for name in names if name != SPEARMAN]
    if not chosen:
        raise ConfigError(
            f"{checkpoint.path}: has no metric with a value for each query. Choose another benchmark."
        )
    # Bonferroni over the metrics, too: any of them may call.
    share = alpha_of(place, rule.alpha, rule.checkpoints) / len(chosen)
    return [_judged(direction, name, parts, rule, share) for direction, name, parts in chosen]


def _width(run: Run) -> int:
    return max(line.dim for line in run.metrics)


def _judged(
    direction: str, metric: str, parts: Mapping[str, Part], rule: Rule, alpha: float
) -> Judged:
    # The interval is that of every comparison here; the test is another, as its p must be so small.
    pairs = _pairs(metric, list(parts.values()))
    difference = paired_means(pairs)[metric]
    shares = image_shares(pairs, metric)
    p = drop_p(shares)
    interval = difference.interval
    return Judged(
        metric=f"{direction}/{metric}" if direction else metric,
        value=float(np.mean([pair.b[metric].mean() for pair in pairs])),
        change=difference.value,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        p=p,
        alpha=alpha,
        seen=seen_drop(shares, alpha),
        # Both: of thousands of queries a sure drop may be too small to matter.
        fell=p <= alpha and -difference.value > rule.floor,
    )


def _pairs(metric: str, parts: Sequence[Part]) -> list[Pair]:
    """The values of the queries of each subset, with one number per image across subsets."""
    groups = sorted({group for part in parts for group in part.a.groups})
    numbers = {group: number for number, group in enumerate(groups)}
    return [
        Pair(
            {metric: part.a.values[metric]},
            {metric: part.b.values[metric]},
            np.array([numbers[group] for group in part.a.groups]),
        )
        for part in parts
    ]


def image_shares(pairs: Sequence[Pair], metric: str) -> Float64[np.ndarray, "g"]:
    """What each image adds to the change, which is a mean over subsets of means over queries."""
    n_groups = 1 + max(int(pair.groups.max()) for pair in pairs)
    total = np.zeros(n_groups)
    for pair in pairs:
        changes = (pair.b[metric] - pair.a[metric]).astype(np.float64)
        sums = np.bincount(pair.groups, weights=changes, minlength=n_groups)
        total += sums / len(changes) / len(pairs)
    return total
