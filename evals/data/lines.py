"""Lines of a text file one at a time, plain or gzipped: a corpus may be larger than memory."""

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from evals.counts import counted
from evals.reading import Line, parse_json
from evals.schema import InvalidError, MissingError

_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"  # RFC 1952, whatever the file is called


def stream_lines(file: Path) -> Iterator[Line]:
    """The lines of a UTF-8 file, ended by LF or CRLF only, with or without a byte order mark.

    MissingError: the file cannot be read. InvalidError: a line is not UTF-8, or the gzip is broken.
    """
    try:
        with _opened(file) as stream:
            for number, data in enumerate(stream, 1):
                where = f"{file}, line {number}"
                # Windows' editors put the mark before the first id, which no judgement has.
                line = data.removeprefix(_BOM) if number == 1 else data
                yield Line(_decoded(line.removesuffix(b"\n").removesuffix(b"\r"), where), where)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidError(f"{file}: broken gzip ({error}). Copy the file again.") from None
    except IsADirectoryError:
        raise MissingError(f"{file}: a folder. Name the file in it.") from None
    except OSError as error:
        raise MissingError(
            f"{file}: cannot be read ({error.strerror}). Check the file and its permissions."
        ) from None


def stream_json(file: Path) -> Iterator[tuple[Any, str]]:
    """The JSON value of each line, and where it stands; InvalidError also for an empty line."""
    for line in stream_lines(file):
        if not line.text.strip():
            raise InvalidError(
                f"{line.where}: is empty, where a JSON value is expected. Remove it."
            )
        yield parse_json(line.text, line.where), line.where


def stream_cells(file: Path, names: tuple[str, ...]) -> Iterator[tuple[list[str], str]]:
    """The cells of each line, parted by tabs, and where it stands.

    InvalidError for a line of more or fewer cells than `names`, which messages give.
    """
    for line in stream_lines(file):
        cells = line.text.split("\t")
        if len(cells) != len(names):
            raise InvalidError(
                f"{line.where}: {counted(len(cells), 'cell')}, where {len(names)} are expected "
                f"({', '.join(names)}) with a tab between them. Correct the line."
            )
        yield cells, line.where


def first_line(file: Path) -> str:
    """The first line, empty for an empty file: what tells one layout from another."""
    return next((line.text for line in stream_lines(file)), "")


def _opened(file: Path) -> BufferedReader | gzip.GzipFile:
    # By its first bytes: browsers unpack a download and leave its name, or the other way round.
    with file.open("rb") as stream:
        zipped = stream.read(2) == _GZIP
    return gzip.GzipFile(file) if zipped else file.open("rb")


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as problem:
        raise InvalidError(
            f"{where}: not UTF-8 ({problem.reason}). Convert the file to UTF-8."
        ) from None
