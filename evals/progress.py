"""Lets library code report progress to a function that its caller passes in, or to nobody."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

# So a caller may show a bar, a percentage, or nothing.
Progress = Callable[[int, int], None]  # called with what is done and the total
Show = Callable[[Sequence[str]], None]  # called with the pieces of a line, the last least needed


@runtime_checkable
class Reporter(Protocol):
    """Where messages and progress go; the command line's `evals.cli.app.Log` is one."""

    def info(self, message: str) -> None:
        """Something that a person at a terminal wants to read while it happens."""
        ...

    def error(self, message: str) -> None:
        """A failure after which the rest goes on."""
        ...

    def progress(self, title: str) -> AbstractContextManager[Progress]:
        """A function that is called with what is done and the total while the context is open."""
        ...


@runtime_checkable
class LineReporter(Reporter, Protocol):
    """A reporter that can show one line about all work, and rewrite it in place."""

    def line(self) -> AbstractContextManager[Show | None]:
        """A function that shows the line while the context is open; None where nobody would see it."""
        ...


@runtime_checkable
class EncodingReporter(Reporter, Protocol):
    """A reporter that counts what is encoded by its kind, because kinds take unlike times."""

    def encoding(self, kind: str | None) -> AbstractContextManager[Progress]:
        """As `progress`; kind None is all images and then all texts."""
        ...


def encoding_progress(
    reporter: Reporter, title: str, kind: str | None
) -> AbstractContextManager[Progress]:
    """The progress of encoding items of a kind, for any reporter; `title` is what a bar is called."""
    if isinstance(reporter, EncodingReporter):
        return reporter.encoding(kind)
    return reporter.progress(title)


class Silent:
    """A reporter that drops everything: library calls print nothing unless they are asked to."""

    def info(self, message: str) -> None:
        """Drop the message."""

    def error(self, message: str) -> None:
        """Drop the message; the failure itself is returned to the caller."""

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        """A function that does nothing."""
        yield lambda done, total: None


SILENT = Silent()
