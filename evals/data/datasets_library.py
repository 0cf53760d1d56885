"""Objects and folders of the library `datasets`, as tables. It is optional, and imported here alone.

saved  a folder of Dataset.save_to_disk (state.json) or DatasetDict.save_to_disk (dataset_dict.json)

`datasets` applies its own mapping of indices, so that a set that was shuffled, filtered or selected
has the rows that it shows. Images are taken as they are stored: what it would decode, the encoders
decode themselves.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.data.captioned import Release
from evals.data.columns import Cells, Table
from evals.data.table_files import json_object, released, table_of_entries
from evals.schema import ConfigError, InvalidError, MissingError, Source

STATE, SPLITS = "state.json", "dataset_dict.json"


def import_datasets(what: str) -> Any:
    """The module datasets; MissingError says that `what` needs it, and how to get it."""
    try:
        return importlib.import_module("datasets")
    except ModuleNotFoundError:
        raise MissingError(
            f"{what} needs datasets. Run: pip install 'jina-clip-evals[datasets]'."
        ) from None


def find_saved(path: Path, split: str) -> list[Path]:
    """The folder of a split, looked for by what the files in it say."""
    if "_data_files" in json_object(path / STATE):
        return [path]
    splits = json_object(path / SPLITS).get("splits")
    return [path / split] if isinstance(splits, list) and split in splits else []


def read_saved(place: Path, source: Source) -> Release:
    """The rows of a saved set. InvalidError when it is not whole."""
    return released("saved", saved_table(place, source), place, source)


def saved_table(place: Path, source: Source) -> Table:
    """The rows of a saved set; they stay on the disk."""
    return table_of_dataset(load_saved(place), str(place))


def load_saved(place: Path) -> Any:
    """The set as `datasets` opens it; its rows stay on the disk."""
    datasets = import_datasets(f"{place}, a folder of Dataset.save_to_disk,")
    try:
        return datasets.load_from_disk(str(place))
    # Arrow and `datasets` raise these of files that are missing, cut off or of another version.
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidError(
            f"{place}: `datasets` cannot open it ({error}). Save it again with save_to_disk."
        ) from None


def split_of(splits: Mapping[str, Any], split: str | None, name: str) -> Any:
    """The split of a DatasetDict that is meant: the one of that name, else `test`, else the only one."""
    for wanted in (split,) if split else ("test",):
        if wanted in splits:
            return splits[wanted]
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    raise ConfigError(
        f"{name}: has the splits {', '.join(map(str, splits))}, and which is meant is not said. "
        "Name one: --split, or split= in a program."
    )


def table_of_dataset(dataset: Any, name: str) -> Table:
    """The rows of a Dataset; images are read, undecoded, when they are indexed."""
    datasets = import_datasets(name)
    if isinstance(dataset, datasets.IterableDataset):
        return _table_of_stream(datasets, dataset, name)
    # A format, such as torch's, would turn cells into tensors.
    dataset = dataset.with_format(None)
    columns: dict[str, Sequence[Any]] = {}
    classes: dict[str, Sequence[str]] = {}
    for column, feature in dataset.features.items():
        if isinstance(feature, datasets.Image):
            columns[column] = _image_cells(datasets, dataset, column)
        elif _holds_text(datasets, feature):
            columns[column] = list(dataset[column])
        if isinstance(feature, datasets.ClassLabel):
            classes[column] = feature.names
    return Table(name, columns, lambda row: f"{name}, row {row}", classes)


def _table_of_stream(datasets: Any, dataset: Any, name: str) -> Table:
    """A stream is read once, to its end, and kept: ranks need all images at once."""
    for column, feature in (dataset.features or {}).items():
        if isinstance(feature, datasets.Image):
            dataset = dataset.cast_column(column, datasets.Image(decode=False))
    rows = list(dataset.with_format(None))
    table = table_of_entries(name, rows, [f"{name}, row {row}" for row in range(len(rows))])
    features = (dataset.features or {}).items()
    classes = {
        column: feature.names
        for column, feature in features
        if isinstance(feature, datasets.ClassLabel)
    }
    return Table(name, table.columns, table.where, classes)


def _image_cells(datasets: Any, dataset: Any, column: str) -> Cells:
    stored = dataset.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    return Cells(len(dataset), lambda row: stored[row][column])


def _holds_text(datasets: Any, feature: Any) -> bool:
    """Whether cells are texts, numbers or lists of them: others are large, and never captions."""
    if isinstance(feature, datasets.Value | datasets.ClassLabel):
        return True
    # Sequence, List and LargeList keep what they hold in `feature`.
    inner = getattr(feature, "feature", None)
    return isinstance(inner, datasets.Value) and inner.dtype in ("string", "large_string")
