"""Ends a command that has results: writes its files, settles the exit code, then shows the results."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evals.cli.app import Log
from evals.cli.vocabulary import TableFiles
from evals.files import write_atomically


class Output(NamedTuple):
    """A file that an option may ask for: what it is, its path if it is asked for, its content."""

    kind: str
    path: Path | None
    content: Callable[[], str | bytes]


def write_outputs(*outputs: Output) -> dict[str, Path]:
    """Write the files that were asked for, each of them whole, and return them by kind.

    Folders that are missing are made.
    """
    written = {}
    for output in outputs:
        if output.path is not None:
            content = output.content()
            output.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(output.path, content.encode() if isinstance(content, str) else content)
            written[output.kind] = output.path
    return written


def table_outputs(
    files: TableFiles, contents: Mapping[str, Callable[[], str | bytes]]
) -> list[Output]:
    """The files that the options of a table ask for, each with what makes its content."""
    return [Output(kind, path, contents[kind]) for kind, path in files._asdict().items() if path]


def finish(
    log: Log,
    *,
    show: Callable[[], None],
    machine: Callable[[], dict[str, Any]],
    written: Mapping[str, Path] | None = None,
    exit_code: int = 0,
) -> None:
    """Settle the exit code, then call `show`, or with --json print the object that `machine` gives.

    The files in `written` are named after what is shown, and are in the object as `written`.
    """
    # First: a reader that closes the pipe must not turn "regressed" into a success.
    log.settle(exit_code)
    if log.json:
        paths = {kind: str(path) for kind, path in (written or {}).items()}
        log.output(machine() | ({} if written is None else {"written": paths}))
        return
    show()
    for kind, path in (written or {}).items():
        log.result(f"{kind}: {path}")
