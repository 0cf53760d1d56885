"""The part of a record that indexes are measured on: its subset, direction, metric and widths."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from evals.records.queries import Cell, PerQuery
from evals.records.record import Run
from evals.schema import ConfigError

_METRIC = re.compile(r"(?:R|Success)@([1-9]\d*)")


def widths_of(queries: Mapping[Cell, PerQuery], chosen: Cell) -> list[int]:
    """The widths at which a cell was scored in float32, the widest first."""
    widths = {cell.dim for cell in queries if cell == chosen._replace(dim=cell.dim)}
    return sorted(widths, reverse=True)


class Choice(NamedTuple):
    """A cell, the metric's name and its cut-off."""

    cell: Cell
    metric: str
    k: int


def choose(
    run: Run,
    queries: Mapping[Cell, PerQuery],
    subset: str | None,
    direction: str | None,
    metric: str | None,
) -> Choice:
    """The named subset, direction and metric, else the first ones and the deepest cut-off."""
    cells = [cell for cell in queries if cell.precision == "float32"]
    fitting = [
        cell
        for cell in cells
        if subset in (None, cell.subset) and direction in (None, cell.direction)
    ]
    if not fitting:
        there = dict.fromkeys(f"{cell.subset} {cell.direction}".strip() for cell in cells)
        named = " ".join(filter(None, (subset, direction)))
        has = ", ".join(there) or "no queries"
        raise ConfigError(f"{run.path}: has no {named}. It has {has}.")
    cell = fitting[0]
    names = [name for name in queries[cell].values if _METRIC.fullmatch(name)]
    if not names:
        raise ConfigError(
            f"{run.path}: none of its metrics is R@k or Success@k: an index is measured on "
            "retrieval between images and texts, or of texts."
        )
    name = metric or names[-1]
    match = _METRIC.fullmatch(name)
    if match is None or name not in names:
        raise ConfigError(f"--metric {name}: there is {', '.join(names)}.")
    return Choice(cell, name, int(match[1]))
