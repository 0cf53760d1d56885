"""Two runs compared query by query: what may be compared, and what the change is of each metric."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from evals.ranking.measures import PRIMARY
from evals.records.queries import Cell, PerQuery, per_query, told
from evals.records.selection import Measured
from evals.schema import ConfigError, InvalidError, NotComparableError
from evals.stats.correlation import ScoredTwice, paired_spearman, spearman
from evals.stats.paired import Difference, Pair, fell, holm, paired_means

SPEARMAN = "spearman"
MEAN = "mean"  # over the subsets, where there are several


class Change(NamedTuple):
    """A metric of one subset (or the `mean` of several) in both runs, and the change from `a` to `b`.

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
        """Whether it dropped by more than the floor of 0.3 points, and the one-sided 95% bound says so too."""
        return fell(self.difference)


class _Part(NamedTuple):
    """The same queries in both runs, in one order."""

    a: PerQuery
    b: PerQuery


def compare(
    pairs: Sequence[tuple[Measured, Measured]],
    *,
    subsets: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> list[Change]:
    """The changes in every pair of runs, those named in `subsets` and `metrics` only when these are given.

    Unless asked otherwise the metrics are the primary ones: R@1 and R@5, acc@1, or the main metric
    of an mteb task. Holm's adjustment is over the primary metrics of all benchmarks and directions,
    of the mean where there are several subsets. Raises NotComparableError, with the reason and the
    remedy, for runs that do not measure the same thing.
    """
    changes = [change for a, b in pairs for change in _changes(a, b, subsets, metrics)]
    family = {
        i: c.difference.p for i, c in enumerate(changes) if c.primary and c.difference.p is not None
    }
    adjusted = holm({i: p for i, p in family.items() if p is not None})
    return [change._replace(p_holm=adjusted.get(i)) for i, change in enumerate(changes)]


def _changes(
    a: Measured, b: Measured, subsets: Sequence[str], metrics: Sequence[str]
) -> list[Change]:
    _check_runs(a, b)
    cells = _cells(a, subsets), _cells(b, subsets)
    if cells[0].keys() != cells[1].keys():
        only = sorted(" ".join(key).strip() for key in cells[0].keys() ^ cells[1].keys())
        raise NotComparableError(
            f"{_name(a)}: only one of the runs has {', '.join(only)}. Name subsets that both have with --subsets."
        )
    parts: dict[str, dict[str, _Part]] = {}
    for (subset, direction), queries_of_a in cells[0].items():
        where = f"{_name(a)}: {told(Cell(subset, direction, a.dim, a.precision))}"
        _check_content(a, b, subset)
        parts.setdefault(direction, {})[subset] = _paired(
            queries_of_a, cells[1][subset, direction], where
        )
    changes = []
    for direction, by_subset in parts.items():
        for metric in _metrics(_name(a), by_subset, metrics):
            changes += _of_metric(_name(a), direction, metric, by_subset)
    return changes


def _of_metric(
    benchmark: str, direction: str, metric: str, parts: Mapping[str, _Part]
) -> list[Change]:
    """A change for each subset, and before them that of their mean when there are several."""
    primary = (
        metric in PRIMARY or metric == SPEARMAN or len(next(iter(parts.values())).a.values) == 1
    )
    groups = {
        group: i
        for i, group in enumerate(
            sorted({group for part in parts.values() for group in part.a.groups})
        )
    }
    several = {MEAN: list(parts)} if len(parts) > 1 else {}
    changes = []
    for name, members in (several | {subset: [subset] for subset in parts}).items():
        member_parts = [parts[member] for member in members]
        a, b = (
            math.fsum(_value(side, metric) for side in sides) / len(member_parts)
            for sides in zip(*member_parts, strict=True)
        )
        difference = _difference(member_parts, metric, groups)
        counts = (
            sum(len(part.a.ids) for part in member_parts),
            len({group for part in member_parts for group in part.a.groups}),
        )
        changes.append(
            Change(
                benchmark,
                name,
                direction,
                metric,
                primary and name in (several or parts),
                a,
                b,
                difference,
                *counts,
            )
        )
    return changes


def _difference(parts: Sequence[_Part], metric: str, groups: Mapping[str, int]) -> Difference:
    if metric == SPEARMAN:
        return paired_spearman(
            [
                ScoredTwice(a.pairs.score, b.pairs.score, a.pairs.gold)
                for a, b in parts
                if a.pairs is not None and b.pairs is not None
            ]
        )
    pairs = [
        Pair(
            {metric: a.values[metric]},
            {metric: b.values[metric]},
            np.array([groups[group] for group in a.groups]),
        )
        for a, b in parts
    ]
    return paired_means(pairs)[metric]


def _value(side: PerQuery, metric: str) -> float:
    if metric == SPEARMAN and side.pairs is not None:
        return spearman(side.pairs.score, side.pairs.gold)
    return math.fsum(side.values[metric].tolist()) / len(side.ids)


def _metrics(benchmark: str, parts: Mapping[str, _Part], named: Sequence[str]) -> list[str]:
    """Which metrics to compare; those of the two runs must be the same unless they are named."""
    sides = [
        [SPEARMAN] if side.pairs is not None else list(side.values)
        for part in parts.values()
        for side in part
    ]
    shared = [name for name in sides[0] if all(name in names for names in sides)]
    if named:
        if unknown := [name for name in named if name not in shared]:
            raise ConfigError(
                f"--metric {','.join(unknown)}: the runs of {benchmark} both have {', '.join(shared)}."
            )
        return list(dict.fromkeys(named))
    # a metric that one of the runs lacks matters only where it would be compared
    compared = [name for name in PRIMARY if any(name in names for names in sides)]
    alone = [name for name in compared if name not in shared]
    if alone or (sides and not shared and any(sides)):
        names = alone or sorted({name for names in sides for name in names})
        raise NotComparableError(
            f"{benchmark}: only one of the runs has {', '.join(names)}. "
            f"Choose of {', '.join(shared) or 'none'} with --metric, or run the older one again."
        )
    if not shared:
        raise NotComparableError(
            f"{benchmark}: none of its metrics has a value for each query, so nothing can be paired."
        )
    return compared or shared[:1]


def _check_runs(a: Measured, b: Measured) -> None:
    if a.run.path.resolve() == b.run.path.resolve() and (a.dim, a.precision) == (
        b.dim,
        b.precision,
    ):
        raise NotComparableError(
            f"{a.run.path}: the same measurement twice, {a.label}. Name another dimension, precision or record."
        )
    parts = [
        {k: v for k, v in (m.run.manifest.get("partial") or {}).items() if k != "subsets"}
        for m in (a, b)
    ]
    if parts[0] != parts[1]:
        kinds = [
            f"of a part ({', '.join(f'{k} {v}' for k, v in part.items())})" if part else "whole"
            for part in parts
        ]
        raise NotComparableError(
            f"{_name(a)}: {a.run.path} is {kinds[0]}, {b.run.path} {kinds[1]}. Run both with the same --limit and --allow-subset."
        )


def _check_content(a: Measured, b: Measured, subset: str) -> None:
    hashes = [_content(m, subset) for m in (a, b)]
    if hashes[0] != hashes[1]:
        raise NotComparableError(
            f"{_name(a)} {subset}: the runs measured other data (content {hashes[0][:12]} in {a.run.path}, {hashes[1][:12]} in "
            f"{b.run.path}). Run both again on the same copy of the data."
        )


def _content(m: Measured, subset: str) -> str:
    entry = m.run.manifest.get("data", {}).get(subset)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("content"), str):
        raise InvalidError(
            f"{m.run.path}: the manifest has no content hash of {subset}; run the evaluation again."
        )
    return str(entry["content"])


def _cells(m: Measured, subsets: Sequence[str]) -> dict[tuple[str, str], PerQuery]:
    cells_of_run = per_query(m.run)
    cells = {
        (c.subset, c.direction): q
        for c, q in cells_of_run.items()
        if (c.dim, c.precision) == (m.dim, m.precision)
    }
    if not cells:
        raise NotComparableError(
            f"{m.run.path}: no queries of {m.label} were kept, so nothing can be paired."
        )
    if unknown := set(subsets) - {subset for subset, _ in cells}:
        there = ", ".join(dict.fromkeys(subset for subset, _ in cells))
        raise ConfigError(f"--subsets {','.join(sorted(unknown))}: {m.run.path} has {there}.")
    return {key: q for key, q in cells.items() if not subsets or key[0] in subsets}


def _paired(a: PerQuery, b: PerQuery, where: str) -> _Part:
    """The queries of `b` in the order of those of `a`."""
    if set(a.ids) != set(b.ids):
        only = [sorted(set(x.ids) - set(y.ids)) for x, y in ((a, b), (b, a))]
        told_only = " and ".join(
            f"{len(ids)} only in {name} ({ids[0]} …)"
            for name, ids in zip("AB", only, strict=True)
            if ids
        )
        raise NotComparableError(
            f"{where}: other queries: {told_only}. Run both again on the same copy of the data."
        )
    place = {name: i for i, name in enumerate(b.ids)}
    order = np.array([place[name] for name in a.ids])
    values = {name: column[order] for name, column in b.values.items()}
    pairs = b.pairs and type(b.pairs)(*(column[order] for column in b.pairs))
    same = PerQuery(list(a.ids), [b.groups[i] for i in order], values, pairs)
    if same.groups != a.groups or (
        a.pairs and pairs and not np.array_equal(a.pairs.gold, pairs.gold)
    ):
        raise NotComparableError(
            f"{where}: the queries belong to other images or gold scores. Run both again on the same data."
        )
    return _Part(a, same)


def _name(m: Measured) -> str:
    return str(m.run.manifest["benchmark"])
