"""The images of a table: their names, what tells them apart, and how they are opened.

A cell is the name of an image file, encoded bytes, a struct of both as `datasets` stores it, or a
Pillow image. All cells of a column are of one form.
"""

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from evals.data.captioned import Captioned
from evals.data.clip_benchmark import FLICKR_FOLDERS
from evals.data.columns import Chosen, Table
from evals.data.fields import kind_of
from evals.data.images import Images, Pictures, content_hash, image_files
from evals.data.releases import located
from evals.data.sides import pixel_hash
from evals.schema import InvalidError


def named(table: Table, chosen: Chosen, rows: Sequence[int]) -> list[str]:
    """The images of rows: by the column `id`, by their file names, else by the number of the row.

    Of files that are all called differently the folders are no part of the name, so that the same
    photographs have the same names in every layout.
    """
    if chosen.id is not None:
        return [id_of(table, chosen.id, row) for row in rows]
    cells = table.columns[chosen.image]
    files = [_file_of(cells[row]) for row in rows]
    short = [PurePath(file).name for file in files if file]
    if len(set(short)) == len(files):
        return short
    # A file that comes twice keeps its path, by which it is refused; an image without a file has none.
    is_path = bool(rows) and _is_file(cells[rows[0]])
    return [str(file) if is_path else str(row) for file, row in zip(files, rows, strict=True)]


def id_of(table: Table, column: str, row: int) -> str:
    """The id of a row as text; InvalidError for a cell that is neither a text nor a whole number."""
    cell = table.columns[column][row]
    # 1.0 and 1 would be two ids, and NaN is none.
    if not isinstance(cell, str | int) or isinstance(cell, bool):
        raise InvalidError(
            f"{table.where(row)}: the id in column {column} is {kind_of(cell)}, neither a string "
            "nor a whole number. Correct it."
        )
    return str(cell)


def content_of(table: Table, chosen: Chosen, row: int) -> str:
    """What tells the image of a row from others: its file, else the hash of its bytes or pixels."""
    cell = table.columns[chosen.image][row]
    if _is_file(cell):
        return str(cell)
    if _is_picture(cell):
        return pixel_hash(cell)
    return content_hash(stored_bytes(cell, table.where(row)))


def opened(
    table: Table, cells: Sequence[Any], rows: Sequence[int], folder: Path | None
) -> Images | Pictures:
    """The images in the cells of rows, read when they are indexed; names of files are relative to `folder`.

    InvalidError names the row of a cell that is no image, or of another form than the first.
    """
    names = [table.where(row) for row in rows]
    if rows and _is_file(cells[rows[0]]):
        files = []
        for row, name in zip(rows, names, strict=True):
            _check_form(_is_file(cells[row]), cells[row], name, "names of files")
            files.append(Captioned(str(cells[row]), (), name))
        return _files(files, folder)
    if rows and _is_picture(cells[rows[0]]):
        for row, name in zip(rows, names, strict=True):
            _check_form(_is_picture(cells[row]), cells[row], name, "Pillow images")
        return Pictures([cells[row] for row in rows], names)
    return Images(names, lambda index: stored_bytes(cells[rows[index]], names[index], folder))


def stored_bytes(cell: Any, where: str, folder: Path | None = None) -> bytes:
    """The bytes of an encoded image in a cell, or in the file that the cell names.

    InvalidError names the row of a cell that is no image. Errors of files are those of image_files.
    """
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell)
    if isinstance(cell, dict) and cell.get("bytes") is not None:
        return bytes(cell["bytes"])
    name = _file_of(cell)
    if not name:
        raise InvalidError(
            f"{where}: the image is {kind_of(cell)}, or is empty. Give its file, or its bytes."
        )
    return _files([Captioned(name, (), where)], folder).read(0)


def _check_form(fits: bool, cell: Any, where: str, form: str) -> None:
    if not fits:
        raise InvalidError(
            f"{where}: the image is {kind_of(cell)}, where others are {form}. Give all in one form."
        )


def _files(rows: Sequence[Captioned], folder: Path | None) -> Images:
    # A file names what lies beside it; a program may name any file of this machine.
    if folder is not None:
        return located(folder, FLICKR_FOLDERS)(rows)
    return image_files([Path(row.image).expanduser() for row in rows])


def _file_of(cell: Any) -> str | None:
    """The file that a cell names, be it beside the bytes of the image."""
    name = cell.get("path") if isinstance(cell, dict) else cell
    return str(name) if _is_file(name) and str(name) else None


def _is_file(cell: Any) -> bool:
    return isinstance(cell, str | PurePath)


def _is_picture(cell: Any) -> bool:
    # Of all that may stand in a cell only a Pillow image has EXIF entries.
    return hasattr(cell, "getexif")
