"""Your own labelled images: tables with a column of classes, from files or from a program, and class folders.

A class is a name in a column of texts, or a number of a ClassLabel of `datasets`. Names are sorted,
as those of folders are: the order of the rows does not make another class the first.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from evals.data.checks import check_ids
from evals.data.class_folders import TEMPLATE, load_own_labels
from evals.data.columns import Chosen, Table, choose_columns, kind_of_column
from evals.data.datasets_library import find_saved, saved_table
from evals.data.labeled import Labeled, LabeledRelease, labelled
from evals.data.local import SPLIT, SPLITS, only_split
from evals.data.prompts import Listed
from evals.data.table_files import (
    find_imagefolder,
    find_parquet,
    find_table,
    metadata_table,
    rows_of_parquet,
    text_table,
)
from evals.data.table_images import named, opened
from evals.schema import ClassPrompts, ConfigError, InvalidError, LabeledImages, Source

ONE_CLASS = (
    "An image has one class: merge or remove one. Where these are captions, write captions: in the "
    "place of labels:."
)


class TableLayout(NamedTuple):
    """A layout of tables: `find` as in evals.data.layouts, and the table at a place that it gave."""

    find: Callable[[Path, str], list[Path]]
    table: Callable[[Path, Source], Table]


TABLES: Mapping[str, TableLayout] = {
    "table": TableLayout(find_table, lambda file, source: text_table(file)),
    "imagefolder": TableLayout(find_imagefolder, metadata_table),
    "parquet": TableLayout(find_parquet, rows_of_parquet),
    "saved": TableLayout(find_saved, saved_table),
}


def load_labels(source: Source) -> dict[str, LabeledImages]:
    """The only subset from `source.folder`: a table with a column of classes, else class folders.

    ConfigError: two tables are there, or no column fits. Others as those of class folders.
    """
    path = source.folder
    if path is None or not path.exists():
        return load_own_labels(source)
    places = [
        (name, place)
        for name, layout in TABLES.items()
        for place in layout.find(path, source.split)
    ]
    if len(places) > 1:
        names = " and ".join(f"{place.name} ({name})" for name, place in places)
        raise ConfigError(
            f"{path}: holds {names}, any of which could be meant. Point at the file itself."
        )
    # Class folders have no mark but their images: what is marked goes before them.
    if not places:
        return load_own_labels(source)
    [(name, place)] = places
    table = TABLES[name].table(place, source)
    folder = place if place.is_dir() else place.parent
    return _labelled(table, source, {"layout": name, "path": str(place)}, folder)


def split_of_labels(path: Path) -> str:
    """The split of labelled images that is meant where none is named, as `evals.data.local` has it."""
    folders = [entry for entry in path.iterdir() if entry.is_dir()] if path.is_dir() else []
    # A folder per split holds folders of classes; one that is called `train` may be a class.
    are_splits = {folder.name for folder in folders} <= set(SPLITS) and all(
        any(entry.is_dir() for entry in folder.iterdir()) for folder in folders
    )

    def places_of(split: str) -> list[Path]:
        tables = [place for layout in TABLES.values() for place in layout.find(path, split)]
        return [*tables, *(folder for folder in folders if are_splits and folder.name == split)]

    return only_split(path, places_of) if path.is_dir() else SPLIT


def has_labels(table: Table, roles: Mapping[str, str]) -> bool:
    """Whether a table of a program is one of classes: they are named, or nothing is a caption."""
    if "label" in roles or "captions" in roles:
        return "label" in roles
    # A set with classes and captions is measured by its captions, unless the label is named.
    kinds = {
        kind_of_column(cells) for name, cells in table.columns.items() if name not in table.classes
    }
    return bool(table.classes) and not kinds & {"text", "texts"}


def held_labels(table: Table, source: Source) -> dict[str, LabeledImages]:
    """The only subset of a table that a program holds."""
    return _labelled(table, source, {"layout": "memory"}, None)


def _labelled(
    table: Table, source: Source, origin: Mapping[str, str], folder: Path | None
) -> dict[str, LabeledImages]:
    chosen = choose_columns(table, source.columns, ("image", "label"))
    # Which classes there are says the data itself, so that nothing can be missing of them.
    names, labels = _classes(table, chosen)
    places = range(len(table))
    ids = named(table, chosen, places)
    rows = [Labeled(ids[row], labels[row], table.where(row)) for row in places]
    check_ids(((row.image, row.where) for row in rows), remedy=ONE_CLASS)
    prompts = ClassPrompts(len(names), templates=TEMPLATE, folders=True)
    release = LabeledRelease(
        rows,
        Listed(names, f"column {chosen.label}"),
        lambda: opened(table, table.columns[chosen.image], places, folder),
        None,
        {**origin, "columns": str(chosen)},
    )
    return labelled(release, Source(source.subsets, source.split, prompts=prompts))


def _classes(table: Table, chosen: Chosen) -> tuple[list[str], list[int]]:
    """The names of the classes, and the number of each row's class."""
    column = str(chosen.label)
    cells = table.columns[column]
    # A ClassLabel says what its numbers mean, and keeps classes that no image has.
    names = table.classes.get(column)
    if names is not None:
        return list(names), [
            _number(cell, len(names), table, row) for row, cell in enumerate(cells)
        ]
    for row, cell in enumerate(cells):
        if not isinstance(cell, str) or not cell.strip():
            raise InvalidError(
                f"{table.where(row)}: {str(cell)[:40]!r} in column {column} is no name of a class. "
                "Write the names of classes there."
            )
    listed = sorted(set(cells))
    # "0" would be asked for as "a photo of a 0."
    if all(name.strip().isdecimal() for name in listed):
        raise InvalidError(
            f"{table.name}: nothing says what the numbers in column {column} mean. "
            "Write the names of classes there, or name the column that has them: --columns label=…."
        )
    numbers = {name: number for number, name in enumerate(listed)}
    return [name.replace("_", " ") for name in listed], [numbers[cell] for cell in cells]


def _number(cell: object, count: int, table: Table, row: int) -> int:
    if not isinstance(cell, int) or not 0 <= cell < count:
        raise InvalidError(
            f"{table.where(row)}: {str(cell)[:40]!r} is not one of the {count} labels. Correct it."
        )
    return cell
