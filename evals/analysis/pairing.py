"""What two runs must have in common before their numbers are compared, and their queries in pairs."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evals.ranking.metric_table import primary
from evals.records.queries import Cell, PerQuery, cell_name, per_query
from evals.records.record import Run
from evals.records.selection import Measured
from evals.schema import ConfigError, InvalidError, NotComparableError

SPEARMAN = "spearman"


class Part(NamedTuple):
    """The same queries in both runs, in one order."""

    a: PerQuery
    b: PerQuery


# By direction, then by subset.
Parts = dict[str, dict[str, Part]]


def paired_parts(a: Measured, b: Measured, subsets: Sequence[str]) -> Parts:
    """The same queries of both runs, by direction and subset, in all subsets or those named.

    Raises NotComparableError, with the reason and the remedy, for runs that do not measure the same
    thing, and ConfigError for a subset that a run does not have.
    """
    _check_runs(a, b)
    cells_of_a, cells_of_b = cells_of(a, subsets), cells_of(b, subsets)
    unpaired = cells_of_a.keys() ^ cells_of_b.keys()
    if unpaired:
        names = sorted(" ".join(key).strip() for key in unpaired)
        raise NotComparableError(
            f"{_name(a)}: only one of the runs has {', '.join(names)}. "
            "Name subsets that both have with --subsets."
        )
    parts: Parts = {}
    for (subset, direction), queries_of_a in cells_of_a.items():
        # Content before queries: other data explains other queries, and not the reverse.
        _check_content(a, b, subset)
        where = f"{_name(a)}: {cell_name(Cell(subset, direction, a.dim, a.precision))}"
        part = _paired(queries_of_a, cells_of_b[subset, direction], where)
        parts.setdefault(direction, {})[subset] = part
    return parts


def cells_of(side: Measured, subsets: Sequence[str]) -> dict[tuple[str, str], PerQuery]:
    """The queries of each subset and direction at the dimension and precision of a measurement.

    Of all subsets or those that are named. NotComparableError where no queries were kept,
    ConfigError for a subset that the record does not have.
    """
    cells = {}
    for cell, queries in per_query(side.run).items():
        if (cell.dim, cell.precision) == (side.dim, side.precision):
            cells[cell.subset, cell.direction] = queries
    if not cells:
        raise NotComparableError(
            f"{side.run.path}: no queries of {side.label} were kept, so nothing can be paired."
        )
    unknown = set(subsets) - {subset for subset, _ in cells}
    if unknown:
        there = ", ".join(dict.fromkeys(subset for subset, _ in cells))
        raise ConfigError(f"--subsets {','.join(sorted(unknown))}: {side.run.path} has {there}.")
    return {key: queries for key, queries in cells.items() if not subsets or key[0] in subsets}


def chosen_metrics(run: Run, parts: Mapping[str, Part], named: Sequence[str]) -> list[str]:
    """Which metrics to compare; those of the two runs must be the same unless they are named.

    Raises ConfigError for a name that the runs do not both have, and NotComparableError when they
    have none in common, or only one of them has a metric that would be compared.
    """
    benchmark = run.manifest.benchmark
    sides = [_metrics_of(side) for part in parts.values() for side in part]
    shared = [name for name in sides[0] if all(name in names for names in sides)]
    if named:
        unknown = [name for name in named if name not in shared]
        if unknown:
            raise ConfigError(
                f"--metric {','.join(unknown)}: the runs of {benchmark} both have "
                f"{', '.join(shared)}."
            )
        return list(dict.fromkeys(named))
    # A metric that one of the runs lacks matters only where it would be compared.
    # The main metric that the record names, then those that are primary everywhere.
    there = set().union(*sides)
    compared = list(
        dict.fromkeys([name for name in (run.main_metric, *primary(there)) if name in there])
    )
    alone = [name for name in compared if name not in shared]
    if alone or (sides and not shared and any(sides)):
        names = alone or sorted(set().union(*sides))
        raise NotComparableError(
            f"{benchmark}: only one of the runs has {', '.join(names)}. "
            f"Choose of {', '.join(shared) or 'none'} with --metric, or run the older one again."
        )
    if not shared:
        raise NotComparableError(
            f"{benchmark}: none of its metrics has a value for each query, "
            "so nothing can be paired."
        )
    return compared or shared[:1]


def _metrics_of(side: PerQuery) -> list[str]:
    return [SPEARMAN] if side.pairs is not None else list(side.values)


def _check_runs(a: Measured, b: Measured) -> None:
    same_setting = (a.dim, a.precision) == (b.dim, b.precision)
    # Resolved: two ways to write one folder are one record.
    if same_setting and a.run.path.resolve() == b.run.path.resolve():
        raise NotComparableError(
            f"{a.run.path}: the same measurement twice, {a.label}. "
            "Name another dimension, precision or record."
        )
    part_of_a, part_of_b = _partial(a), _partial(b)
    if part_of_a != part_of_b:
        raise NotComparableError(
            f"{_name(a)}: {a.run.path} is {_extent(part_of_a)}, {b.run.path} {_extent(part_of_b)}. "
            "Run both with the same --limit and --allow-subset."
        )


def _partial(side: Measured) -> dict[str, Any]:
    """What makes a record a part, without the subsets: those that are compared are chosen."""
    partial = side.run.manifest.partial or {}
    return {key: value for key, value in partial.items() if key != "subsets"}


def _extent(partial: Mapping[str, Any]) -> str:
    reasons = ", ".join(f"{key} {value}" for key, value in partial.items())
    return f"of a part ({reasons})" if partial else "whole"


def _check_content(a: Measured, b: Measured, subset: str) -> None:
    content_of_a, content_of_b = _content(a, subset), _content(b, subset)
    if content_of_a != content_of_b:
        raise NotComparableError(
            f"{_name(a)} {subset}: the runs measured other data (content {content_of_a[:12]} in "
            f"{a.run.path}, {content_of_b[:12]} in {b.run.path}). "
            "Run both again on the same copy of the data."
        )


def _content(side: Measured, subset: str) -> str:
    content = side.run.manifest.data_identity.contents.get(subset)
    if content is None:
        raise InvalidError(
            f"{side.run.path}: the manifest has no content hash of {subset}; "
            "run the evaluation again."
        )
    return content


def _paired(a: PerQuery, b: PerQuery, where: str) -> Part:
    """The queries of `b` in the order of those of `a`."""
    if set(a.ids) != set(b.ids):
        raise NotComparableError(
            f"{where}: other queries: {_unpaired(a, b)}. "
            "Run both again on the same copy of the data."
        )
    # By id: a loader may have changed the order of the data between the two runs.
    place = {name: i for i, name in enumerate(b.ids)}
    order = np.array([place[name] for name in a.ids])
    values = {name: column[order] for name, column in b.values.items()}
    pairs = b.pairs and type(b.pairs)(*(column[order] for column in b.pairs))
    same = PerQuery(list(a.ids), [b.groups[i] for i in order], values, pairs)
    other_gold = a.pairs and pairs and not np.array_equal(a.pairs.gold, pairs.gold)
    if same.groups != a.groups or other_gold:
        raise NotComparableError(
            f"{where}: the queries belong to other images or gold scores. "
            "Run both again on the same data."
        )
    return Part(a, same)


def _unpaired(a: PerQuery, b: PerQuery) -> str:
    """The queries that only one of the runs has, counted, with an example of each."""
    only = {"A": set(a.ids) - set(b.ids), "B": set(b.ids) - set(a.ids)}
    return " and ".join(
        f"{len(ids)} only in {name} ({min(ids)} …)" for name, ids in only.items() if ids
    )


def _name(side: Measured) -> str:
    return side.run.manifest.benchmark
