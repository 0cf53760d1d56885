"""Tables as captioned images: the rows of one image become one image with all their captions."""

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.data.captioned import Captioned, Release
from evals.data.checks import check_texts, is_written_list
from evals.data.columns import Chosen, Table, is_empty, is_list
from evals.data.images import Images, Pictures
from evals.data.table_images import content_of, id_of, named, opened
from evals.schema import InvalidError

MERGED_ROWS = "merged_rows"


@dataclass
class _Group:
    """The rows of one image: the first of them, its content, and all captions in their order."""

    row: int
    content: str
    captions: list[Any] = field(default_factory=list)


def captioned(
    table: Table, chosen: Chosen, *, layout: str, subset: str, folder: Path | None = None
) -> Release:
    """The images of a table with their captions.

    Rows with one caption each may repeat an image, which is known by the column `id`, else by its
    file or content; rows with a list of captions may not. Names of files are relative to `folder`,
    or those of a program where there is none. InvalidError names the row of what is no image or no
    list of captions, and of an id that has two images.
    """
    groups = (
        _by_image(table, chosen) if _have_one_caption(table, chosen) else _by_row(table, chosen)
    )
    rows: list[Captioned] = []
    names = named(table, chosen, [group.row for group in groups])
    for group, name in zip(groups, names, strict=True):
        where = table.where(group.row)
        check_texts(group.captions, where, what="caption", owner=f"image {name!r}")
        rows.append(Captioned(name, tuple(group.captions), where))
    cells = table.columns[chosen.image]
    first_rows = {row.image: group.row for row, group in zip(rows, groups, strict=True)}

    def images(wanted: Sequence[Captioned]) -> Images | Pictures:
        return opened(table, cells, [first_rows[row.image] for row in wanted], folder)

    origin: dict[str, str] = {"columns": str(chosen)}
    if len(groups) < len(table):
        origin[MERGED_ROWS] = str(len(table) - len(groups))
    return Release(layout, table.name, {subset: rows}, images, origin=origin)


def _by_row(table: Table, chosen: Chosen) -> list[_Group]:
    """An image per row: one that comes again has its name twice, which is refused later."""
    return [_Group(row, "", _captions(table, chosen, row)) for row in range(len(table))]


def _by_image(table: Table, chosen: Chosen) -> list[_Group]:
    # A dict keeps the order of first rows, which is that of the images.
    groups: dict[str, _Group] = {}
    for row in range(len(table)):
        content = content_of(table, chosen, row)
        key = id_of(table, chosen.id, row) if chosen.id is not None else content
        group = groups.setdefault(key, _Group(row, content))
        if group.content != content:
            raise InvalidError(
                f"{table.where(row)}: image {key!r} is another than at {table.where(group.row)}. "
                f"Correct column {chosen.id}, or name another as id."
            )
        group.captions += _captions(table, chosen, row)
    return list(groups.values())


def _captions(table: Table, chosen: Chosen, row: int) -> list[Any]:
    """The captions of a row as they are; what is no text is refused with its image later."""
    captions: list[Any] = []
    for name in chosen.captions:
        cell = table.columns[name][row]
        if chosen.written_lists:
            cell = _read_list(cell, f"{table.where(row)}, column {name}")
        elif isinstance(cell, str) and is_written_list(cell):
            raise InvalidError(
                f"{table.where(row)}: column {name} is a list written as a string, {cell[:40]!r}. "
                f"Write real lists, or say that it holds them: --columns captions={name}[]."
            )
        # Images with fewer captions than others have empty cells in the last columns.
        if len(chosen.captions) > 1 and is_empty(cell):
            continue
        captions += list(cell) if is_list(cell) else [cell]
    return captions


def _have_one_caption(table: Table, chosen: Chosen) -> bool:
    """Whether each row holds one caption, so that an image may have several rows."""
    if len(chosen.captions) != 1 or chosen.written_lists:
        return False
    # Every cell is asked: one list among texts would make the merging of its image a guess.
    return not any(map(is_list, table.columns[chosen.captions[0]]))


def _read_list(cell: Any, where: str) -> list[Any]:
    """A list that was written as a string, as JSON or Python writes it."""
    # literal_eval reads literals only, and runs nothing.
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(cell)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(value, list):
            return value
    raise InvalidError(
        f"{where}: {str(cell)[:40]!r} is no list of texts. Correct it, or leave the [] out of "
        "--columns."
    )
