"""The range of values that a metric can have whatever the model, by its name: for our metrics and mteb's.

A value outside of its range is no bad model but a fault in scoring or in the data, such as gains
that count twice.
"""

import math
import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from evals.ranking.metric_table import SHARES

ROUNDING = 1e-9  # correlations of equal rankings come out at 1 + 2e-16


class Range(NamedTuple):
    """The smallest and the largest value, both possible."""

    low: float
    high: float

    def outside(self, values: Float[np.ndarray, "n"]) -> Int64[np.ndarray, "_"]:
        """Where values are not within, to rounding; NaN is nowhere within."""
        within = (values >= self.low - ROUNDING) & (values <= self.high + ROUNDING)
        return np.flatnonzero(~within)


SHARE = Range(0, 1)
CORRELATION = Range(-1, 1)
# nAUC is a quotient by what the best possible order of abstaining gains; bad ones go as low as can
# be. https://arxiv.org/abs/2402.12997
SHARE_OF_BEST = Range(-math.inf, 1)
# The first that fits the whole name decides. Thresholds, errors (mae, mse, rmse) and r2 have none.
_SIMILARITY = r"(?:cosine|dot|euclidean|manhattan|max|similarity)_"
_PATTERNS = (
    # of any k, also of records made by another table than MEASURES
    (r"(?:R|acc|Recall|P|Success)@\d+|(?:nDCG|MAP|RR)(?:@\d+)?", SHARE),
    (r"nauc_.+", SHARE_OF_BEST),
    (r"(?:cv_)?(?:ndcg|map|recall|precision|mrr|hit_rate)_at_\d+", SHARE),
    (rf"(?:{_SIMILARITY})?(?:spearman|pearson)|kendalltau", CORRELATION),
    (rf"(?:{_SIMILARITY})?(?:accuracy|f1|precision|recall|ap)(?:_weighted)?", SHARE),
    (r"lrap|hamming|cluster_accuracy|image_acc|text_acc|v_measure|nmi|robustness_at_10", SHARE),
    (r"ami|ari|p-MRR", CORRELATION),  # adjusted for chance, so that worse than chance is below 0
)


def range_of(name: str) -> Range | None:
    """The range of a metric by its public name, such as `R@5`, `mAP` or `ndcg_at_10`.

    None for a name that is not known, and for what has no bounds.
    """
    if name in SHARES:
        return SHARE
    for pattern, bounds in _PATTERNS:
        if re.fullmatch(pattern, name):
            return bounds
    return None
