"""Tar archives read in place: members by name, from any thread, and nothing is extracted.

Python's tarfile parses the headers, once; members are then read by offset. What an archive of data
has no use for is refused: links, devices, sparse files, names that lead elsewhere. tarfile ends
quietly at a header it cannot read: the end is checked too.
"""

import gzip
import io
import os
import posixpath
import tarfile
import tempfile
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from evals.schema import InvalidError, MissingError

# Of an extended header, which tarfile reads into memory whole.
LARGEST_HEADER = 1_000_000
CHUNK = 1 << 20
_AGAIN = "Copy or download the archive again."

# What tarfile raises on headers that are not what they claim to be.
_BROKEN = (tarfile.TarError, ArithmeticError, LookupError, RecursionError, ValueError)


class Place(NamedTuple):
    """Where the bytes of a member lie in the uncompressed archive."""

    start: int
    size: int


class Archive:
    """An open archive, which closes with its last user.

    `names` are its files in order, `a/b.jpg` for a member `./a//b.jpg`.
    """

    def __init__(self, path: Path, file: io.BufferedIOBase, places: dict[str, Place]) -> None:
        self.path = path
        self.names = list(places)
        self._places = places
        self._descriptor = file.fileno()
        weakref.finalize(self, file.close)

    def read(self, name: str) -> bytes:
        """The bytes of a file; safe to call from several threads.

        InvalidError when there is none of that name.
        """
        if name not in self._places:
            raise InvalidError(f"{self.path}: no file {name!r} in the archive. {_AGAIN}")
        start, size = self._places[name]
        # `pread` moves no position, so that threads share the descriptor.
        try:
            data = os.pread(self._descriptor, size, start)
        except OSError as error:
            raise MissingError(
                f"{self.path}: cannot be read ({error.strerror}). Check the file and its disk."
            ) from None
        if len(data) != size:
            raise InvalidError(
                f"{self.path}, {name!r}: {len(data):,} of {size:,} bytes are left of it. {_AGAIN}"
            )
        return data


def open_tar(
    path: Path,
    *,
    most_members: int = 1_000_000,
    largest_member: int = 100_000_000,
    most_bytes: int = 200_000_000_000,
) -> Archive:
    """A `.tar` where it lies, or a gzipped one, which is told by its first bytes.

    The latter is decompressed once into an unnamed file in TMPDIR. MissingError: the file cannot be
    read. InvalidError names the archive and the member that is refused: a link, a device, a sparse
    file, an absolute name or one with `..`, a name that comes twice, more or larger members than
    allowed, a truncated archive. `most_bytes` limits what is decompressed; a full disk is an
    OSError.
    """
    # On any refusal the file is closed; else the archive closes it.
    file = _opened(path, most_bytes)
    try:
        return Archive(path, file, _places(path, file, most_members, largest_member))
    except BaseException:
        file.close()
        raise


def _opened(path: Path, most_bytes: int) -> io.BufferedIOBase:
    """The uncompressed archive, at its start."""
    if path.exists() and not path.is_file():  # a fifo would be waited for
        raise MissingError(f"{path}: not a file. Point at a tar archive.")
    try:
        file = path.open("rb")
    except OSError as error:
        raise MissingError(
            f"{path}: cannot be read ({error.strerror}). Check the file and its permissions."
        ) from None
    # The magic number of gzip: names such as images.tar say nothing certain.
    if file.peek(2)[:2] != b"\x1f\x8b":
        return file
    with file:
        return _decompressed(path, file, most_bytes)


def _decompressed(path: Path, file: io.BufferedIOBase, most_bytes: int) -> io.BufferedIOBase:
    out = tempfile.TemporaryFile()  # noqa: SIM115 - stays open as long as the archive
    total = 0
    try:
        for chunk in _gunzip(path, file):
            total += len(chunk)
            if total > most_bytes:
                raise InvalidError(
                    f"{path}: more than {most_bytes:,} bytes when decompressed. "
                    "Decompress it by hand if it is meant."
                )
            out.write(chunk)
        # Members are read from the descriptor, below the buffer.
        out.flush()
        out.seek(0)
    except BaseException:
        out.close()
        raise
    return out


def _gunzip(path: Path, file: io.BufferedIOBase) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            while chunk := stream.read(CHUNK):
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidError(f"{path}: broken or truncated gzip ({error}). {_AGAIN}") from None


class _Headers:
    """What tarfile reads headers from.

    It asks for as many bytes as an extended header claims to have, be it -1.
    """

    def __init__(self, file: io.BufferedIOBase) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= LARGEST_HEADER:
            raise tarfile.ReadError(f"an extended header claims {size:,} bytes")
        return self.file.read(size)


def _places(
    path: Path, file: io.BufferedIOBase, most_members: int, largest_member: int
) -> dict[str, Place]:
    end = os.fstat(file.fileno()).st_size
    places: dict[str, Place] = {}
    headers: Any = _Headers(file)
    try:
        with tarfile.open(
            fileobj=headers, mode="r:", encoding="utf-8", errors="surrogateescape"
        ) as tar:
            # `next` gives None behind the last member.
            for count, member in enumerate(iter(tar.next, None), 1):
                # It keeps a kilobyte for each.
                tar.members.clear()  # type: ignore[attr-defined]
                problem = _problem(member, largest_member) or _misfit(member, tar.offset, end)
                # `./a.jpg` and `a.jpg` are one file.
                name = posixpath.normpath(member.name)
                if name in places:
                    problem = "comes twice"
                elif count > most_members:
                    problem = f"is one more than the {most_members:,} members an archive may have"
                if problem:
                    raise InvalidError(
                        f"{path}: member {member.name!r} {problem}. "
                        "Repack the archive, or download it again."
                    )
                if member.isreg():
                    places[name] = Place(member.offset_data, member.size)
            _check_end(path, file, tar.offset, end)
    except _BROKEN as error:
        after = f" after {next(reversed(places))!r}" if places else ""
        raise InvalidError(
            f"{path}: not a whole tar archive, broken{after} ({error}). {_AGAIN}"
        ) from None
    return places


def _problem(member: tarfile.TarInfo, largest: int) -> str:
    """Why a member is refused, or nothing."""
    if member.issym() or member.islnk():
        return f"is a link to {member.linkname!r}"
    if member.issparse():
        return "is a sparse file"
    if not (member.isreg() or member.isdir()):
        return "is neither a file nor a folder"
    # Nothing is unpacked, but what leads out was made by someone who meant it.
    parts = member.name.split("/")
    if (
        not member.name
        or not parts[0]
        or ".." in parts
        or (member.isreg() and parts[-1] in ("", "."))
    ):
        return "has a name that is not a path inside the archive"
    if "\0" in member.name or any("\ud800" <= c <= "\udfff" for c in member.name):
        return "has a name that is not UTF-8 text"
    if member.size > largest:
        return f"has {member.size:,} bytes and may have {largest:,}"
    return ""


def _misfit(member: tarfile.TarInfo, following: int, end: int) -> str:
    """Headers may give a file two sizes, or a negative one, which would be read again and again."""
    if not member.isreg():
        return ""
    # A size in a pax header replaces that of the header itself, which tarfile has then gone by.
    if (
        member.size < 0
        or following
        != member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    ):
        return "has headers that disagree about its size"
    return "is cut off: the archive is truncated" if member.offset_data + member.size > end else ""


def _check_end(path: Path, file: io.BufferedIOBase, start: int, end: int) -> None:
    """After the last member comes nothing, or a block of zeros with zeros behind it."""
    file.seek(start)
    block = file.read(tarfile.BLOCKSIZE)
    if start > end or 0 < len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("truncated")
    if block.strip(b"\0"):
        raise tarfile.ReadError(f"a bad header at byte {start:,}")
    while chunk := file.read(CHUNK):
        if chunk.strip(b"\0"):
            raise InvalidError(
                f"{path}: more data behind the end of the archive. "
                "If it is two archives joined, repack it as one."
            )
