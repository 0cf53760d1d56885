"""The page that compares: on each benchmark the newest two models, query by query."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from evals.dashboard import charts
from evals.dashboard.model import MEAN, History, headlines, points
from evals.dashboard.parts import Chart, Column, Page, Table
from evals.dashboard.rows import WHERE
from evals.queries import Cell, PerQuery, per_query
from evals.records import Run
from evals.schema import NotComparableError
from evals.stats import Difference, Pair, holm, paired_means

LEVEL = 0.05


def compare(history: History) -> Page:
    """Differences between the newest runs of the last two models of each benchmark, and what cannot be compared."""
    rows, refused = [], []
    for benchmark, a, b in _pairs(history):
        try:
            rows.extend(_rows(benchmark, a, b))
        except NotComparableError as error:
            refused.append({**_names(benchmark, a, b), "message": str(error)})
    names = (Column("benchmark", "Benchmark"), Column("a", "A"), Column("b", "B"))
    columns = (
        *names,
        *WHERE,
        Column("difference", "B − A, points", "points", ("low", "high")),
        Column("verdict", "B is", "chip"),
        Column("p", "p", "decimal"),
        Column("holm", "p, Holm", "decimal"),
        Column("wins", "B wins", "number"),
        Column("losses", "B loses", "number"),
        Column("detectable", "Would see, points", "points"),
    )
    tables = [
        Table("differences", "Differences", columns, rows, "No benchmark has been run by two models yet.", more=("cell",)),
        Table("refused", "Not comparable", (*names, Column("message", "Why")), refused, "None."),
    ]
    about = "B less A with 95% intervals; an interval that reaches zero leaves the direction open."
    return Page(
        "compare",
        "Compare",
        "The newest two models of each benchmark at full width, paired by query and clustered by image.",
        tables,
        [Chart("forest", "B less A", about, charts.forest("differences"))] if rows else [],
        ("benchmark", "metric"),
        [
            f"Better or worse: the p value, adjusted by Holm over the rows of a benchmark, is below {LEVEL}. “Would see” is the "
            "smallest drop that the comparison had found with 80% power. `python -m evals.compare` compares any two runs."
        ],
    )


def _pairs(history: History) -> Iterator[tuple[str, Run, Run]]:
    """The newest runs of the two models that ran last, the older one first."""
    found: dict[str, list[Run]] = {}
    for run in sorted(history.newest(), key=lambda run: str(run.manifest["written"])):
        found.setdefault(run.manifest["benchmark"], []).append(run)
    yield from ((benchmark, *every[-2:]) for benchmark, every in sorted(found.items()) if len(every) > 1)  # type: ignore[misc]


def _rows(benchmark: str, a: Run, b: Run) -> list[dict[str, Any]]:
    metrics = [name for name in headlines(a) if name in headlines(b)]
    cells = {where: _paired(where, one, other, metrics) for where, one, other in _cells(a, b)}
    numbers: dict[str, int] = {}  # one number a group in all languages: an image is drawn in all of them at once
    pairs = {where: Pair(x.values, y.values, _numbered(x.groups, numbers)) for where, (x, y) in cells.items()}
    found: dict[tuple[str, str, str], Difference] = {}
    for direction in dict.fromkeys(direction for _, direction in pairs):
        own = {subset: pair for (subset, to), pair in pairs.items() if to == direction}
        if len(own) > 1:
            found |= {(MEAN, direction, name): d for name, d in paired_means(list(own.values())).items()}
        for subset, pair in own.items():
            found |= {(subset, direction, name): d for name, d in paired_means([pair]).items()}
    adjusted = holm({where: d.p for where, d in found.items() if d.p is not None})
    return [_row(benchmark, a, b, where, d, adjusted.get(where)) for where, d in found.items()]


def _cells(a: Run, b: Run) -> Iterator[tuple[tuple[str, str], PerQuery, PerQuery]]:
    """The queries of each language and direction at each run's full width; refuses runs of other data."""
    contents = [{name: part.get("content") for name, part in (run.manifest.get("data") or {}).items()} for run in (a, b)]
    if contents[0] != contents[1]:
        raise NotComparableError("They were measured on other data: other languages, or other contents of one.")
    every = [_at_full_width(run) for run in (a, b)]
    if every[0].keys() != every[1].keys():
        raise NotComparableError("They have other languages or directions.")
    if not every[0]:
        raise NotComparableError("The records hold no queries.")
    yield from ((where, one, every[1][where]) for where, one in every[0].items())


def _at_full_width(run: Run) -> dict[tuple[str, str], PerQuery]:
    width = {point[3:5] for point in points(run)}
    return {(cell.subset, cell.direction): found for cell, found in per_query(run).items() if Cell(*cell)[2:4] in width}


def _paired(where: tuple[str, str], one: PerQuery, other: PerQuery, metrics: list[str]) -> tuple[PerQuery, PerQuery]:
    """The metrics that both have, of the same queries in the same order."""
    names = [name for name in metrics if name in one.values and name in other.values]
    if not names:
        raise NotComparableError("They share no metric that every query has a value of.")
    if set(one.ids) != set(other.ids):
        raise NotComparableError(f"They hold other queries in {' '.join(where)}.")
    place = {name: i for i, name in enumerate(other.ids)}
    order = np.array([place[name] for name in one.ids])
    return (
        one._replace(values={name: one.values[name] for name in names}),
        other._replace(values={name: other.values[name][order] for name in names}),
    )


def _numbered(groups: list[str], numbers: dict[str, int]) -> np.ndarray:
    return np.array([numbers.setdefault(name, len(numbers)) for name in groups])


def _names(benchmark: str, a: Run, b: Run) -> dict[str, Any]:
    return {"benchmark": benchmark, "a": a.manifest["model"], "b": b.manifest["model"]}


def _row(
    benchmark: str, a: Run, b: Run, where: tuple[str, str, str], found: Difference, adjusted: float | None
) -> dict[str, Any]:
    subset, direction, metric = where
    low, high = found.interval or (None, None)
    sure = adjusted is not None and adjusted < LEVEL
    return {
        **_names(benchmark, a, b),
        "subset": subset,
        "direction": direction,
        "metric": metric,
        "cell": f"{subset} {direction}",
        "difference": found.value,
        "low": low,
        "high": high,
        "verdict": ("better" if found.value > 0 else "worse") if sure else "no difference found",
        "p": found.p,
        "holm": adjusted,
        "wins": found.wins,
        "losses": found.losses,
        "detectable": found.detectable,
    }
