"""Looks up measured numbers: the newest one of a checkpoint at a place, and means over places."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from evals.records.identity import ModelIdentity, Named
from evals.records.manifest import MANIFEST
from evals.records.means import plain_mean
from evals.records.record import METRICS, MetricLine, Run, read_run
from evals.records.shelf import Choice, Entry, Shelf
from evals.report.checkpoints import AnyNamed, Pinned, StandIn
from evals.report.names import ALL, MAIN, Place, Selector
from evals.schema import InvalidError

Lines = dict[tuple[str, int], list[MetricLine]]


class SeveralError(InvalidError):
    """A place is meant that a record has several times: `fact` says which and where."""

    def __init__(self, fact: str, remedy: str) -> None:
        super().__init__(f"{fact}; {remedy}")
        self.fact = fact


class Number(NamedTuple):
    """A measured number as a fraction, its 95% interval where there is one, and what it is of.

    `dim` is the dimension that was scored, `data` the content hash of the subset (None for a mean
    over all subsets, or where the record has none).
    """

    value: float
    low: float | None
    high: float | None
    record: Path
    model: ModelIdentity
    dim: int
    benchmark: str
    subset: str
    data: str | None


class Mean(NamedTuple):
    """A selector's value as a fraction, None while members are missing.

    `have` of `of` members are there; `numbers` are those.
    """

    value: float | None
    low: float | None
    high: float | None
    have: int
    of: int
    numbers: tuple[Number, ...]


class Records:
    """The records below a folder; each is read, and its checksums checked, when it is needed.

    InvalidError names the file that is broken, or the record that lies in the place of another.
    """

    def __init__(self, root: Path) -> None:
        self._shelf = Shelf(root)
        self._lines: dict[Path, Lines] = {}
        self._newest: dict[tuple[str, Choice], list[Entry]] = {}
        self._learned: dict[Pinned, Pinned] = {}

    def __len__(self) -> int:
        return len(self._shelf)

    @property
    def benchmarks(self) -> set[str]:
        """What all records that can be read call their benchmarks."""
        return {entry.manifest.benchmark for entry in self._shelf}

    def mean(self, model: Choice, selector: Selector) -> Mean:
        """The plain mean of groups of means of places, by this model."""
        groups = [[self.number(model, place) for place in group] for group in selector.groups]
        numbers = tuple(number for group in groups for number in group if number)
        # Several groups are counted, or the places of the only one
        complete = [all(group) for group in groups]
        if len(groups) == 1:
            complete = [bool(number) for number in groups[0]]
        have, members = sum(complete), len(complete)
        if have < members:
            return Mean(None, None, None, have, members, numbers)
        # a mean of means, as papers average: a group of 26 languages counts as one
        value = plain_mean(
            plain_mean(number.value for number in group if number) for group in groups
        )
        low = high = None
        if len(numbers) == 1:
            # the members of a mean share images: their intervals do not add up
            low, high = numbers[0].low, numbers[0].high
        return Mean(value, low, high, have, members, numbers)

    def number(self, model: Choice, place: Place) -> Number | None:
        """The number at a place in the newest record that has it.

        It is the float32 score, at full width unless the place says another dimension.
        """
        # The newest record may lack the place, as a run of one language does; an older one may have
        # it.
        for entry in self._entries(self._with_hashes(model), place):
            number = self._at(entry, place)
            if number:
                return number
        return None

    def stand_in(self, text: str) -> Choice:
        """The checkpoint of the newest record of a name or folder, as `--as` has it.

        Only its records count, whatever else carries the name: a mean is of one checkpoint.
        """
        named = Named.of(text)
        newest = self._shelf.newest(named)
        return StandIn(newest.model) if newest else named

    def refused(self, checkpoint: Pinned, selector: Selector) -> str | None:
        """Why a record at these places that is called like a published model does not count.

        None when there is no such record.
        """
        with_hashes = self._with_hashes(checkpoint)
        places = [place for group in selector.groups for place in group]
        for place in places:
            for entry in self._entries(AnyNamed(checkpoint.names), place):
                if not with_hashes.accepts(entry.model):
                    return f"{entry.path} is of {entry.model}"
                if not _is_published_data(entry, place):
                    return f"{entry.path} measured other data than that which was published"
        return None

    def _with_hashes(self, model: Choice) -> Choice:
        """A published checkpoint with the hashes of the weights that came from its place."""
        if not isinstance(model, Pinned):
            return model
        if model not in self._learned:
            # what the published place gave once is known by its hash wherever it lies
            hashes = {entry.model.weights for entry in self._shelf if model.is_source(entry.model)}
            hashes |= model.weights
            self._learned[model] = replace(model, weights=frozenset(filter(None, hashes)))
        return self._learned[model]

    def _entries(self, model: Choice, place: Place) -> list[Entry]:
        """The records that may have a place, the newest first."""
        entries: list[Entry] = []
        for benchmark in place.keys:
            key = benchmark, model
            # hundreds of places share a benchmark
            if key not in self._newest:
                self._newest[key] = self._shelf.newest_first(benchmark, model)
            entries += self._newest[key]
        # By name, which begins with the time: a task's records may lie under four keys.
        return sorted(entries, key=lambda entry: entry.path.name, reverse=True)

    def _at(self, entry: Entry, place: Place) -> Number | None:
        # a task of mteb that was limited to subsets measured those whole
        harmless = {"subsets"} if place.split else set()
        # A part of a benchmark is another benchmark: fewer documents are easier to rank.
        if set(entry.manifest.partial or ()) - harmless:
            return None
        if not _is_published_data(entry, place):
            return None
        dim = place.dim or _width(entry)
        at = [
            line
            for line in self._lines_of(entry).get((place.metric, dim), ())
            if place.subset in (None, ALL, line.subset)
            and place.direction in (None, line.direction)
        ]
        if not at:
            return None
        # mteb's main score of a task with several subsets: their plain mean.
        if place.subset == ALL:
            value = plain_mean(line.value for line in at)
            return Number(
                value, None, None, entry.path, entry.model, dim, place.benchmark, ALL, None
            )
        if len(at) > 1:
            several = ", ".join(f"{line.subset} {line.direction}".strip() for line in at)
            raise SeveralError(
                f"{entry.path / METRICS}: {place.metric} at {dim} dimensions is there {len(at)} "
                f"times ({several})",
                f"name the subset of {place.benchmark} in configs/published/benchmarks.yaml.",
            )
        [line] = at
        return Number(
            line.value,
            line.ci_low,
            line.ci_high,
            entry.path,
            entry.model,
            dim,
            place.benchmark,
            line.subset,
            entry.manifest.data_identity.contents.get(line.subset),
        )

    def _lines_of(self, entry: Entry) -> Lines:
        if entry.path not in self._lines:
            self._lines[entry.path] = _by_metric(read_run(entry.path))
        return self._lines[entry.path]


def _is_published_data(entry: Entry, place: Place) -> bool:
    """Whether a record is of the data that was published, as far as its hash is known.

    Data of one's own is not, whatever it is called, unless it is what the place means.
    """
    if entry.manifest.config.row.own is not None:
        return place.own
    if place.content is None:
        return True
    contents = entry.manifest.data_identity.contents
    hashes = list(contents.values()) if place.subset is None else [contents.get(place.subset)]
    return hashes == [place.content]


def _by_metric(run: Run) -> Lines:
    """The float32 lines of a record by metric and dimension.

    Those of the main metric stand under MAIN too.
    """
    lines: Lines = {}
    for line in run.metrics:
        if line.precision != "float32":
            continue
        lines.setdefault((line.name, line.dim), []).append(line)
        if line.name == run.main_metric:
            lines.setdefault((MAIN, line.dim), []).append(line)
    return lines


def _width(entry: Entry) -> int:
    """The full width of the model's embeddings."""
    if entry.model.width is None:
        raise InvalidError(f"{entry.path / MANIFEST}: encoder.dim is missing; evaluate again.")
    return entry.model.width
