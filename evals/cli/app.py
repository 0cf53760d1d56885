"""What every command shares: messages, machine output, and an exit code that nothing takes back.

A command computes, settles its exit code with `Log.settle`, and prints last. Printing cannot fail
(`streams.py`). Whatever else goes wrong after a verdict is told, and the verdict's code stands.
"""

import json as json_module
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from evals.cli.faults import in_short, report_of
from evals.cli.streams import hold_streams
from evals.early import FAULT, GOES_ON, INTERRUPTED, is_held_off
from evals.escape import visible, visible_json
from evals.os_errors import as_eval_error
from evals.quiet import between_words, print_error, quiet_libraries
from evals.schema import EvalError


class Log:
    """Where a command says what it does.

    Progress bars show on a terminal only, and no terminal obeys a name in a message.
    """

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self.exit_code = 0
        self.answered = False

    def settle(self, exit_code: int) -> None:
        """What the command ends with, before it prints anything; later failures change only a 0."""
        self.exit_code = exit_code

    def info(self, message: str) -> None:
        """One line on stderr, above whatever is rewritten there in place."""
        print_error(message)

    # Results to stdout, everything else to stderr: what is piped on holds no message.
    def error(self, message: str) -> None:
        """One line on stderr that says what went wrong."""
        self.info(f"error: {message}")

    def result(self, line: str) -> None:
        """One line of what was asked for, on stdout."""
        print(between_words(visible(line), sys.stdout))  # noqa: T201

    def output(self, value: dict[str, Any]) -> None:
        """The machine output of a command: one JSON object on stdout."""
        # NaN is no JSON (RFC 8259), and a reader would fail on it far from here.
        text = json_module.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
        self.answered = True
        print(visible_json(text))  # noqa: T201

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """A bar that appears with the first report of work to do: `report(done, total)`."""
        from tqdm import tqdm

        bar: tqdm[Any] | None = None

        def report(done: int, total: int) -> None:
            nonlocal bar
            # Not before: where all is in the store there is nothing to wait for, and no bar.
            if bar is None:
                # disable=None is tqdm's word for "unless this is a terminal".
                bar = tqdm(total=total, desc=visible(title), unit="item", disable=None)
            bar.update(done - bar.n)

        try:
            yield report
        finally:
            if bar is not None:
                bar.close()

    @contextmanager
    def line(self) -> Iterator[Callable[[Sequence[str]], None] | None]:
        """One line at the bottom of a terminal that is rewritten in place; None where there is none.

        It is called with the pieces of the line. Those that a narrow terminal has no room for are
        left out, the last one first.
        """
        if not sys.stderr.isatty():
            yield None
            return
        from tqdm import tqdm

        # tqdm moves the cursor, and lets messages pass above; what the line says is not its business.
        bar = tqdm(bar_format="{desc}", leave=False)

        def show(pieces: Sequence[str]) -> None:
            bar.set_description_str(_fitting([visible(piece) for piece in pieces]))

        try:
            yield show
        finally:
            bar.close()


@contextmanager
def reported(*, json: bool = False) -> Iterator[Log]:
    """Run a command's body and end with the code that it settled.

    An EvalError and an error of the operating system become one message and their exit code,
    any other exception a report to send and 70; a code that was settled before stands.
    """
    log = Log(json=json)
    try:
        yield log
    # typer's own way to end, with the code that it carries.
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except (EvalError, OSError) as error:
        problem = as_eval_error(error)
        log.error(str(problem))
        _fail(log, str(problem), problem.exit_code)
    except Exception as error:
        _tell_fault(error)
        _fail(log, in_short(error), FAULT)
    if log.exit_code:
        raise typer.Exit(log.exit_code)


def _fitting(pieces: Sequence[str]) -> str:
    """As many whole pieces as one line of the terminal has room for."""
    from rich.cells import cell_len

    # Not the environment's COLUMNS, nor stdout, which may be a file. Some terminals say 0.
    columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    # A line that fills the last column would wrap on some terminals.
    width = columns - 1
    line = ""
    for piece in pieces:
        longer = f"{line} · {piece}" if line else piece
        if cell_len(longer) > width:
            break
        line = longer
    return line


def _fail(log: Log, message: str, exit_code: int) -> None:
    # What failed after a verdict, such as a figure, does not change it.
    log.settle(log.exit_code or exit_code)
    # One object on stdout and no second one: a parser reads to the end of the first.
    if log.json and not log.answered:
        log.output({"schema_version": 1, "error": message, "exit_code": log.exit_code})


def new_app() -> typer.Typer:
    """An app with plain help: rich's would take half a second to import."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def exit_with(app: Callable[[], object]) -> None:
    """Run the app. A signal ends it with 129, 130 or 143, and the same command goes on from there."""
    hold_streams()
    quiet_libraries()
    # Set in any case: a background job of a shell inherits SIGINT ignored.
    for number in INTERRUPTED:
        if not is_held_off(number):
            signal.signal(number, _interrupt)
    try:
        app()
    except Interrupted:
        Log().info(GOES_ON)
        raise
    # Outside a command's body: an import, an option's default.
    except Exception as error:
        _tell_fault(error)
        sys.exit(FAULT)


class Interrupted(SystemExit):
    """A signal that ends the command, after what is open was closed."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    # typer turns a KeyboardInterrupt into a silent exit, and libraries a bare one into a retry
    raise Interrupted(INTERRUPTED[signal.Signals(number)])


def _tell_fault(error: Exception) -> None:
    for line in report_of(error):
        print_error(line)
