"""How a command that found something ends: the exit code is settled, then a person or a program gets to see it."""

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
    log.settle(exit_code)
    if log.json:
        log.output(machine())
    else:
        show()
