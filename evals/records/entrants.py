"""The models of a ranking: what each argument means, and which record of each benchmark belongs to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from evals.records.selection import Measured, Operand, measured, operand, shared_benchmarks
from evals.schema import ConfigError, NotComparableError


class Entrant(NamedTuple):
    """A model at one dimension and precision, and its measurement on each benchmark."""

    name: str
    sides: dict[str, Measured]


def entrants(
    texts: Sequence[str], root: Path, benchmarks: Sequence[str] | None = None
) -> list[Entrant]:
    """The models, widths and records that the operands name, each on the same benchmarks.

    Records of one model on several benchmarks are one entrant, on one benchmark they are several.
    Models are measured on the benchmarks of the records, else on `benchmarks`, else on all whole
    ones that every model has. Raises ConfigError for fewer than two and for benchmarks named beside
    a record, MissingError where a model has no record, NotComparableError where records are of
    different benchmarks and for a name that is two models.
    """
    # A model that is named twice is no rival of itself.
    operands = [operand(text) for text in dict.fromkeys(texts)]
    if len(operands) < 2:
        twice = f" {texts[0]} is named {len(texts)} times." if len(texts) > 1 else ""
        raise ConfigError(f"Name at least two models, dimensions or records to rank.{twice}")
    records = [which for which in operands if which.path]
    if records and benchmarks:
        raise ConfigError(
            "--benchmarks means nothing beside a record, which is of one benchmark. Leave it out."
        )
    placed = _of_records(records, root)
    names = list(dict.fromkeys(name for entrant in placed for name in entrant.sides))
    models = [which for which in operands if not which.path]
    # Records say which benchmarks are meant, else the option, else what all models have.
    names = names or list(dict.fromkeys(benchmarks or ())) or _of_all(models, root)
    by_model = [_of_model(which, names, root) for which in models]
    everybody = placed + by_model
    _check_benchmarks(placed, names)
    if len(everybody) < 2:
        raise ConfigError(
            f"All of them are records of {everybody[0].name}, each of another benchmark. "
            "Name the records of a second model, too."
        )
    return _told_apart_by_name(everybody)


def measurements(text: str, root: Path, benchmarks: Sequence[str] | None = None) -> list[Measured]:
    """What one operand names: a record, or a model on `benchmarks`, else on all whole ones it has.

    Raises as `entrants` does.
    """
    which = operand(text)
    if which.path is None:
        names = list(benchmarks or _of_all([which], root))
        return list(_of_model(which, names, root).sides.values())
    if benchmarks:
        raise ConfigError(
            "--benchmarks means nothing beside a record, which is of one benchmark. Leave it out."
        )
    return [measured(which, root, "")]


def _of_records(records: Sequence[Operand], root: Path) -> list[Entrant]:
    """Records of one model at one width are one entrant, as long as their benchmarks differ."""
    placed: list[Entrant] = []
    for which in records:
        side = measured(which, root, "")
        benchmark = side.run.manifest.benchmark
        # The first entrant of the model that lacks the benchmark; a second record of it is a rival.
        for entrant in placed:
            if benchmark not in entrant.sides and _same_model(entrant, side):
                entrant.sides[benchmark] = side
                break
        else:
            placed.append(Entrant(side.label, {benchmark: side}))
    return placed


def _same_model(entrant: Entrant, side: Measured) -> bool:
    identity = side.run.manifest.model_identity
    sides = entrant.sides.values()
    same = all(other.run.manifest.model_identity.same_model(identity) for other in sides)
    return same and entrant.name == side.label


def _of_model(which: Operand, benchmarks: Sequence[str], root: Path) -> Entrant:
    """The newest records of a name, which must all be of one model."""
    sides = {name: measured(which, root, name) for name in benchmarks}
    first = next(iter(sides.values()))
    for side in sides.values():
        identity = side.run.manifest.model_identity
        if not identity.same_model(first.run.manifest.model_identity):
            raise NotComparableError(
                f"{which.text} is two models: {first.run.manifest.model_identity} in "
                f"{first.run.path}, and {identity} in {side.run.path}. Name the benchmarks of one "
                "with --benchmarks, or run both again."
            )
    # The width of the first: an encoder may be scored wider on one benchmark than on another.
    return Entrant(first.label, sides)


def _of_all(models: Sequence[Operand], root: Path) -> list[str]:
    return shared_benchmarks(models, root).names


def _check_benchmarks(placed: Sequence[Entrant], names: Sequence[str]) -> None:
    for entrant in placed:
        lacking = [name for name in names if name not in entrant.sides]
        if lacking:
            raise NotComparableError(
                f"{entrant.name} has a record of {', '.join(entrant.sides)} and none of "
                f"{', '.join(lacking)}: name records of the same benchmarks for each model."
            )


def _told_apart_by_name(everybody: Sequence[Entrant]) -> list[Entrant]:
    """Two revisions of one model have one label: the folder of the record tells them apart."""
    labels = [entrant.name for entrant in everybody]
    distinct = []
    for entrant in everybody:
        folder = next(iter(entrant.sides.values())).run.path.name
        twice = labels.count(entrant.name) > 1
        distinct.append(entrant._replace(name=f"{entrant.name} {folder}") if twice else entrant)
    return distinct
