"""Holds the exit codes of signals and faults from the first moment, before a command's module is imported.

Importing a command takes a third of a second. A Ctrl-C in that time would end with a traceback, and
a broken installation with Python's 1, which means "regressed" here. `evals/__init__.py` calls
`hold_exit_codes` before anything else is imported; `evals.cli.app.exit_with` takes over.
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NoReturn

FAULT = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = {signal.SIGINT: 130, signal.SIGTERM: 143}
# A terminal that is closed, or a connection that is lost; Windows has none.
if hasattr(signal, "SIGHUP"):
    INTERRUPTED[signal.SIGHUP] = 129
GOES_ON = "interrupted: what was finished is kept, and the same command goes on from there"
CONSOLE_SCRIPT = "jina-clip-evals"


def hold_exit_codes() -> None:
    """End with 130, 143 or 70 from here on. Nothing changes where a program imports us."""
    if not _is_command():
        return
    # Signals first, then the hook: a Ctrl-C between them still ends with 130.
    for number in INTERRUPTED:
        if not is_held_off(number):
            signal.signal(number, _end)
    sys.excepthook = _end_with_fault


def is_held_off(number: signal.Signals) -> bool:
    """Whether `nohup` started the command, to go on where a terminal is closed."""
    is_hangup = number not in (signal.SIGINT, signal.SIGTERM)
    return is_hangup and signal.getsignal(number) is signal.SIG_IGN


def _is_command() -> bool:
    """Whether Python is about to run one of our commands."""
    if os.path.basename(sys.argv[0]) == CONSOLE_SCRIPT:  # noqa: PTH119 - pathlib takes 10 ms
        return True
    # runpy puts -m there while it looks for the module, and its path before it runs
    words = (word.removeprefix("-m") for word in sys.orig_argv)
    return sys.argv[0] == "-m" and any(word.split(".")[0] == "evals" for word in words)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    # Nothing is open yet, and an exception in the middle of an import may be taken for another.
    _tell(GOES_ON)
    os._exit(INTERRUPTED[signal.Signals(number)])


def _end_with_fault(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> NoReturn:
    """Reports what nobody else can: a module that cannot be imported."""
    sys.__excepthook__(kind, error, trace)
    _tell(
        "error: jina-clip-evals cannot start, which says nothing about your model. Install it "
        "again, or report the lines above."
    )
    os._exit(FAULT)


def _tell(message: str) -> None:
    with suppress(OSError):  # stderr may be closed
        os.write(2, f"{message}\n".encode())
