"""What still has to be evaluated before every cell of a model has a number: `python -m evals.run` takes each line as it is."""

from collections.abc import Iterable, Mapping

from evals.report.measured import Records
from evals.report.names import ALL, Place, models
from evals.report.tables import Table
from evals.schema import ConfigError


def needs(
    tables: Iterable[Table], model: str, records: Records, stand_in: Mapping[str, str]
) -> list[list[str]]:
    """Arguments for evals.run, a list a call: benchmarks that share subsets and dimensions, those that exist as records left out.

    ConfigError when the tables have no number of the model that a checkpoint could give.
    """
    names = [name for name in (known.records for known in models().values()) if model in name]
    if not names:
        every = ", ".join(known.records[0] for known in models().values() if known.records)
        raise ConfigError(f"The tables have no model {model!r} that can be run. They have {every}.")
    own = (stand_in[model],) if model in stand_in else names[0]
    cells = [cell for table in tables for _, cell in table.cells if not cell.selector.not_run]
    places = dict.fromkeys(
        place
        for cell in cells
        if names[0] in (cell.records, cell.base)
        for group in cell.selector.groups
        for place in group
    )
    calls: dict[tuple[str, str, tuple[int, ...]], list[str]] = {}
    for place in (place for place in places if records.number(own, place) is None):
        dims = tuple(
            sorted(
                {p.dim for p in places if p.benchmark == place.benchmark and p.dim}, reverse=True
            )
        )
        subset = place.subset if place.split and place.subset not in (ALL, "default", None) else ""
        call = calls.setdefault((_kind(place), subset or "", dims), [])
        if place.benchmark not in call:
            call.append(place.benchmark)
    whole = {name for (_, subset, _), call in calls.items() if not subset for name in call}
    left = {
        key: [name for name in call if not key[1] or name not in whole]
        for key, call in calls.items()
    }
    return [_arguments(call, subset, dims) for (_, subset, dims), call in left.items() if call]


def _kind(place: Place) -> str:
    if place.split:
        return "mteb"
    return "classification" if place.direction is None else "image-text"


def _arguments(call: list[str], subset: str, dims: tuple[int, ...]) -> list[str]:
    return [
        *call,
        *(["--subsets", subset] if subset else []),
        *(["--dims", ",".join(map(str, dims))] if dims else []),
    ]
