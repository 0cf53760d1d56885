"""Looks up measured numbers: the newest one of a model at a place, and means over places."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from evals.records.record import METRICS, MetricLine, Run, list_runs, path_component, read_run
from evals.report.names import ALL, MAIN, Place, Selector
from evals.schema import InvalidError


class Number(NamedTuple):
    """A measured number as a fraction, its 95% interval where there is one, and its record."""

    value: float
    low: float | None
    high: float | None
    record: Path


class Mean(NamedTuple):
    """A selector's value as a fraction, None while members are missing.

    `have` of `of` members are there; `records` are those that they are from.
    """

    value: float | None
    low: float | None
    high: float | None
    have: int
    of: int
    records: tuple[Path, ...]


class Read(NamedTuple):
    """A record with its float32 lines by metric and dimension.

    The first line of a subset and split is its main score, and stands under MAIN too.
    """

    run: Run
    lines: dict[tuple[str, int], list[MetricLine]]


class Records:
    """The records below a folder; each is read, and its checksums checked, when it is needed.

    InvalidError names the file that is broken.
    """

    def __init__(self, root: Path) -> None:
        self._paths: dict[tuple[str, str], list[Path]] = {}
        for path in list_runs(root):
            key = path.parent.parent.name, path.parent.name
            self._paths.setdefault(key, []).append(path)
        self._read: dict[Path, Read] = {}

    def __len__(self) -> int:
        return sum(map(len, self._paths.values()))

    def mean(self, models: Sequence[str], selector: Selector) -> Mean:
        """The plain mean of groups of means of places, by any of these names of a model."""
        groups = [[self.number(models, place) for place in group] for group in selector.groups]
        numbers = [number for group in groups for number in group if number]
        records = tuple(dict.fromkeys(number.record for number in numbers))
        # Several groups are counted, or the places of the only one
        complete = [all(group) for group in groups]
        if len(groups) == 1:
            complete = [bool(number) for number in groups[0]]
        have, members = sum(complete), len(complete)
        if have < members:
            return Mean(None, None, None, have, members, records)
        # a mean of means, as papers average: a group of 26 languages counts as one
        value = fmean(fmean(number.value for number in group if number) for group in groups)
        low = high = None
        if len(numbers) == 1:
            # the members of a mean share images: their intervals do not add up
            low, high = numbers[0].low, numbers[0].high
        return Mean(value, low, high, have, members, records)

    def number(self, models: Sequence[str], place: Place) -> Number | None:
        """The number at a place in the newest record that has it.

        It is the float32 score, at full width unless the place says another dimension.
        """
        # a model may have records under several names: the newest of them all counts
        paths: list[Path] = []
        for key in place.keys:
            for model in models:
                paths += self._paths.get((path_component(key), path_component(model)), ())
        for path in sorted(paths, key=lambda path: path.name, reverse=True):
            number = self._at(path, place)
            if number:
                return number
        return None

    def _at(self, path: Path, place: Place) -> Number | None:
        run, lines = self._lines(path)
        # a task of mteb that was limited to subsets measured those whole
        harmless = {"subsets"} if place.split else set()
        if set(run.manifest.get("partial") or ()) - harmless:
            return None
        dim = place.dim or _width(run)
        at = [
            line
            for line in lines.get((place.metric, dim), ())
            if place.subset in (None, ALL, line.subset)
            and place.direction in (None, line.direction)
        ]
        if not at:
            return None
        if place.subset == ALL:
            return Number(fmean(line.value for line in at), None, None, path)
        if len(at) > 1:
            several = ", ".join(f"{line.subset} {line.direction}".strip() for line in at)
            raise InvalidError(
                f"{path / METRICS}: {place.metric} at {dim} dimensions is there {len(at)} times "
                f"({several}); name the subset of {place.benchmark} in "
                "configs/published/benchmarks.yaml."
            )
        return Number(at[0].value, at[0].ci_low, at[0].ci_high, path)

    def _lines(self, path: Path) -> Read:
        if path not in self._read:
            run = read_run(path)
            _check_place(run)
            self._read[path] = Read(run, _by_metric(run))
        return self._read[path]


def _check_place(run: Run) -> None:
    names = run.manifest["benchmark"], run.manifest["model"]
    folder = tuple(map(path_component, names))
    if folder != (run.path.parent.parent.name, run.path.parent.name):
        raise InvalidError(
            f"{run.path}: the record is of {'/'.join(folder)}; it lies in a folder of another. "
            "Move it back."
        )


def _by_metric(run: Run) -> dict[tuple[str, int], list[MetricLine]]:
    lines: dict[tuple[str, int], list[MetricLine]] = {}
    cells: set[tuple[str, str, int]] = set()
    # the order of the file: mteb's main score is the first line of its cell
    for line in run.metrics:
        if line.precision != "float32":
            continue
        name = f"{line.metric}@{line.k}" if line.k else line.metric
        lines.setdefault((name, line.dim), []).append(line)
        cell = line.subset, line.direction, line.dim
        if cell not in cells:
            cells.add(cell)
            lines.setdefault((MAIN, line.dim), []).append(line)
    return lines


def _width(run: Run) -> int:
    """The full width of the model's embeddings."""
    encoder = run.manifest.get("encoder")
    width = encoder.get("dim") if isinstance(encoder, dict) else None
    if not isinstance(width, int):
        raise InvalidError(f"{run.path / 'manifest.json'}: encoder.dim is missing; evaluate again.")
    return width
