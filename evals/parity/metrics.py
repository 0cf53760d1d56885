"""What a difference between embeddings does to a benchmark: ranks that change, metrics that move.

Both models are scored on the same items by the task of the benchmark, as `evals.run` scores them, and
compared as `evals.compare` compares two records: paired by query, clustered by image, the plain
mean where there are several subsets. Nothing is written.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from evals.parity.probe import Probe
from evals.ranking.definition import Ranks
from evals.ranking.metric_table import per_query_function, primary
from evals.schema import Side
from evals.stats.correlation import ScoredTwice, paired_spearman, spearman
from evals.stats.paired import Difference, Pair, paired_means
from evals.tasks import task_of
from evals.tasks.scores import Scores

RANKS = ("better", "tied", "tied_relevant", "score", "ndcg10")
PLACES = ("better", "tied")  # what a rank is made of


class MetricChange(NamedTuple):
    """A metric of one direction, as the mean over subsets, by A and by B.

    `flipped` is the share of queries whose best relevant document has another rank; None where
    nothing is ranked.
    """

    direction: str
    metric: str
    a: float
    b: float
    difference: Difference
    n: int
    flipped: float | None

    @property
    def name(self) -> str:
        """As in metrics.jsonl: `t2i/R@1`."""
        return f"{self.direction}/{self.metric}" if self.direction else self.metric

    def moved(self, floor: float) -> bool:
        """Whether the 95% interval of the change holds no 0 and the change is above the floor."""
        interval = self.difference.interval
        sure = interval is not None and (interval.low > 0 or interval.high < 0)
        return sure and abs(self.difference.value) > floor


# By the hashes of a side, which subsets may share; the two models may have unequal widths.
RowsOfSide = Mapping[tuple[str, ...], np.ndarray]


def metric_changes(probe: Probe, a: RowsOfSide, b: RowsOfSide) -> list[MetricChange]:
    """The primary metrics of a probe's benchmark by both models; none without a benchmark."""
    scored: dict[str, list[tuple[Scores, Scores]]] = {}
    task = task_of(probe.task) if probe.parts else None
    for data in probe.parts.values():
        assert task is not None  # there are parts
        sides = task.sides(data)
        # Each at its own full width: what a user of the model would measure.
        by_model = []
        for rows_of_side in (a, b):
            rows = [rows_of_side[key_of(side)] for side in sides]
            dim = rows[0].shape[1]
            scores = task.score(rows, data, dims=(dim,), precisions=("float32",), device="cpu")
            by_model.append(scores)
        for first, second in zip(*by_model, strict=True):
            scored.setdefault(first.direction, []).append((first, second))
    changes = []
    for direction, pairs in scored.items():
        changes += _of_direction(direction, pairs)
    return changes


def key_of(side: Side) -> tuple[str, ...]:
    """What tells the rows of a side apart from those of others."""
    return (side.kind, side.role or "", side.language or "", *side.hashes)


def _of_direction(direction: str, pairs: Sequence[tuple[Scores, Scores]]) -> list[MetricChange]:
    n = sum(len(first.query_ids) for first, _ in pairs)
    # A correlation is of all pairs together: no query has a value of its own.
    if "gold" in pairs[0][0].columns:
        scored = [
            ScoredTwice(first.columns["score"], second.columns["score"], first.columns["gold"])
            for first, second in pairs
        ]
        change = MetricChange(
            direction=direction,
            metric="spearman",
            a=_mean([spearman(pair.a, pair.gold) for pair in scored]),
            b=_mean([spearman(pair.b, pair.gold) for pair in scored]),
            difference=paired_spearman(scored),
            n=n,
            flipped=None,
        )
        return [change]
    values = [(_values(first), _values(second)) for first, second in pairs]
    # The metrics that comparisons and gates test, and no more: each costs a bootstrap.
    names = primary(values[0][0])
    groups = _group_numbers([first.group_ids for first, _ in pairs])
    parts = []
    for (first, second), numbers in zip(values, groups, strict=True):
        a_values = {name: first[name] for name in names}
        parts.append(Pair(a_values, {name: second[name] for name in names}, numbers))
    differences = paired_means(parts)
    flipped = _flipped(pairs)
    return [
        MetricChange(
            direction=direction,
            metric=name,
            a=_mean([float(first[name].mean()) for first, _ in values]),
            b=_mean([float(second[name].mean()) for _, second in values]),
            difference=differences[name],
            n=n,
            flipped=flipped,
        )
        for name in names
    ]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _values(scores: Scores) -> dict[str, np.ndarray]:
    """One value per query of each metric that is a mean over queries."""
    columns = scores.columns
    # Graded measures have columns of their own; those of the best rank follow from its parts.
    values = {name: columns[name] for name in scores.values if name in columns}
    if columns.keys() >= set(RANKS):
        ranks = Ranks(**{name: columns[name] for name in RANKS})
        for name in scores.values:
            function = per_query_function(name)
            if function is not None and name not in values:
                values[name] = function(ranks)
    return values


def _flipped(pairs: Sequence[tuple[Scores, Scores]]) -> float | None:
    changed, queries = 0, 0
    for first, second in pairs:
        if not first.columns.keys() >= set(PLACES):
            return None
        # Scores move in their last digits with every kernel; places in the ranking do not.
        different = np.zeros(len(first.query_ids), dtype=bool)
        for name in PLACES:
            different |= first.columns[name] != second.columns[name]
        changed += int(different.sum())
        queries += len(different)
    return changed / queries


def _group_numbers(groups: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """One number per image across subsets, so that a resample draws it for all languages."""
    numbers: dict[str, int] = {}
    for ids in groups:
        for group in ids:
            numbers.setdefault(group, len(numbers))
    return [np.array([numbers[group] for group in ids]) for ids in groups]
