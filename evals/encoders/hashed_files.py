"""Checks that files which were hashed when a run began are the same when their rows are made.

The weights of a model on a CPU may stay in their file, mapped into memory: who overwrites it
changes the rows of a model that was loaded long ago. So a model's files are looked at after each
side.
"""

import hashlib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from evals.schema import InvalidError


class HashedFile(NamedTuple):
    """A file and its sha256, with the stamp that it had: any writing gives it another one."""

    path: Path
    sha256: bytes
    stamp: tuple[int, ...]


def hash_file(path: Path) -> HashedFile:
    """Hash a file. InvalidError when it changes meanwhile, OSError when it cannot be read."""
    stamp = _stamp(path)
    digest = _sha256(path)
    if _stamp(path) != stamp:
        raise InvalidError(f"{path}: changes while it is read. Let nothing write there.")
    return HashedFile(path, digest, stamp)


def hash_folder(folder: Path, *, ignore: Sequence[str] = ()) -> list[HashedFile]:
    """Hash all files of a folder, in the order of their paths.

    `ignore` holds fnmatch patterns of paths below the folder. Errors as those of `hash_file`.
    """
    files = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(fnmatch(name, pattern) for pattern in ignore):
            files.append(hash_file(path))
    return files


def content_hash(folder: Path, files: Iterable[HashedFile]) -> str:
    """One sha256 (hex) over the names and contents of files of a folder."""
    digest = hashlib.sha256()
    for file in files:
        name = file.path.relative_to(folder).as_posix()
        # The zero ends the name, so that no other pair of name and content gives the same bytes.
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + file.sha256)
    return digest.hexdigest()


def check_unchanged(files: Iterable[HashedFile]) -> None:
    """InvalidError names the first file that no longer holds what was hashed.

    A file that was only touched is hashed again and passes.
    """
    for file in files:
        try:
            # The stamp first: to hash again after each side would read gigabytes for every shard.
            same = _stamp(file.path) == file.stamp or _sha256(file.path) == file.sha256
        except OSError:
            same = False
        if not same:
            raise InvalidError(
                f"{file.path}: was changed after this run had hashed it, so rows would be recorded "
                "as those of other weights. Let nothing write there, and run again."
            )


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _stamp(path: Path) -> tuple[int, ...]:
    status = path.stat()
    # ctime, too: mtime can be set back, as `cp -p` and `rsync` do, and ctime cannot.
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
