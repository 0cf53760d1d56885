"""Records as the site reads them: runs in order, what is unreadable, and what changed between runs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from evals.natural import natural
from evals.ranking.metric_table import primary
from evals.records.identity import labels
from evals.records.manifest import path_component
from evals.records.means import MEAN, groups, plain_mean
from evals.records.places import read_placed
from evals.records.record import MetricLine, Run, list_incomplete, list_runs
from evals.schema import InvalidError
from evals.watch.training_runs import TrainingRun, read_training_runs

# The parts of a manifest that say how a run was made; the rest are its results and its cost.
WATCHED = ("source", "packages", "host", "encoder", "config", "data")
# Of these, what can move a number though nobody asked for another measurement: it marks a trend.
ENVIRONMENT = ("source.commit", "packages.", "host.", "encoder.fingerprint.")
# Where a run wrote, and in which form: it changes with whoever runs it, and never a number.
UNWATCHED = {"config.results", "config.store", "config.json"}


class Problem(NamedTuple):
    """A folder that is no readable record, or a journal that cannot be read, and why."""

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

    def is_of_cell(self, point: "Point") -> bool:
        """Whether both are of one subset, direction, metric, dimension and precision."""
        return self[:5] == point[:5]


@dataclass(frozen=True)
class History:
    """Every run below a folder, oldest first, the folders that hold none, and the watched trainings."""

    runs: tuple[Run, ...]
    broken: tuple[Problem, ...]
    incomplete: tuple[Path, ...]
    trainings: tuple[TrainingRun, ...] = ()

    def series(self) -> dict[tuple[str, str], list[Run]]:
        """The runs of each (benchmark, model), oldest first; benchmarks measured in part come last."""
        by_series: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            by_series.setdefault(key(run), []).append(run)

        def place(item: tuple[tuple[str, str], list[Run]]) -> tuple[bool, list[Any]]:
            # A page begins with the first: a part is not what a reader comes for.
            names, runs = item
            return runs[-1].manifest.partial is not None, [*map(natural, names)]

        return dict(sorted(by_series.items(), key=place))

    def named_series(self) -> list[list[Run]]:
        """The runs of each benchmark and name, oldest first: a name may stand for several models."""
        by_name: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            by_name.setdefault((run.manifest.benchmark, run.manifest.model), []).append(run)
        return [by_name[name] for name in sorted(by_name, key=lambda names: [*map(natural, names)])]

    def newest(self) -> list[Run]:
        """The newest run of each (benchmark, model)."""
        return [runs[-1] for runs in self.series().values()]

    def is_newest_of_its_name(self, run: Run) -> bool:
        """Whether no newer run of its benchmark has its model's name, be it of the model or not."""
        names = run.manifest.benchmark, run.manifest.model
        same = [
            other
            for other in self.runs
            if (other.manifest.benchmark, other.manifest.model) == names
        ]
        return same[-1] is run


def read_history(root: Path) -> History:
    """Read all records below `root`, and the journals of `evals.watch` beside it.

    A broken one becomes a Problem with its message.
    """
    runs, broken = [], []
    for path in list_runs(root):
        try:
            runs.append(read_placed(path))
        except InvalidError as error:
            broken.append(Problem(path, str(error)))
    # By the manifest's time, since folders of two machines may be mixed; the name settles equal ones.
    runs.sort(key=lambda run: (run.manifest.written, run.path.name))
    watched = read_training_runs(root)
    broken += [Problem(*journal) for journal in watched.unread]
    return History(
        tuple(_labelled(runs)), tuple(broken), tuple(list_incomplete(root)), watched.runs
    )


def _labelled(runs: Iterable[Run]) -> Iterator[Run]:
    """The runs with what their models are called among each other."""
    models = [(run, run.manifest.model_identity) for run in runs]
    names = labels(model for _, model in models)
    for run, model in models:
        yield replace(run, label=names[model.name, model.key])


def key(run: Run) -> tuple[str, str]:
    """The benchmark and the model of a run. Two models of one name have two keys."""
    return run.manifest.benchmark, run.model


def page_of(run: Run) -> str:
    """The file name of a run's page: benchmark, model and folder name, safe in a URL."""
    # All runs' pages lie in one folder, so that their links to it are the same.
    return "__".join(path_component(part) for part in run.path.parts[-3:]) + ".html"


def headlines(run: Run) -> list[str]:
    """The metrics shown of a run, the first of them on the overview."""
    if run.main_metric is None:
        return []
    names = {line.name for line in run.metrics}
    return list(dict.fromkeys([run.main_metric, *primary(names)]))


def points(run: Run, *, full: bool = True) -> list[Point]:
    """The headline metrics of a run, means over subsets first.

    `full` keeps its largest dimension and first precision only.
    """
    names = headlines(run)
    lines = [line for line in run.metrics if line.name in names]
    if full and lines:
        dim = max(line.dim for line in lines)
        precision = _plain_precision(lines)
        lines = [line for line in lines if (line.dim, line.precision) == (dim, precision)]
    lines.sort(key=lambda line: names.index(line.name))
    run_points = [_point(line) for line in lines]
    return [*_means(run_points), *run_points]


def _point(line: MetricLine) -> Point:
    return Point(
        subset=line.subset,
        direction=line.direction,
        metric=line.name,
        dim=line.dim,
        precision=line.precision,
        value=line.value,
        low=line.ci_low,
        high=line.ci_high,
    )


def leading(run: Run) -> list[Point]:
    """The first metric of a run, a value per direction.

    It is the mean over the subsets, or the value of each subset where there is no mean.
    """
    shown_points = [point for point in points(run) if point.metric == headlines(run)[0]]
    return [point for point in shown_points if point.subset == MEAN] or shown_points


def changes(before: Run, after: Run) -> list[Change]:
    """What differs between two manifests: source, packages, host, encoder, options and data."""
    old, new = circumstances(before), circumstances(after)
    return [
        Change(name, old.get(name), new.get(name))
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]


def circumstances(run: Run) -> dict[str, str]:
    """How a run was made, as its manifest says: texts by dotted name."""
    flat: dict[str, str] = {}
    for part in WATCHED:
        flat |= _flat(part, run.manifest.raw.get(part))
    return {name: text for name, text in flat.items() if name not in UNWATCHED}


def of_environment(run_changes: Iterable[Change]) -> list[Change]:
    """The changes of commit, packages, machine and encoder."""
    return [change for change in run_changes if change.name.startswith(ENVIRONMENT)]


def _plain_precision(lines: list[MetricLine]) -> str:
    precisions = [line.precision for line in lines]
    return "float32" if "float32" in precisions else precisions[0]


def _means(parts: list[Point]) -> Iterator[Point]:
    """The mean over subsets of each cell that all subsets have, when there is more than one."""
    cells = groups(
        parts,
        subset=lambda point: point.subset,
        # direction, metric, dimension and precision
        key=lambda point: point[1:5],
    )
    for cell, members in cells.items():
        yield Point(MEAN, *cell, plain_mean(point.value for point in members))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """`a.b.c` and its value for everything in nested mappings; what has no value is left out."""
    if isinstance(value, Mapping):
        for part, inner in value.items():
            yield from _flat(f"{name}.{part}", inner)
    elif value is not None:
        # Everything but texts as JSON, so that a list or null reads as in the manifest.
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
