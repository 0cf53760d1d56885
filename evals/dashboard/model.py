"""Records as the site reads them: the runs in order, what is unreadable and why, and what changed from run to run."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from evals.ranking.measures import PRIMARY
from evals.records.queries import metric_name
from evals.records.record import (
    MetricLine,
    Run,
    list_incomplete,
    list_runs,
    path_component,
    read_run,
)
from evals.schema import InvalidError

MEAN = "mean"  # stands where a subset would: the plain mean over the subsets of a run
WATCHED = ("source", "packages", "host", "encoder", "config", "data")
ENVIRONMENT = ("source.commit", "packages.", "host.", "encoder.fingerprint.")  # what marks a trend
UNTOLD = {"config.results", "config.store", "config.json"}  # where a run wrote, and to whom


class Problem(NamedTuple):
    """A folder that is no readable record, and why."""

    path: Path
    message: str


class Change(NamedTuple):
    """A value of a manifest that differs from the previous run's.

    None where one of them lacks it.
    """

    name: str
    before: str | None
    after: str | None


class Point(NamedTuple):
    """A value of a run.

    `low` and `high` are None where there is no interval, as for a mean over subsets.
    """

    subset: str
    direction: str
    metric: str
    dim: int
    precision: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class History:
    """Every run below a folder, oldest first, and the folders that hold none."""

    runs: tuple[Run, ...]
    broken: tuple[Problem, ...]
    incomplete: tuple[Path, ...]

    def series(self) -> dict[tuple[str, str], list[Run]]:
        """The runs of each (benchmark, model), oldest first."""
        by_series: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            by_series.setdefault(key(run), []).append(run)
        return dict(sorted(by_series.items()))

    def newest(self) -> list[Run]:
        """The newest run of each (benchmark, model)."""
        return [runs[-1] for runs in self.series().values()]


def read_history(root: Path) -> History:
    """Read all records below `root`; a broken one becomes a Problem with its message."""
    runs, broken = [], []
    for path in list_runs(root):
        try:
            runs.append(read_run(path))
        except InvalidError as error:
            broken.append(Problem(path, str(error)))
    runs.sort(key=lambda run: (run.manifest["written"], run.path.name))
    return History(tuple(runs), tuple(broken), tuple(list_incomplete(root)))


def key(run: Run) -> tuple[str, str]:
    """The benchmark and the model of a run."""
    return run.manifest["benchmark"], run.manifest["model"]


def page_of(run: Run) -> str:
    """The file name of a run's page: benchmark, model and folder name, safe in a URL."""
    return "__".join(path_component(part) for part in run.path.parts[-3:]) + ".html"


def headlines(run: Run) -> list[str]:
    """The metrics shown of a run, the first of them on the overview."""
    names = {metric_name(line) for line in run.metrics}
    first = [metric_name(line) for line in run.metrics[:1]]
    return [name for name in PRIMARY if name in names] or first


def points(run: Run, *, full: bool = True) -> list[Point]:
    """The headline metrics of a run, means over subsets first.

    `full` keeps its largest dimension and first precision only.
    """
    names = headlines(run)
    lines = [line for line in run.metrics if metric_name(line) in names]
    if full and lines:
        dim, precision = max(line.dim for line in lines), _plain_precision(lines)
        lines = [line for line in lines if (line.dim, line.precision) == (dim, precision)]
    run_points = [
        Point(
            o.subset, o.direction, metric_name(o), o.dim, o.precision, o.value, o.ci_low, o.ci_high
        )
        for o in sorted(lines, key=lambda line: names.index(metric_name(line)))
    ]
    return [*_means(run_points), *run_points]


def leading(run: Run) -> list[Point]:
    """The first metric of a run, a value a direction: the mean over its subsets, or each subset's
    where there is no mean."""
    shown_points = [point for point in points(run) if point.metric == headlines(run)[0]]
    return [point for point in shown_points if point.subset == MEAN] or shown_points


def changes(before: Run, after: Run) -> list[Change]:
    """What differs between two manifests: source, packages, host, encoder, options and data."""
    old, new = told(before), told(after)
    return [
        Change(name, old.get(name), new.get(name))
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]


def told(run: Run) -> dict[str, str]:
    """What a manifest tells of a run's circumstances, by dotted name."""
    flat = {name: text for part in WATCHED for name, text in _flat(part, run.manifest.get(part))}
    return {name: text for name, text in flat.items() if name not in UNTOLD}


def of_environment(changes_found: Iterable[Change]) -> list[Change]:
    """The changes of commit, packages, machine and encoder."""
    return [change for change in changes_found if change.name.startswith(ENVIRONMENT)]


def _plain_precision(lines: list[MetricLine]) -> str:
    plain = [line.precision for line in lines]
    return "float32" if "float32" in plain else plain[0]


def _means(parts: list[Point]) -> Iterator[Point]:
    """The mean over subsets of each cell that all subsets have, when there is more than one."""
    cells: dict[tuple[str, str, int, str], list[Point]] = {}
    for point in parts:
        cells.setdefault(point[1:5], []).append(point)
    names = {point.subset for point in parts}
    for cell, values in cells.items():
        if len(values) == len(names) > 1:
            yield Point(MEAN, *cell, fmean(point.value for point in values))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for part, inner in value.items():
            yield from _flat(f"{name}.{part}", inner)
    elif value is not None:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
