"""How much two ways to run a model may differ, and which of these limits are broken."""

from collections.abc import Sequence
from dataclasses import dataclass

from evals.parity.agreement import Agreement
from evals.parity.metrics import MetricChange
from evals.schema import ConfigError


@dataclass(frozen=True)
class Tolerances:
    """The least cosines, the largest relative change of a norm, and of a metric (as a share).

    bfloat16 against float32 keeps all of them: of the bundled model's items the worst has a cosine
    of 0.994, the median one of 0.99999. ConfigError for limits that cannot be meant.
    """

    min_cosine: float = 0.98
    tail_cosine: float = 0.99
    median_cosine: float = 0.999
    norm: float = 0.01
    metric: float = 0.003

    def __post_init__(self) -> None:
        for name in ("min_cosine", "tail_cosine", "median_cosine"):
            value = getattr(self, name)
            if not -1 <= value <= 1:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: a cosine is in [-1, 1].")
        for name in ("norm", "metric"):
            value = getattr(self, name)
            if not value >= 0:
                raise ConfigError(f"--max-{name} {value}: give 0 or more.")


def broken(
    groups: Sequence[Agreement], changes: Sequence[MetricChange], limits: Tolerances
) -> list[str]:
    """The limits that are broken, in words; quantiles of all items of a kind, norms, metrics."""
    reasons = []
    for group in groups:
        # Of parts the tail is that of a few items; each of these is in the whole, too.
        if group.by != "all":
            continue
        cosines = (
            ("least", group.cosine_min, limits.min_cosine),
            ("0.1%", group.cosine_tail, limits.tail_cosine),
            ("median", group.cosine_median, limits.median_cosine),
        )
        reasons += [
            f"{group.kind}s: the {name} cosine is {value:.6f}, below {limit:g}"
            for name, value, limit in cosines
            if value < limit
        ]
        if group.norm_change > limits.norm:
            reasons.append(
                f"{group.kind}s: norms differ by up to {100 * group.norm_change:,.1f}%, "
                f"above {100 * limits.norm:g}%"
            )
    for change in changes:
        if change.moved(limits.metric):
            reasons.append(
                f"{change.name} moved by {100 * change.difference.value:+.2f} points, "
                f"above {100 * limits.metric:g}"
            )
    return reasons
