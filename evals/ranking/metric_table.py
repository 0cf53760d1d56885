"""Every metric, as a row of one table: how it is computed from ranks, what it is of, and where it is shown.

A row added here is measured, recorded, swept, compared, gated and shown by the commands, as its
fields say; nothing else names metrics one by one. Its name, such as `R@5`, is public:
metrics.jsonl, tables and options use it, and it does not change.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from evals.ranking.definition import Places, Ranks
from evals.ranking.graded import (
    average_precision,
    first_reciprocal,
    ndcg,
    precision,
    recall,
    success,
)
from evals.ranking.metrics import hit_at, mean_rank, median_rank, reciprocal_rank

Task = Literal["retrieval", "classification", "multilabel", "graded", "pairs"]
# These of any k can be computed from recorded ranks, also of records made by other tables than this.
_HIT = re.compile(r"(?:R|acc|Success)@([1-9]\d*)")
_RECIPROCAL = re.compile(r"RR(?:@([1-9]\d*))?")
# Measures of graded judgements, by the names of ir_measures (https://ir-measur.es): a name is one of
# these, with a cut-off or without. `R@k` is another metric here: it is called Success@k there, and
# its R@k is called Recall@k here.
_GRADED: dict[str, Callable[..., Float64[np.ndarray, "q"]]] = {
    "nDCG": ndcg,
    "MAP": average_precision,
    "Recall": recall,
    "P": precision,
    "RR": first_reciprocal,
    "Success": success,
}
_ALWAYS_CUT = ("Recall", "P", "Success")  # over a whole ranking they say nothing
_GRADED_NAME = re.compile(rf"({'|'.join(_GRADED)})(?:@([1-9]\d*))?")


@dataclass(frozen=True)
class Measure:
    """One metric.

    `of_queries` gives one value in [0, 1] per query, whose mean it is; `of_ranks` one value of all
    ranks, for what is no such mean; `of_places` one value per query of all places of its relevant
    documents. All are None where the task itself computes it. `unit`: a
    share is in [0, 1] and higher is better, a rank counts from 1 and lower is better, a correlation
    is in [-1, 1]. `primary`:
    compared and tested unless others are named. `shown`: a column of the table of `evals.run`.
    `swept`: a curve of `evals.mrl_sweep`.
    """

    name: str
    task: Task = "retrieval"
    of_queries: Callable[[Ranks], Float64[np.ndarray, "q"]] | None = None
    of_ranks: Callable[[Ranks], float] | None = None
    of_places: Callable[[Places], Float64[np.ndarray, "q"]] | None = None
    unit: Literal["share", "rank", "correlation"] = "share"
    primary: bool = False
    shown: bool = False
    swept: bool = False


def _ndcg10(ranks: Ranks) -> Float64[np.ndarray, "q"]:
    return ranks.ndcg10


def graded_measure(name: str, **uses: Any) -> Measure:
    """The row of a measure of graded judgements, such as `nDCG@20` or `MAP`.

    Raises ValueError for a name that is none.
    """
    match = _GRADED_NAME.fullmatch(name)
    if match is None or (match[2] is None and match[1] in _ALWAYS_CUT):
        raise ValueError(f"no such measure; there is {', '.join(_GRADED)}, as in nDCG@10 or P@5")
    k = int(match[2]) if match[2] else None
    return Measure(name, "graded", of_places=partial(_GRADED[match[1]], k=k), **uses)


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
    graded_measure("nDCG@10", primary=True, shown=True, swept=True),
    graded_measure("nDCG@100"),
    graded_measure("MAP", shown=True, swept=True),
    graded_measure("Recall@1"),
    graded_measure("Recall@10"),
    graded_measure("Recall@100", shown=True, swept=True),
    graded_measure("Recall@1000"),
    graded_measure("P@1"),
    graded_measure("P@10"),
    graded_measure("RR"),
    graded_measure("RR@10", shown=True),
    graded_measure("Success@1"),
    graded_measure("Success@5"),
    graded_measure("Success@10"),
    Measure("spearman", "pairs", unit="correlation", primary=True, shown=True, swept=True),
)
GRADED = tuple(measure.name for measure in MEASURES if measure.task == "graded")
RANKS = tuple(measure.name for measure in MEASURES if measure.unit == "rank")
SHARES = frozenset(measure.name for measure in MEASURES if measure.unit == "share")


def primary(names: Collection[str]) -> tuple[str, ...]:
    """Those of a record's metrics that are compared and tested unless others are named."""
    return _used(names, [measure for measure in MEASURES if measure.primary])


def swept(names: Collection[str]) -> tuple[str, ...]:
    """Those of a record's metrics that are curves of a sweep."""
    return _used(names, [measure for measure in MEASURES if measure.swept])


def shown(task: Task) -> tuple[str, ...]:
    """The columns of a task's table."""
    return tuple(row.name for row in MEASURES if row.shown and row.task == task)


def _used(names: Collection[str], rows: list[Measure]) -> tuple[str, ...]:
    """The names of those rows that a record has, all of one kind of task.

    Two tasks may share a name: nDCG@10 is primary of graded judgements only.
    """
    tasks = dict.fromkeys(row.task for row in rows if row.name in names)
    # A record of images and texts has R@1, and nDCG@10 beside it; one of graded judgements has not.
    first = next(iter(tasks), None)
    return tuple(row.name for row in rows if row.task == first and row.name in names)


def of_queries(ranks: Ranks, task: Task = "retrieval") -> dict[str, Float64[np.ndarray, "q"]]:
    """The metrics of a task that are means over queries, by name: one value in [0, 1] per query."""
    rows = [measure for measure in MEASURES if measure.task == task]
    return {row.name: row.of_queries(ranks) for row in rows if row.of_queries is not None}


def of_ranks(ranks: Ranks, task: Task = "retrieval") -> dict[str, float]:
    """The metrics of a task that are no means over queries, by name."""
    rows = [measure for measure in MEASURES if measure.task == task]
    return {row.name: row.of_ranks(ranks) for row in rows if row.of_ranks is not None}


def of_places(places: Places, names: Collection[str] = GRADED) -> dict[str, np.ndarray]:
    """Measures of graded judgements, by name: one value in [0, 1] per query.

    Raises ValueError for a name that is none.
    """
    values = {}
    for name in names:
        function = graded_measure(name).of_places
        assert function is not None  # as every row of this task has it
        values[name] = function(places)
    return values


def per_query_function(name: str) -> Callable[[Ranks], Float64[np.ndarray, "q"]] | None:
    """How a metric's values per query follow from recorded ranks.

    None for one that does not follow from them.
    """
    hit, reciprocal = _HIT.fullmatch(name), _RECIPROCAL.fullmatch(name)
    if hit:
        return partial(hit_at, k=int(hit[1]))
    if reciprocal:
        return partial(reciprocal_rank, k=int(reciprocal[1]) if reciprocal[1] else None)
    return next((row.of_queries for row in MEASURES if row.name == name), None)


def is_metric(name: str) -> bool:
    """Whether a name is that of a row here."""
    return any(measure.name == name for measure in MEASURES)
