"""Finds the columns of images and of captions in a table by their contents, not by their names alone.

A column of images holds encoded bytes, Pillow images, or names of image files. A column of captions
holds texts or lists of texts. Where two columns fit, one with a name of NAMES is taken; where two
have such a name, or none has, the user is asked. What was taken goes into the record.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal, NamedTuple

from evals.data.image_formats import has_image_ending
from evals.schema import ConfigError

Kind = Literal["image", "file", "text", "texts", "class", "other"]
Role = Literal["image", "captions", "label", "id"]

# What may fill each role, and the names that decide between columns of these kinds.
FITS: Mapping[Role, tuple[Kind, ...]] = {
    "image": ("image", "file"),
    "captions": ("texts", "text"),
    "label": ("class", "text"),
    "id": ("text", "file", "other"),
}
NAMES: Mapping[Role, tuple[str, ...]] = {
    "image": (
        *("image", "img", "images", "picture", "photo", "file_name", "filename", "image_file"),
        *("file", "path", "filepath", "file_path", "image_path", "image_name", "image_file_name"),
        *("jpg", "png", "webp", "jpeg"),
    ),
    "captions": (
        *("captions", "caption", "text", "texts", "sentences", "sentence", "raw", "description"),
        *("descriptions", "alt_text", "title", "comment", "txt", "prompt"),
    ),
    "label": ("label", "class", "cls", "labels", "category", "fine_label", "class_name"),
    "id": (),
}
# How many cells are looked at to tell what a column holds.
SAMPLE = 200

# `text` and `title` may name a class.
_CAPTIONS = (
    "captions",
    "caption",
    "sentences",
    "sentence",
    "descriptions",
    "description",
    "alt_text",
)
_NUMBERED = re.compile(r"(captions?|sentences?|texts?)_?(\d+)")
_LIST = "[]"


@dataclass(frozen=True)
class Table:
    """Rows of named columns, from a file or from a program.

    `columns` hold the cells in the order of the rows; those of images may be read when they are
    indexed. `where(row)` is the place that messages name. `classes` are the names of the labels of
    a column that holds their numbers.
    """

    name: str
    columns: Mapping[str, Sequence[Any]]
    where: Callable[[int], str]
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return max((len(cells) for cells in self.columns.values()), default=0)


@dataclass(frozen=True)
class Cells(Sequence[Any]):
    """The cells of a column that are read when they are indexed."""

    length: int
    read: Callable[[int], Any]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.read(row) for row in range(self.length)[index]]
        if not 0 <= index < self.length:
            raise IndexError(index)
        return self.read(index)


class Chosen(NamedTuple):
    """The columns that were taken for each role; several hold a caption of each image apiece."""

    image: str
    captions: tuple[str, ...] = ()
    label: str | None = None
    id: str | None = None
    # The strings of the captions are lists that were written as strings.
    written_lists: bool = False

    def __str__(self) -> str:
        """As `--columns` takes it, and as the record keeps it."""
        roles = {"captions": "+".join(self.captions), "label": self.label, "id": self.id}
        lists = _LIST if self.written_lists else ""
        named = {"image": self.image} | {role: name for role, name in roles.items() if name}
        return ",".join(
            f"{role}={name}{lists if role == 'captions' else ''}" for role, name in named.items()
        )


def choose_columns(
    table: Table, wanted: Mapping[str, str], roles: Sequence[Role] = ("image", "captions")
) -> Chosen:
    """The columns for these roles: those that are `wanted`, else the only ones that fit.

    ConfigError names the columns and what they hold when a wanted one is not there, when none fits,
    and when two do.
    """
    kinds = {name: kind_of_column(cells) for name, cells in table.columns.items()}
    kinds |= dict.fromkeys(table.classes, "class")
    taken: dict[str, Any] = {}
    for role in (*roles, "id"):
        written = wanted.get(role)
        if written is not None:
            names = tuple(written.removesuffix(_LIST).split("+"))
            for name in names:
                _check_present(table, kinds, role, name)
        elif role == "id":
            continue
        else:
            names = _fitting(table, kinds, role)
        taken[role] = names if role == "captions" else names[0]
    lists = wanted.get("captions", "").endswith(_LIST)
    return Chosen(**taken, written_lists=lists)


def kind_of_column(cells: Sequence[Any]) -> Kind:
    """What the cells are, by those that are not empty; `other` where they differ or are none of ours."""
    kinds: set[Kind] = set()
    for index in range(min(len(cells), SAMPLE)):
        cell = cells[index]
        if not is_empty(cell):
            kinds.add(_kind_of(cell))
    # A caption may end in .jpg; a name of a file has to.
    if kinds == {"file", "text"}:
        return "text"
    return kinds.pop() if len(kinds) == 1 else "other"


def _kind_of(cell: Any) -> Kind:
    if isinstance(cell, str | PurePath):
        return "file" if has_image_ending(str(cell)) else "text"
    if isinstance(cell, bytes) or hasattr(cell, "getexif"):
        return "image"
    if isinstance(cell, dict):
        return "image" if {"bytes", "path"} & cell.keys() else "other"
    if is_list(cell):
        # An empty item is refused by its row, which says more than that no column fits.
        texts = all(isinstance(item, str) or is_empty(item) for item in cell)
        return "texts" if texts else "other"
    return "other"


def is_list(cell: Any) -> bool:
    """Whether a cell holds several values: a list, a tuple, or an array of numpy."""
    # A scalar of numpy has the empty shape.
    return isinstance(cell, list | tuple) or getattr(cell, "shape", ()) != ()


def is_empty(cell: Any) -> bool:
    """Whether a cell holds nothing: null, the empty text, or the NaN that pandas puts for both."""
    if isinstance(cell, float):
        return math.isnan(cell)
    return cell is None or (isinstance(cell, str) and not cell)


def _fitting(table: Table, kinds: Mapping[str, Kind], role: Role) -> tuple[str, ...]:
    """The columns of a role, by kind, then by name."""
    fitting = [name for name, kind in kinds.items() if kind in FITS[role]]
    if role == "captions":
        numbered = sorted(
            (name for name in fitting if _NUMBERED.fullmatch(name.lower())),
            key=lambda name: int(_NUMBERED.fullmatch(name.lower())[2]),  # type: ignore[index]
        )
        # caption_0, caption_1 ... are one caption of the image each; caption_10 is behind caption_9.
        if numbered:
            return tuple(numbered)
    # Each caption would be a class, under the name that the captions of these images have.
    if role == "label":
        fitting = [name for name in fitting if name.lower() not in _CAPTIONS]
    stored = [name for name in fitting if kinds[name] == "image"]
    # The name of the file beside the image itself is no second image.
    if role == "image" and stored:
        fitting = stored
    named = [name for name in fitting if name.lower() in NAMES[role]]
    if len(fitting) == 1 or len(named) == 1:
        return tuple(named or fitting)
    problem = f"{len(named or fitting)} columns fit" if fitting else "no column fits"
    example = "image=COLUMN,captions=COLUMN" if role != "label" else "image=COLUMN,label=COLUMN"
    raise ConfigError(
        f"{table.name}: {problem} for `{role}`. It has {_in_words(kinds)}. "
        f"Say which with --columns {example}."
    )


def _check_present(table: Table, kinds: Mapping[str, Kind], role: Role, name: str) -> None:
    if name not in kinds:
        raise ConfigError(
            f"{table.name}: no column {name!r} for `{role}`. It has {_in_words(kinds)}. "
            "Correct --columns."
        )
    # A file may have a name without an ending, and a label may be a number.
    impossible = {"image": ("texts", "class"), "captions": ("image", "class"), "label": ("image",)}
    if kinds[name] in impossible.get(role, ()):
        raise ConfigError(
            f"{table.name}: column {name!r} holds {WORDS[kinds[name]]}, which cannot be `{role}`. "
            f"It has {_in_words(kinds)}. Correct --columns."
        )


WORDS: Mapping[Kind, str] = {
    "image": "images",
    "file": "names of image files",
    "text": "texts",
    "texts": "lists of texts",
    "class": "classes",
    "other": "something else",
}


def _in_words(kinds: Mapping[str, Kind]) -> str:
    return ", ".join(f"{name!r} ({WORDS[kind]})" for name, kind in list(kinds.items())[:20])
