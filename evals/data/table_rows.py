"""Tables as captioned images: the rows of one image become one image with all their captions."""

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from evals.data.captioned import Captioned, Release
from evals.data.checks import check_texts, is_written_list
from evals.data.clip_benchmark import FLICKR_FOLDERS
from evals.data.columns import Chosen, Table, is_empty, is_list
from evals.data.fields import kind_of
from evals.data.images import Images, Pictures, content_hash, image_files
from evals.data.releases import located
from evals.data.sides import pixel_hash
from evals.schema import InvalidError

MERGED_ROWS = "merged_rows"


@dataclass
class _Group:
    """The rows of one image: the first of them, and all captions in their order."""

    row: int
    name: str
    captions: list[Any] = field(default_factory=list)


def captioned(
    table: Table, chosen: Chosen, *, layout: str, subset: str, folder: Path | None = None
) -> Release:
    """The images of a table with their captions.

    Rows with one caption each may repeat an image, which is known by its file, else by the column
    `id`, else by its content; rows with a list of captions may not. Names of files are relative to
    `folder`, or those of a program where there is none. InvalidError names the row of what is no
    image or no list of captions.
    """
    cells = table.columns[chosen.image]
    single = _have_one_caption(table, chosen)
    groups: dict[Any, _Group] = {}
    for row in range(len(table)):
        key = _key(table, chosen, row, by_content=single)
        # Rows with lists that repeat an image stay apart, and are refused by name later.
        group = groups.setdefault(key if single else (row, key), _Group(row, ""))
        group.captions += _captions(table, chosen, row)
    listed = list(groups.values())
    names = _names(table, chosen, [group.row for group in listed])
    for group, name in zip(listed, names, strict=True):
        group.name = name
        where = table.where(group.row)
        check_texts(group.captions, where, what="caption", owner=f"image {name!r}")
    rows = [
        Captioned(group.name, tuple(group.captions), table.where(group.row)) for group in listed
    ]
    first_rows = {group.name: group.row for group in listed}

    def images(wanted: Sequence[Captioned]) -> Images | Pictures:
        if _is_file(cells[listed[0].row]):
            return _files(wanted, folder)
        return stored_images(table, cells, [first_rows[row.image] for row in wanted], folder)

    origin: dict[str, str] = {"columns": str(chosen)}
    if len(listed) < len(table):
        origin[MERGED_ROWS] = str(len(table) - len(listed))
    return Release(layout, table.name, {subset: rows}, images, origin=origin)


def opened(table: Table, image: str, folder: Path | None) -> Images | Pictures:
    """The images of all rows, which are read when they are indexed."""
    cells = table.columns[image]
    if cells and _is_file(cells[0]):
        rows = [Captioned(str(cell), (), table.where(n)) for n, cell in enumerate(cells)]
        return _files(rows, folder)
    return stored_images(table, cells, range(len(table)), folder)


def image_names(table: Table, chosen: Chosen) -> list[str]:
    """The ids of the images of all rows."""
    return _names(table, chosen, range(len(table)))


def stored_bytes(cell: Any, where: str, folder: Path | None = None) -> bytes:
    """The bytes of an encoded image in a cell, or in the file that the cell names.

    InvalidError names the row of a cell that is no image. Errors of files are those of image_files.
    """
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell)
    if isinstance(cell, dict) and cell.get("bytes") is not None:
        return bytes(cell["bytes"])
    name = cell.get("path") if isinstance(cell, dict) else cell
    if not isinstance(name, str | PurePath) or not str(name):
        raise InvalidError(
            f"{where}: the image is {kind_of(cell)}, or is empty. Give its file, or its bytes."
        )
    return _files([Captioned(str(name), (), where)], folder).read(0)


def _files(rows: Sequence[Captioned], folder: Path | None) -> Images:
    # A file names what lies beside it; a program may name any file of this machine.
    if folder is not None:
        return located(folder, FLICKR_FOLDERS)(rows)
    return image_files([Path(row.image).expanduser() for row in rows])


def stored_images(
    table: Table, cells: Sequence[Any], rows: Sequence[int], folder: Path | None
) -> Images | Pictures:
    """The images in the cells of some rows: Pillow images, encoded bytes, or names of files."""
    names = [table.where(row) for row in rows]
    if rows and _is_picture(cells[rows[0]]):
        return Pictures([_picture(cells[row], table.where(row)) for row in rows], names)
    return Images(names, lambda index: stored_bytes(cells[rows[index]], names[index], folder))


def _key(table: Table, chosen: Chosen, row: int, *, by_content: bool) -> Any:
    """What tells the image of a row from others."""
    if chosen.id is not None:
        return str(table.columns[chosen.id][row])
    cell = table.columns[chosen.image][row]
    if _is_file(cell):
        return str(cell)
    return _content(cell, table.where(row)) if by_content else row


def _content(cell: Any, where: str) -> str:
    return pixel_hash(cell) if _is_picture(cell) else content_hash(stored_bytes(cell, where))


def _names(table: Table, chosen: Chosen, rows: Sequence[int]) -> list[str]:
    """The ids of images: the column `id`, names of files where they are all different, else rows."""
    if chosen.id is not None:
        return [str(table.columns[chosen.id][row]) for row in rows]
    cells = [table.columns[chosen.image][row] for row in rows]
    if all(map(_is_file, cells)):
        return [str(cell) for cell in cells]
    paths = [cell.get("path") if isinstance(cell, dict) else None for cell in cells]
    files = [PurePath(path).name for path in paths if path]
    if len(set(files)) == len(cells):
        return files
    return [str(row) for row in rows]


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
        captions += cell if is_list(cell) else [cell]
    return captions


def _have_one_caption(table: Table, chosen: Chosen) -> bool:
    """Whether each row holds one caption, so that an image may have several rows."""
    if len(chosen.captions) != 1 or chosen.written_lists:
        return False
    return not any(map(is_list, table.columns[chosen.captions[0]]))


def _read_list(cell: Any, where: str) -> list[Any]:
    """A list that was written as a string, as Python or JSON writes it."""
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


def _is_file(cell: Any) -> bool:
    return isinstance(cell, str | PurePath)


def _is_picture(cell: Any) -> bool:
    return hasattr(cell, "getexif")


def _picture(cell: Any, where: str) -> Any:
    if not _is_picture(cell):
        raise InvalidError(
            f"{where}: the image is {kind_of(cell)}, where others are Pillow images. "
            "Give all in one form."
        )
    return cell
