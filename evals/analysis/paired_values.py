"""The same queries of several models side by side: a column per model, and the image of each query.

Shapes: q queries, g groups (images), m models.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from evals.analysis.pairing import (
    SPEARMAN,
    Part,
    Parts,
    cells_of,
    chosen_metrics,
    paired_parts,
)
from evals.records.record import Run
from evals.records.selection import Measured
from evals.schema import ConfigError, NotComparableError


class PairedPart(NamedTuple):
    """The queries of one direction and subset, in one order for all models.

    Groups are numbered over all parts of the benchmark: an image has one number in all languages.
    `weight` is the share of the part in the benchmark's score.
    """

    direction: str
    subset: str
    weight: float
    values: Float64[np.ndarray, "q m"]
    groups: Int64[np.ndarray, "q"]


class PairedBenchmark(NamedTuple):
    """A benchmark that several models were measured on: one metric, part by part."""

    name: str
    metric: str
    parts: list[PairedPart]
    n_groups: int

    @property
    def n_queries(self) -> int:
        """The queries of all parts."""
        return sum(len(part.groups) for part in self.parts)

    @property
    def directions(self) -> list[str]:
        """The directions, in the order of the record."""
        return list(dict.fromkeys(part.direction for part in self.parts))

    @property
    def subsets(self) -> list[str]:
        """The subsets, such as languages, in the order of the record."""
        return list(dict.fromkeys(part.subset for part in self.parts))

    @property
    def scores(self) -> Float64[np.ndarray, "m"]:
        """The score of each model: the weighted mean of the parts' means over queries."""
        scores: np.ndarray = sum(part.weight * part.values.mean(axis=0) for part in self.parts)
        return scores

    @property
    def shares(self) -> Float64[np.ndarray, "g m"]:
        """What each group adds to the scores: its columns sum to them."""
        return self._summed([part.values for part in self.parts])

    @property
    def residuals(self) -> Float64[np.ndarray, "g m"]:
        """What each group adds to the scores beyond its part of the mean: columns sum to 0.

        The squares of a column are the variance of its score, to the first order (Cochran 1977,
        Sampling Techniques, ch. 6).
        """
        return self._summed([part.values - part.values.mean(axis=0) for part in self.parts])

    def _summed(self, columns: Sequence[Float64[np.ndarray, "_ m"]]) -> np.ndarray:
        # A part counts as its weight says, however many queries it has.
        totals = np.zeros((self.n_groups, columns[0].shape[1]))
        for part, values in zip(self.parts, columns, strict=True):
            np.add.at(totals, part.groups, values * (part.weight / len(values)))
        return totals


def paired_benchmark(
    sides: Sequence[Measured],
    *,
    subsets: Sequence[str] = (),
    directions: Sequence[str] = (),
    metric: str | None = None,
) -> PairedBenchmark:
    """The queries of one or more measurements of one benchmark, in one order.

    The metric is the benchmark's main one unless it is named. Directions count the same, and within
    a direction its subsets. Raises NotComparableError for measurements of different data or
    queries, and where there is no value per query; ConfigError for names that they do not have.
    """
    first, *rivals = sides
    # All are brought into the order of the first.
    paired = [paired_parts(first, rival, subsets) for rival in rivals]
    base = paired[0] if paired else _alone(first, subsets)
    names = _chosen_directions(first.run, base, directions)
    metrics = set()
    for parts in paired or [base]:
        metrics |= {_metric(first.run, parts[name], metric) for name in names}
    if len(metrics) > 1:
        raise NotComparableError(
            f"{first.run.manifest.benchmark}: the runs have different main metrics, "
            f"{', '.join(sorted(metrics))}. Name one with --metric."
        )
    chosen = metrics.pop()
    numbers = _group_numbers(base, names)
    columns_by_part = []
    for name in names:
        for subset, part in base[name].items():
            columns = [part.a.values[chosen]]
            columns += [of_rival[name][subset].b.values[chosen] for of_rival in paired]
            groups = np.array([numbers[group] for group in part.a.groups], dtype=np.int64)
            weight = 1 / len(names) / len(base[name])
            values = np.stack(columns, axis=1).astype(np.float64)
            columns_by_part.append(PairedPart(name, subset, weight, values, groups))
    return PairedBenchmark(first.run.manifest.benchmark, chosen, columns_by_part, len(numbers))


def _alone(side: Measured, subsets: Sequence[str]) -> Parts:
    """The queries of one measurement, which stand beside themselves."""
    parts: Parts = {}
    for (subset, direction), queries in cells_of(side, subsets).items():
        parts.setdefault(direction, {})[subset] = Part(queries, queries)
    return parts


def _chosen_directions(run: Run, parts: Parts, named: Sequence[str]) -> list[str]:
    # A task without directions calls its only one "".
    unknown = [name for name in named if name not in parts]
    if unknown:
        raise ConfigError(
            f"--directions {','.join(unknown)}: {run.manifest.benchmark} has "
            f"{', '.join(filter(None, parts)) or 'none'}."
        )
    return list(dict.fromkeys(named)) or list(parts)


def _metric(run: Run, parts: dict[str, Part], named: str | None) -> str:
    chosen = chosen_metrics(run, parts, [named] if named else [])[0]
    if chosen == SPEARMAN:
        raise NotComparableError(
            f"{run.manifest.benchmark}: Spearman's correlation has no value per query, so nothing "
            "can be swapped query by query. Use python -m evals.compare for two models."
        )
    return chosen


def _group_numbers(parts: Parts, directions: Sequence[str]) -> dict[str, int]:
    """One number per image, whatever direction and subset its queries are of."""
    groups: set[str] = set()
    # Sorted: the draws of a bootstrap go by number, and must not depend on the order of the data.
    for name in directions:
        for part in parts[name].values():
            groups.update(part.a.groups)
    return {group: number for number, group in enumerate(sorted(groups))}
