"""A disk that fails: the n-th open, write, fsync, rename or mkdir below a folder, with an error that disks and kernels have.

The functions of `os` and `io` through which Python writes are replaced while a `FailingDisk` is entered. What is read, and
what lies elsewhere, is left alone.
"""

import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Fault(NamedTuple):
    """What goes wrong in which kind of step; a short write has put half of its bytes on disk."""

    step: str
    number: int
    short: bool = False

    def __str__(self) -> str:
        return f"{self.step} {errno.errorcode[self.number]}{' short' if self.short else ''}"


FAULTS = (
    Fault("open", errno.EACCES),
    Fault("open", errno.ENOSPC),
    Fault("open", errno.EMFILE),
    Fault("write", errno.ENOSPC),
    Fault("write", errno.ENOSPC, short=True),
    Fault("write", errno.EIO),
    Fault("fsync", errno.EIO),
    Fault("fsync", errno.ENOSPC),
    Fault("rename", errno.EACCES),
    Fault("rename", errno.EIO),
    Fault("link", errno.EPERM),
    Fault("mkdir", errno.ENOSPC),
    Fault("mkdir", errno.EACCES),
)


class FailingDisk:
    """Fails the n-th step of a fault's kind below `root`, from 1; `steps` says how many there were.

    `log` has the kind and path of each step of any kind; renames and links are there by their source.
    """

    def __init__(self, root: Path, fault: Fault, n: int) -> None:
        self.root, self.fault, self.n = str(root), fault, n
        self.steps = 0
        self.log: list[tuple[str, str]] = []
        wrappers = (
            (builtins, "open", self._opening_file),
            (io, "open", self._opening_file),
            (os, "fdopen", self._opening_file),
            (os, "fsync", self._syncing),
            (os, "link", self._linking),
            (os, "mkdir", self._making),
            (os, "open", self._opening),
            (os, "rename", self._renaming),
            (os, "replace", self._renaming),
            (os, "sendfile", self._sending),
        )
        self._patches = [
            patch.object(module, name, wrapper(getattr(module, name)))
            for module, name, wrapper in wrappers
        ]

    def __enter__(self) -> "FailingDisk":
        for each in self._patches:
            each.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for each in self._patches:
            each.stop()

    @property
    def failed(self) -> bool:
        """Whether the step came that fails."""
        return self.steps >= self.n

    def step(self, kind: str, path: object, half: Callable[[], object] = lambda: None) -> None:
        """Count a step, or fail it after `half` of it was done."""
        if not str(path).startswith(self.root):
            return
        self.log.append((kind, str(path)))
        if kind != self.fault.step:
            return
        self.steps += 1
        if self.steps == self.n:
            if self.fault.short:
                half()
            raise OSError(self.fault.number, os.strerror(self.fault.number), *self._named(path))

    def _named(self, path: object) -> tuple[str, ...]:
        """The kernel names a file by its number where it is written, so errors of that name none."""
        return () if self.fault.step in ("write", "fsync") else (str(path),)

    def _opening(self, real: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
            if flags & WRITING:
                self.step("open", path)
            return real(path, flags, *more, **named)

        return opened

    def _opening_file(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
            path = _path_of(file)
            if not set(mode) & set("wax+") or not path.startswith(self.root):
                return real(file, mode, *more, **named)
            if not isinstance(file, int):
                self.step("open", path)
            return _File(real(file, mode, *more, **named), path, self)

        return opened

    def _syncing(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def synced(descriptor: int) -> None:
            self.step("fsync", _path_of(descriptor))
            real(descriptor)

        return synced

    def _sending(self, real: Callable[..., int]) -> Callable[..., int]:
        def sent(out: int, *more: Any, **named: Any) -> int:
            self.step("write", _path_of(out))
            return real(out, *more, **named)

        return sent

    def _renaming(self, real: Callable[..., None]) -> Callable[..., None]:
        def renamed(source: Any, target: Any, **named: Any) -> None:
            self.step("rename", source)
            real(source, target, **named)

        return renamed

    def _linking(self, real: Callable[..., None]) -> Callable[..., None]:
        def linked(source: Any, target: Any, **named: Any) -> None:
            self.step("link", source)
            real(source, target, **named)

        return linked

    def _making(self, real: Callable[..., None]) -> Callable[..., None]:
        def made(path: Any, *more: Any, **named: Any) -> None:
            if not Path(path).is_dir():
                self.step("mkdir", path)
            real(path, *more, **named)

        return made


class _File:
    """An open file whose writes are steps."""

    def __init__(self, file: Any, path: str, disk: FailingDisk) -> None:
        self._file, self._path, self._disk = file, path, disk

    def write(self, data: Any) -> int:
        self._disk.step("write", self._path, lambda: self._half(data))
        return int(self._file.write(data))

    def _half(self, data: Any) -> None:
        self._file.write(data[: len(data) // 2])
        self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def _path_of(file: object) -> str:
    """The path of a file, or of an open descriptor."""
    return str(Path(f"/proc/self/fd/{file}").readlink()) if isinstance(file, int) else str(file)
