"""Pairs a run with its baseline record: per metric two values, and the queries of both in one order.

The queries of all subsets share the numbers of their images. So the bootstrap draws an image in
every language at once, because the captions of one image are no independent evidence.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evals.counts import counted
from evals.records.means import MEAN, groups, has_mean, plain_mean
from evals.records.queries import Cell, PerQuery, cell_of, per_query
from evals.records.record import MetricLine, Run
from evals.records.written import command_like, model_argument
from evals.schema import MissingError, NotComparableError
from evals.stats.paired import Pair

Lines = dict[tuple[Cell, str], MetricLine]
SHOWN = 5  # lost cells named in a message


class Measured(NamedTuple):
    """A metric of one cell, or of the mean over subsets, before it is judged.

    `pairs` holds one pair of columns per subset, none for what is no mean over queries.
    `same` says that every query scored the same.
    """

    cell: Cell
    metric: str
    old: float
    new: float
    pairs: list[Pair]
    same: bool


def pair(record: Run, run: Run) -> list[Measured]:
    """Each metric of the baseline record with its value in the run, then the means over subsets.

    MissingError when the run lacks a cell or a metric of the record. NotComparableError when the
    data, the queries or their images are others.
    """
    before, after = lines_of(record), lines_of(run)
    _check_all_there(before, after, record, run)
    _check_same_data(record, run)
    # bit-identical: nothing to resample
    if record.manifest.files == run.manifest.files:
        cells = _unmoved(before)
    else:
        cells = _paired_lines(before, after, per_query(record), per_query(run))
    return cells + means(cells)


def lines_of(run: Run) -> Lines:
    """The metric lines of a record by cell and public name."""
    return {(cell_of(line), line.name): line for line in run.metrics}


def _check_all_there(before: Lines, after: Lines, record: Run, run: Run) -> None:
    """MissingError when the run lacks a cell or a metric of the baseline, with the command for it."""
    command = command_like(record.manifest, model_argument(run.manifest))
    remedy = f"Measure what is missing: {command}"
    lost = {cell for cell, _ in before} - {cell for cell, _ in after}
    if lost:
        where = "; ".join(
            f"{cell.subset} {cell.direction} at {cell.dim} {cell.precision}"
            for cell in sorted(lost)[:SHOWN]
        )
        rest = f"; and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
        raise MissingError(
            f"{run.path}: lacks {counted(len(lost), 'cell')} of the baseline: {where}{rest}. {remedy}"
        )
    absent = sorted(name for _, name in before.keys() - after.keys())
    if absent:
        raise MissingError(
            f"{run.path}: no {', '.join(dict.fromkeys(absent))}, which the baseline has. {remedy}"
        )


def _check_same_data(record: Run, run: Run) -> None:
    """NotComparableError when a subset has another content hash."""
    for subset in record.manifest.data_identity.unlike(run.manifest.data_identity):
        raise NotComparableError(
            f"{run.path}: the data of {subset} is not that of {record.path}. "
            "Measure the baseline again on this data."
        )


def _unmoved(lines: Lines) -> list[Measured]:
    """The metrics of a run whose files are those of the baseline."""
    return [
        Measured(cell, name, line.value, line.value, [], same=True)
        for (cell, name), line in lines.items()
    ]


def _paired_lines(
    before: Lines, after: Lines, old: dict[Cell, PerQuery], new: dict[Cell, PerQuery]
) -> list[Measured]:
    """Each line of the baseline with its value in the run, and the queries of both."""
    image_numbers: dict[str, int] = {}
    pairs = {cell: _pair(cell, part, new.get(cell), image_numbers) for cell, part in old.items()}
    measured = []
    for (cell, name), line in before.items():
        value = after[cell, name].value
        columns = pairs.get(cell)
        if columns is None or name not in columns.a:
            measured.append(Measured(cell, name, line.value, value, [], same=line.value == value))
            continue
        a, b = columns.a[name], columns.b[name]
        single = Pair({name: a}, {name: b}, columns.groups)
        measured.append(Measured(cell, name, line.value, value, [single], bool((a == b).all())))
    return measured


def _pair(cell: Cell, old: PerQuery, new: PerQuery | None, image_numbers: dict[str, int]) -> Pair:
    """The columns of both runs in the baseline's order, `image_numbers` growing by new images."""
    place = {name: i for i, name in enumerate(new.ids)} if new else {}
    where = f"{cell.subset} {cell.direction}"
    if new is None or place.keys() != set(old.ids):
        raise NotComparableError(
            f"{where}: not the same queries ({len(old.ids)} in the baseline, {len(place)} in the run)."
        )
    # order[i] is where the run has the baseline's query i
    order = np.array([place[name] for name in old.ids], dtype=np.int64)
    if [new.groups[i] for i in order] != old.groups:
        raise NotComparableError(
            f"{where}: the queries do not belong to the same images as before."
        )
    # the same number in every language, so that an image is drawn as a whole
    numbers = [image_numbers.setdefault(group, len(image_numbers)) for group in old.groups]
    reordered = {name: values[order] for name, values in new.values.items()}
    return Pair(old.values, reordered, np.array(numbers, dtype=np.int64))


def means(cells: Sequence[Measured]) -> list[Measured]:
    """The plain mean over subsets of each metric that all have.

    Half a point lost in every language shows here first: the images are the same, so the noise
    of the mean is far below that of one language.
    """
    by_metric = groups(
        [measured for measured in cells if has_mean(measured.metric)],
        subset=lambda measured: measured.cell.subset,
        key=lambda measured: (measured.cell._replace(subset=MEAN), measured.metric),
    )
    return [_mean(cell, name, parts) for (cell, name), parts in by_metric.items()]


def _mean(cell: Cell, name: str, parts: Sequence[Measured]) -> Measured:
    """The plain mean of one metric over subsets; `pairs` has the queries of all of them."""
    old, new = plain_mean(part.old for part in parts), plain_mean(part.new for part in parts)
    # a mean of which a part has no queries cannot be resampled
    all_paired = all(part.pairs for part in parts)
    pairs = [pair for part in parts for pair in part.pairs] if all_paired else []
    return Measured(cell, name, old, new, pairs, all(part.same for part in parts))
