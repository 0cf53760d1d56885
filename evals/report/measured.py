"""What the records say: the newest number of a model at each place, and means over places that are all there."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from evals.records.record import METRICS, MetricLine, Run, list_runs, path_component, read_run
from evals.report.names import ALL, MAIN, Place, Selector
from evals.schema import InvalidError


class Number(NamedTuple):
    """A measured number as a fraction, with its 95% interval where there is one, and the record it is from."""

    value: float
    low: float | None
    high: float | None
    record: Path


class Mean(NamedTuple):
    """A selector's value, None while members are missing: `have` of `of` are there. `records` are those it was made of."""

    value: float | None
    low: float | None
    high: float | None
    have: int
    of: int
    records: tuple[Path, ...]


class Records:
    """The records below a folder, each read, and its checksums checked, when a number of it is first asked for.

    InvalidError names the file that is broken.
    """

    def __init__(self, root: Path) -> None:
        self._paths: dict[tuple[str, str], list[Path]] = {}
        for path in sorted(list_runs(root), key=lambda path: path.name, reverse=True):
            self._paths.setdefault((path.parent.parent.name, path.parent.name), []).append(path)
        self._read: dict[Path, tuple[Run, dict[tuple[str, int], list[MetricLine]]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._paths.values()))

    def mean(self, models: Sequence[str], selector: Selector) -> Mean:
        """The mean of groups of means of places by any of these names of a model: plain, and only when all are there."""
        groups = [[self.number(models, place) for place in group] for group in selector.groups]
        found = [number for group in groups for number in group if number]
        records = tuple(dict.fromkeys(number.record for number in found))
        whole = (
            [all(group) for group in groups]
            if len(groups) > 1
            else [bool(number) for number in groups[0]]
        )
        if not all(whole):
            return Mean(None, None, None, sum(whole), len(whole), records)
        value = fmean(fmean(number.value for number in group if number) for group in groups)
        alone = (
            found[0] if len(found) == 1 else None
        )  # the members of a mean share images: their intervals do not add up
        return Mean(
            value,
            alone.low if alone else None,
            alone.high if alone else None,
            len(whole),
            len(whole),
            records,
        )

    def number(self, models: Sequence[str], place: Place) -> Number | None:
        """The number at a place in the newest record that has it: float32, at full width unless the place says another."""
        keys = [
            (path_component(key), path_component(model)) for key in place.keys for model in models
        ]
        for path in sorted(
            (path for key in keys for path in self._paths.get(key, ())),
            key=lambda path: path.name,
            reverse=True,
        ):
            if found := self._at(path, place):
                return found
        return None

    def _at(self, path: Path, place: Place) -> Number | None:
        run, lines = self._lines(path)
        if set(run.manifest.get("partial") or ()) - ({"subsets"} if place.split else set()):
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
                f"{path / METRICS}: {place.metric} at {dim} dimensions is there {len(at)} times ({several}); "
                f"name the subset of {place.benchmark} in configs/published/benchmarks.yaml."
            )
        return Number(at[0].value, at[0].ci_low, at[0].ci_high, path)

    def _lines(self, path: Path) -> tuple[Run, dict[tuple[str, int], list[MetricLine]]]:
        """A record and its float32 lines by metric and dimension; the first of a subset and split is its main score."""
        if path not in self._read:
            run = read_run(path)
            folder = (
                path_component(run.manifest["benchmark"]),
                path_component(run.manifest["model"]),
            )
            if folder != (path.parent.parent.name, path.parent.name):
                raise InvalidError(
                    f"{path}: the record is of {'/'.join(folder)}; it lies in a folder of another. Move it back."
                )
            lines: dict[tuple[str, int], list[MetricLine]] = {}
            seen: set[tuple[str, str, int]] = set()
            for line in (line for line in run.metrics if line.precision == "float32"):
                name = f"{line.metric}@{line.k}" if line.k else line.metric
                lines.setdefault((name, line.dim), []).append(line)
                if (place := (line.subset, line.direction, line.dim)) not in seen:
                    seen.add(place)
                    lines.setdefault((MAIN, line.dim), []).append(line)
            self._read[path] = run, lines
        return self._read[path]


def _width(run: Run) -> int:
    """The full width of the model's embeddings."""
    encoder = run.manifest.get("encoder")
    width = encoder.get("dim") if isinstance(encoder, dict) else None
    if not isinstance(width, int):
        raise InvalidError(f"{run.path / 'manifest.json'}: encoder.dim is missing; evaluate again.")
    return width
