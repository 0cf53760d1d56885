"""What every command shares: messages and progress on stderr, machine output on stdout, errors as exit codes."""

import io
import json as json_module
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from evals.schema import EvalError, MissingError

INTERRUPTED = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Log:
    """Where a command says what it does. Progress bars show on a terminal only."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json

    def info(self, message: str) -> None:
        print(message, file=sys.stderr)  # noqa: T201

    def error(self, message: str) -> None:
        print(f"error: {message}", file=sys.stderr)  # noqa: T201

    def output(self, value: dict[str, Any]) -> None:
        """The machine output of a command: one JSON object on stdout."""
        print(json_module.dumps(value, ensure_ascii=False, allow_nan=False, indent=2))  # noqa: T201

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """A bar that appears with the first report of work to do: `report(done, total)`."""
        from tqdm import tqdm

        bar: tqdm[Any] | None = None

        def report(done: int, total: int) -> None:
            nonlocal bar
            if bar is None:
                bar = tqdm(total=total, desc=title, unit="item", disable=None)
            bar.update(done - bar.n)

        try:
            yield report
        finally:
            if bar is not None:
                bar.close()


@contextmanager
def reported(*, json: bool = False) -> Iterator[Log]:
    """Run a command's body: an EvalError or an error of the operating system becomes one message and its exit code."""
    log = Log(json=json)
    try:
        yield log
    except EvalError as error:
        problem = error
    except BrokenPipeError:  # the reader of stdout has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except OSError as error:
        problem = as_eval_error(error)
    else:
        return
    log.error(str(problem))
    if json:
        log.output({"schema_version": 1, "error": str(problem), "exit_code": problem.exit_code})
    raise typer.Exit(problem.exit_code)


def as_eval_error(error: EvalError | OSError) -> EvalError:
    """Disk full, no permission, a folder that cannot be made: the machine lacks something."""
    if isinstance(error, EvalError):
        return error
    return MissingError(f"{error.filename or 'the operating system'}: {error.strerror or error}.")


def new_app() -> typer.Typer:
    """An app with plain help: rich's would take half a second to import."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def exit_with(app: Callable[[], object]) -> None:
    """Run the app; an interrupt ends it with 130 or 143. What was finished is kept, and the same command goes on from there."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a terminal without Unicode shows ? rather than nothing
            stream.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background job inherits it ignored
    try:
        app()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last finished shard", file=sys.stderr)  # noqa: T201
        sys.exit(INTERRUPTED[signal.SIGINT])


def _terminate(number: int, frame: object) -> None:
    sys.exit(INTERRUPTED[signal.Signals(number)])
