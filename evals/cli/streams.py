"""Standard streams that cannot fail: a closed pipe or a full disk changes no exit code.

Whoever prints sees each write succeed. What cannot be written is dropped. Where that is a fault of
the machine, and not a reader such as `head` that has seen enough, stderr says so once.
"""

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


def hold_streams() -> None:
    """Put such streams in place of the standard ones; what they have no letter for becomes `?`."""
    for descriptor in range(3):
        _open_when_closed(descriptor)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = _held(sys.stdout, 1)
    sys.stderr = _held(sys.stderr, 2)


class HeldStream(io.BufferedIOBase):
    """A file descriptor to write to. After its first failure it leads to nowhere.

    That holds for C libraries and child processes, too.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: "Buffer") -> int:
        # write(2) may take a part, and text streams take that for all.
        unwritten = memoryview(data).cast("B")
        length = unwritten.nbytes
        while unwritten:
            try:
                unwritten = unwritten[os.write(self._descriptor, unwritten) :]
            except BlockingIOError:  # a pipe that its other end has made non-blocking is full
                select.select([], [self._descriptor], [])
            except OSError as error:
                self._lead_to_nowhere(error)
        return length

    def _lead_to_nowhere(self, error: OSError) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._descriptor)
        os.close(nowhere)
        # A broken pipe is no fault: `head` has seen enough.
        if error.errno != errno.EPIPE:
            message = f"output is lost from here on: {error.strerror}\n"
            with suppress(OSError):  # not through sys.stderr, which may be the stream that fails
                os.write(2, message.encode())


def _open_when_closed(descriptor: int) -> None:
    """Open a stream that a shell's `>&-` has closed.

    The next file would get its number, and whoever prints would write into it.
    """
    try:
        os.fstat(descriptor)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != descriptor:
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def _held(stream: IO[str] | None, descriptor: int) -> IO[str]:
    if stream is None:
        encoding, line_buffering, write_through = "utf-8", True, False
    elif isinstance(stream, io.TextIOWrapper):
        encoding, line_buffering = stream.encoding, stream.line_buffering
        write_through = stream.write_through
    else:  # not this process's own: a test's or a notebook's
        return stream
    # no BufferedWriter between them: a signal in the middle of a write would make it write twice
    return io.TextIOWrapper(
        HeldStream(descriptor),  # type: ignore[type-var]
        encoding=encoding,
        errors="replace",
        line_buffering=line_buffering,
        write_through=write_through,
    )
