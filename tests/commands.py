"""Commands as a user types them: in a process of their own, or in this one, where loading torch again would be waste."""

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path
from unittest.mock import patch

from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
Done = subprocess.CompletedProcess[str]


def process(*arguments: object, cwd: Path, module: str = "evals.run", **environment: str) -> Done:
    """`python -m MODULE ARGUMENTS` in a folder, without a Hub."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    offline = {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": "http://127.0.0.1:1"}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **offline, **environment},
        timeout=300,
    )


def run(*arguments: object, cwd: Path, module: str = "evals.run") -> Done:
    """The same in this process. What a test says of streams, signals, the environment or the Hub needs `process`."""
    words = list(map(str, arguments))
    package = importlib.util.find_spec(module)
    assert package is not None
    is_folder = package.submodule_search_locations is not None
    app = importlib.import_module(f"{module}.__main__" if is_folder else module).app
    with chdir(cwd), patch.object(sys, "argv", [module, *words]):
        result = CliRunner().invoke(app, words)
    return Done([module, *words], result.exit_code, result.stdout, result.stderr)


def timed(command: Callable[[], Done]) -> tuple[Done, float]:
    """What a process left, and its seconds of the processor: waiting for a busy machine is not its work."""
    before = os.times()
    done = command()
    after = os.times()
    user = after.children_user - before.children_user
    return done, user + after.children_system - before.children_system


def cost_ratio(many: Sequence[str], few: Sequence[str], cwd: Path) -> float:
    """What one command costs in units of another: both in turn, the better of two of each.

    A ratio, since seconds say as much of the machine as of the code.
    """

    def cost(command: Sequence[str]) -> float:
        return timed(lambda: subprocess.run(command, cwd=cwd, capture_output=True, text=True))[1]

    costs = [(cost(many), cost(few)) for _ in range(2)]
    return min(cost for cost, _ in costs) / min(cost for _, cost in costs)
