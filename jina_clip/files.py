"""Moves a finished file into its place, so that a power cut leaves either the old file or the whole new one."""

import os
from pathlib import Path


def part_of(path: Path) -> Path:
    """Where a file is written until it is whole: beside its place, so that a rename suffices."""
    return path.with_name(path.name + ".part")


def put_in_place(path: Path) -> None:
    """Rename the part of `path` to it, once all its bytes are on disk; the old file goes."""
    part = part_of(path)
    # Without the first, a power cut may leave the name with an empty file; without the second, the
    # old name (rename(2) is atomic to readers, and promises nothing about the disk).
    _sync(part)
    part.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
