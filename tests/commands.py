"""Commands as a user types them: in a process of their own, or in this one, where loading torch again would be waste."""

import importlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from pstats import Stats
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
Done = subprocess.CompletedProcess[str]
PATIENCE = (
    120.0  # seconds: an event that has not come by then never comes, however busy the machine is
)


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


def calls(module: str, *arguments: object, cwd: Path) -> int:
    """How many functions `python -m MODULE ARGUMENTS` calls: what it costs, in a measure that no busy machine changes."""
    with TemporaryDirectory() as folder:
        profile = Path(folder) / "profile"
        command = [sys.executable, "-m", "cProfile", "-o", profile, "-m", module, *arguments]
        subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True)
        return Stats(str(profile)).total_calls  # type: ignore[attr-defined]


def until(condition: Callable[[], object], process: "subprocess.Popen[Any] | None" = None) -> None:
    """Wait until it holds; an AssertionError where a process ends before that, or where it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.001)
