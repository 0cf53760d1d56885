"""How a command ends that has something to show: the exit code is settled, then it is shown."""

from collections.abc import Callable
from typing import Any

from evals.cli.app import Log


def finish(
    log: Log,
    *,
    show: Callable[[], None],
    machine: Callable[[], dict[str, Any]],
    exit_code: int = 0,
) -> None:
    """Settle the exit code, then call `show`, or with --json print the object that `machine` gives."""
    # First: a reader that closes the pipe must not turn "regressed" into a success.
    log.settle(exit_code)
    if log.json:
        log.output(machine())
    else:
        show()
