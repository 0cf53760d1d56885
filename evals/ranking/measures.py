"""Every metric, as a row of one table: how it is computed from ranks, what it is of, and where it is shown.

A row added here is measured, recorded, swept, compared, gated and shown by the commands, as its
fields say; nothing else names metrics one by one. Its name, such as `R@5`, is public:
metrics.jsonl, tables and options use it, and it does not change.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float64

from evals.ranking.definition import Ranks
from evals.ranking.metrics import hit_at, mean_rank, median_rank, reciprocal_rank

Task = Literal["retrieval", "classification", "multilabel"]
# R@k and acc@k of any k can be computed from recorded ranks, also of records made by other tables
# than this.
_HIT = re.compile(r"(?:R|acc)@([1-9]\d*)")


@dataclass(frozen=True)
class Measure:
    """One metric.

    `of_queries` gives one value in [0, 1] per query, whose mean it is; `of_ranks` one value of all
    ranks, for what is no such mean. Both are None where the task itself computes it. `unit`: a
    share is in [0, 1] and higher is better, a rank counts from 1 and lower is better. `primary`:
    compared and tested unless others are named. `shown`: a column of the table of `evals.run`.
    `swept`: a curve of `evals.mrl_sweep`.
    """

    name: str
    task: Task = "retrieval"
    of_queries: Callable[[Ranks], Float64[np.ndarray, "q"]] | None = None
    of_ranks: Callable[[Ranks], float] | None = None
    unit: Literal["share", "rank"] = "share"
    primary: bool = False
    shown: bool = False
    swept: bool = False


def _ndcg10(ranks: Ranks) -> Float64[np.ndarray, "q"]:
    return ranks.ndcg10


MEASURES = (
    Measure("R@1", of_queries=partial(hit_at, k=1), primary=True, shown=True, swept=True),
    Measure("R@5", of_queries=partial(hit_at, k=5), primary=True, shown=True, swept=True),
    Measure("R@10", of_queries=partial(hit_at, k=10), shown=True),
    Measure("MRR", of_queries=reciprocal_rank),
    Measure("nDCG@10", of_queries=_ndcg10),
    Measure("median_rank", of_ranks=median_rank, unit="rank"),
    Measure("mean_rank", of_ranks=mean_rank, unit="rank"),
    Measure("acc@1", "classification", partial(hit_at, k=1), primary=True, swept=True),
    Measure("acc@5", "classification", partial(hit_at, k=5), swept=True),
    Measure("mean_per_class_recall", "classification"),
    Measure("mAP", "multilabel", swept=True),
)
PRIMARY = tuple(measure.name for measure in MEASURES if measure.primary)
SHOWN = tuple(measure.name for measure in MEASURES if measure.shown)
SWEPT = tuple(measure.name for measure in MEASURES if measure.swept)
RANKS = tuple(measure.name for measure in MEASURES if measure.unit == "rank")


def of_queries(ranks: Ranks, task: Task = "retrieval") -> dict[str, Float64[np.ndarray, "q"]]:
    """The metrics of a task that are means over queries, by name: one value in [0, 1] per query."""
    rows = [measure for measure in MEASURES if measure.task == task]
    return {row.name: row.of_queries(ranks) for row in rows if row.of_queries is not None}


def of_ranks(ranks: Ranks, task: Task = "retrieval") -> dict[str, float]:
    """The metrics of a task that are no means over queries, by name."""
    rows = [measure for measure in MEASURES if measure.task == task]
    return {row.name: row.of_ranks(ranks) for row in rows if row.of_ranks is not None}


def per_query_function(name: str) -> Callable[[Ranks], Float64[np.ndarray, "q"]] | None:
    """How a metric's values per query follow from recorded ranks.

    None for one that does not follow from them.
    """
    for measure in MEASURES:
        if measure.name == name:
            return measure.of_queries
    hit = _HIT.fullmatch(name)
    return partial(hit_at, k=int(hit[1])) if hit else None


def is_metric(name: str) -> bool:
    """Whether a name is that of a row here."""
    return any(measure.name == name for measure in MEASURES)
