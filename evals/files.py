"""Writes files and folders that are there whole or not at all, and clears away what killed writers left.

A file is written under the name `.NAME.part` and renamed when it is whole. Its writer holds a lock
on the part (`flock`), which the system releases when the process dies, however it dies. So a part
that nobody holds is a leftover, and the next writer of the file takes it over. A folder is built
aside in the same way, and takes the place of the old one by two renames.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PART = ".part"
# What file systems without hard links say.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that no reader ever meets half of it; see `writing_atomically`."""
    with writing_atomically(path) as file:
        file.write(data)


@contextmanager
def writing_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which is at `path` once the block ends well: to a part, sync, rename.

    The folder must exist. A file of that name is replaced. Writers of one file wait for each other.
    A device or a pipe is refused, not replaced; where `path` is a link, what it leads to is written.
    On any error, Ctrl-C included, the part goes and the old file stays. An OSError, such as a full
    disk, names the path.
    """
    # a rename would put the file in the place of the link, and leave its target old
    path = path.resolve() if path.is_symlink() else path
    _refuse_special(path)
    with _new_part(path) as file:
        yield file
        _sync_file(file)
        _part_of(path).replace(path)
    sync_folder(path.parent)


def _refuse_special(path: Path) -> None:
    # As root, the rename would put a file in the place of /dev/full, for the whole machine.
    if path.exists() and not (path.is_file() or path.is_dir()):
        reason = "it is a device, a pipe or a socket; name a file"
        raise OSError(errno.EINVAL, reason, str(path))


def put_if_absent(path: Path, data: bytes) -> bool:
    """Write a file unless there is one of that name; False where there is, and it stays as it is.

    Of several writers, on several machines too, one succeeds: a hard link is made, or it is not.
    The folder must exist. An OSError names the path.
    """
    with _new_part(path) as file:
        file.write(data)
        _sync_file(file)
        is_new = _link_if_absent(_part_of(path), path)
        sync_folder(path.parent)
    return is_new


@contextmanager
def _new_part(path: Path) -> Iterator[BinaryIO]:
    """The part of a file, empty and ours; what the block leaves of it goes."""
    part = _part_of(path)
    try:
        with held(part) as file:
            with named(path):
                file.truncate()  # a killed writer may have left more than we write
                yield file
            if _is_at(part, file.fileno()):  # after a rename, it may be that of the next writer
                part.unlink()
    except OSError as error:
        # Who named the file has not heard of its part.
        if str(error.filename) == str(part):
            error.filename = str(path)
        raise


def _sync_file(file: BinaryIO) -> None:
    file.flush()
    # Before it gets its name: else a power cut may leave the name with an empty file.
    os.fsync(file.fileno())


def _link_if_absent(part: Path, path: Path) -> bool:
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # FAT and some of FUSE have no links. What is left between these two steps, writers close by
        # a claim (evals.embeddings.claims).
        if path.exists():
            return False
        part.replace(path)
    return True


def sweep_parts(folder: Path) -> None:
    """Remove the parts that killed writers left in a folder; those of living ones stay."""
    for part in folder.glob(f".*{PART}"):
        _sweep(part)


def _sweep(part: Path) -> None:
    try:
        descriptor = os.open(part, os.O_RDWR)
    except FileNotFoundError:  # its writer has just renamed it
        return
    try:
        # The lock tells a leftover from a part that is being written, whatever their ages.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another sweep may have removed it since, and a living writer begun a new one.
        if _is_at(part, descriptor):
            part.unlink()
    except BlockingIOError:  # its writer lives
        return
    finally:
        os.close(descriptor)


@contextmanager
def held(part: Path) -> Iterator[BinaryIO]:
    """A part, open and locked until the block ends or the process dies. Others wait for it.

    On any error the part goes. Ctrl-C may come between any two steps, even between those that make
    the part and those of the block, so a block cannot see to that.
    """
    try:
        while True:
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
            with os.fdopen(descriptor, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                # while we waited, its writer may have renamed it, or a sweep removed it
                if not _is_at(part, file.fileno()):
                    continue
                # Its writer was killed after it had linked it to its final name: to write into it
                # would be to write into what is committed.
                if os.fstat(descriptor).st_nlink > 1:
                    part.unlink()
                    continue
                yield file
                return
    except BaseException:
        with suppress(OSError):  # what went wrong is said already
            _sweep(part)
        raise


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Alone with what a lock file stands for. The file goes with the lock."""
    with held(lock):
        yield
        lock.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk: a rename is only then."""
    _sync(folder)


@contextmanager
def replacement(folder: Path) -> Iterator[Path]:
    """A new, empty folder to fill, which takes the place of `folder` when the block ends well.

    Where the block or the exchange fails, the old folder stays, or comes back. A process that is
    killed leaves the old one or the new one; between the two renames the old one has another name,
    and the next replacement gives it back before its block begins. Writers of one folder wait for
    each other. An OSError names the path.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(f".{folder.name}.new{PART}")
    old = folder.with_name(f".{folder.name}.old{PART}")
    with ExitStack() as held_lock:
        try:
            held_lock.enter_context(alone(folder.with_name(f".{folder.name}.lock")))
        except OSError as error:
            # Who named the folder has not heard of its lock.
            error.filename = str(folder)
            raise
        _settle(folder, new, old)
        try:
            new.mkdir()
            yield new
            _sync_tree(new)
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
            sync_folder(folder.parent)
            _settle(folder, new, old)
        except BaseException:
            _settle(folder, new, old)  # again, where Ctrl-C came while the old one was removed
            raise


def _settle(folder: Path, new: Path, old: Path) -> None:
    """Give the old folder its name back where the new one has not taken it; remove the others."""
    # Both lie aside only between the renames. An old one alone may be half removed.
    if new.exists() and old.exists() and not folder.exists():
        old.rename(folder)
    for aside in (new, old):
        if aside.exists():
            shutil.rmtree(aside)


def _sync_tree(folder: Path) -> None:
    """Wait until all below a folder is on disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            if not file.is_symlink():
                _sync(file)
        _sync(Path(place))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with named(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Puts the path into an OSError: the system knows an open file by its number only."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}{PART}")


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
