"""Lists what still has to be evaluated before each cell of a model has a number."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from evals.report.checkpoints import Pinned, runnable, stand_in_of
from evals.report.measured import Records
from evals.report.names import ALL, Place
from evals.report.tables import Table
from evals.schema import ConfigError


class Group(NamedTuple):
    """What benchmarks must have in common to be evaluated by one call of evals.run."""

    kind: str
    subset: str  # "" for all
    dims: tuple[int, ...]


def needs(
    tables: Iterable[Table], model: str, records: Records, stand_in: Mapping[str, str]
) -> list[list[str]]:
    """The arguments of each call of evals.run that is still needed.

    Benchmarks that share subsets and dimensions are one call, those that exist as records are left
    out. ConfigError when the tables have no number of the model that a checkpoint could give.
    """
    checkpoint = _checkpoint_of(model)
    text = stand_in_of(checkpoint, stand_in)
    choice = records.stand_in(text) if text else checkpoint
    places = _places(tables, checkpoint)
    calls: dict[Group, list[str]] = {}
    for place in places:
        if records.number(choice, place) is None:
            call = calls.setdefault(_group(place, places), [])
            if place.benchmark not in call:
                call.append(place.benchmark)
    # a benchmark that is evaluated whole needs no call for a subset of it
    covered: set[str] = set()
    for group, call in calls.items():
        if not group.subset:
            covered |= set(call)
    arguments = []
    for group, call in calls.items():
        benchmarks = [name for name in call if not group.subset or name not in covered]
        if benchmarks:
            arguments.append(_arguments(benchmarks, group))
    return arguments


def _checkpoint_of(model: str) -> Pinned:
    """The published checkpoint that goes by a name."""
    for checkpoint in runnable().values():
        if model in checkpoint.names:
            return checkpoint
    there = ", ".join(runnable())
    raise ConfigError(f"The tables have no model {model!r} that can be run. They have {there}.")


def _places(tables: Iterable[Table], checkpoint: Pinned) -> list[Place]:
    """The places that the cells of a model are made of, each once, in the order of the tables."""
    places: dict[Place, None] = {}
    for table in tables:
        for _, cell in table.cells:
            if not cell.selector.not_run and checkpoint in (cell.checkpoint, cell.base):
                for group in cell.selector.groups:
                    places |= dict.fromkeys(group)
    return list(places)


def _group(place: Place, places: Sequence[Place]) -> Group:
    # all dimensions of a benchmark at once: they are scored from one encoding
    dims = {
        sibling.dim for sibling in places if sibling.benchmark == place.benchmark and sibling.dim
    }
    # Rows of benchmarks.yaml are run whole: their languages share images, and cost little more.
    is_part = place.split and place.subset not in (ALL, "default", None)
    subset = (place.subset or "") if is_part else ""
    return Group(_kind(place), subset, tuple(sorted(dims, reverse=True)))


def _kind(place: Place) -> str:
    if place.split:
        return "mteb"
    return "classification" if place.direction is None else "image-text"


def _arguments(benchmarks: list[str], group: Group) -> list[str]:
    arguments = [*benchmarks]
    if group.subset:
        arguments += ["--subsets", group.subset]
    if group.dims:
        arguments += ["--dims", ",".join(map(str, group.dims))]
    return arguments
