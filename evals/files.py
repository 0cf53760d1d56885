"""Writes files that are there whole or not at all, and clears away what killed writers left.

A file is written under the name `.NAME.part` and renamed when it is whole. Its writer holds a lock
on the part (`flock`), which the system releases when the process dies, however it dies. So a part
that nobody holds is a leftover, and the next writer of the file takes it over.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PART = ".part"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that no reader ever meets half of it: to a part, sync, rename.

    The folder must exist. A file of that name is replaced. Writers of one file wait for each other.
    On any error, Ctrl-C included, the part goes and the old file stays. An OSError, such as a full
    disk, names the path.
    """
    part = path.with_name(f".{path.name}{PART}")
    with _held(part) as file:
        try:
            with _named(path):
                file.truncate()  # a killed writer may have left more than we write
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                part.replace(path)
        except BaseException:
            if _is_at(part, file):  # after the rename, it may be that of the next writer
                part.unlink()
            raise
    sync_folder(path.parent)


def sweep_parts(folder: Path) -> None:
    """Remove the parts that killed writers left in a folder; those of living ones stay."""
    for part in folder.glob(f".*{PART}"):
        try:
            descriptor = os.open(part, os.O_RDWR)
        except FileNotFoundError:  # its writer has just renamed it
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink(missing_ok=True)
        except BlockingIOError:  # its writer lives
            continue
        finally:
            os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk: a rename is only then."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with _named(folder):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """An OSError gets the path; the system knows an open file by its number only."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextmanager
def _held(part: Path) -> Iterator[BinaryIO]:
    """The part, open and locked. It is ours alone until it is closed."""
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # while we waited, its writer may have renamed it, or a sweep removed it
            if _is_at(part, file):
                yield file
                return


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
