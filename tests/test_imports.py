"""The import rules of the house, held by walking the imports, and commands that answer at once."""

import ast
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Which rooms and top files each of them may see, from the ground up; its own files it may always see. Every room and file of
# evals/ has a row, and the rows themselves allow no circle.
SCHEMA = {"schema", "paths", "counts"}
MAY_SEE: dict[str, set[str]] = {
    "schema": set(),
    "counts": set(),
    "paths": set(),
    "files": set(),
    "early": set(),
    "command_line": {"early"},
    "natural": set(),
    "packages": set(),
    "escape": set(),
    "quiet": {"escape"},
    "strict_yaml": set(),
    "reading": {*SCHEMA, "strict_yaml"},
    "hub": set(),
    "os_errors": {"schema"},
    "progress": set(),
    "bucket": {"schema"},
    "settings": {*SCHEMA, "bucket"},
    "stats": set(),
    "config": {*SCHEMA, "ranking", "reading"},
    "encoders": {*SCHEMA, "hub", "jina_clip", "reading"},
    "embeddings": {*SCHEMA, "bucket", "escape", "files", "reading"},
    "ranking": {"schema", "embeddings"},
    "records": {*SCHEMA, "bucket", "early", "files", "natural", "ranking", "reading"},
    "cli": {
        "schema",
        "command_line",
        "early",
        "escape",
        "files",
        "os_errors",
        "packages",
        "quiet",
        "settings",
    },
    "data": {*SCHEMA, "cli", "config", "files", "hub", "reading"},
    "tasks": {*SCHEMA, "embeddings", "ranking", "stats"},
    "evaluation": {
        *SCHEMA,
        "command_line",
        "escape",
        "config",
        "data",
        "embeddings",
        "encoders",
        "files",
        "os_errors",
        "packages",
        "progress",
        "quiet",
        "ranking",
        "reading",
        "records",
        "settings",
        "stats",
        "tasks",
    },
    "mteb_bridge": {
        *SCHEMA,
        "data",
        "embeddings",
        "evaluation",
        "files",
        "hub",
        "progress",
        "ranking",
        "records",
        "settings",
        "stats",
    },
    "analysis": {
        *SCHEMA,
        "bucket",
        "config",
        "data",
        "embeddings",
        "encoders",
        "evaluation",
        "files",
        "hub",
        "packages",
        "progress",
        "ranking",
        "reading",
        "records",
        "settings",
        "stats",
        "tasks",
    },
    "views": {
        *SCHEMA,
        "analysis",
        "config",
        "embeddings",
        "encoders",
        "escape",
        "evaluation",
        "files",
        "natural",
        "os_errors",
        "ranking",
        "records",
        "stats",
        "tasks",
    },
    "jobs": {
        *SCHEMA,
        "os_errors",
        "analysis",
        "config",
        "evaluation",
        "mteb_bridge",
        "progress",
        "settings",
        "views",
    },
    "report": {
        *SCHEMA,
        "cli",
        "config",
        "escape",
        "files",
        "ranking",
        "reading",
        "records",
        "views",
    },
    "export": {*SCHEMA, "cli", "escape", "files", "mteb_bridge", "ranking", "reading", "records"},
    "regress": {
        *SCHEMA,
        "cli",
        "config",
        "escape",
        "embeddings",
        "evaluation",
        "files",
        "packages",
        "reading",
        "ranking",
        "records",
        "report",
        "settings",
        "stats",
        "tasks",
        "views",
    },
    "watch": {
        *SCHEMA,
        "bucket",
        "analysis",
        "cli",
        "config",
        "evaluation",
        "files",
        "jobs",
        "progress",
        "reading",
        "records",
        "settings",
        "stats",
        "views",
    },
    "callbacks": {"bucket", "library", "progress", "records", "schema", "watch"},
    "parity": {
        *SCHEMA,
        "cli",
        "config",
        "data",
        "embeddings",
        "encoders",
        "escape",
        "evaluation",
        "files",
        "progress",
        "ranking",
        "reading",
        "settings",
        "stats",
        "tasks",
        "views",
    },
    "dashboard": {
        *SCHEMA,
        "analysis",
        "cli",
        "config",
        "escape",
        "files",
        "natural",
        "os_errors",
        "ranking",
        "reading",
        "records",
        "regress",
        "report",
        "views",
        "watch",
    },
    "library": {
        *SCHEMA,
        "bucket",
        "analysis",
        "config",
        "data",
        "embeddings",
        "encoders",
        "evaluation",
        "jobs",
        "progress",
        "records",
        "settings",
        "views",
    },
    "evals": {"config", "data", "early", "encoders", "library", "schema"},  # evals/__init__.py
    "__main__": {"cli", "early", "packages", "records"},
    "trackers": {*SCHEMA, "evaluation", "progress", "records"},
    "run": {"schema", "cli", "config", "evaluation", "jobs", "trackers", "views"},
    "track": {"counts", "schema", "cli", "records", "trackers"},
    "encode": {"counts", "schema", "cli", "config", "embeddings", "evaluation", "settings"},
    "mrl_sweep": {
        "schema",
        "analysis",
        "cli",
        "config",
        "embeddings",
        "evaluation",
        "files",
        "jobs",
        "records",
        "report",
        "trackers",
        "views",
    },
    "compare": {"schema", "analysis", "cli", "files", "records", "views"},
    "rank": {"counts", "schema", "analysis", "cli", "files", "records", "views"},
    "plan": {"schema", "analysis", "cli", "files", "records", "stats", "views"},
    "index": {"schema", "analysis", "cli", "config", "files", "records", "views"},
    "mistakes": {"schema", "analysis", "cli", "files", "records", "views"},
    "fusion": {"analysis", "cli", "config", "evaluation", "jobs", "views"},
    "probe": {"schema", "analysis", "cli", "config", "evaluation", "jobs", "views"},
    "verify": {"schema", "bucket", "analysis", "cli", "records", "regress", "views"},
    "replay": {"schema", "analysis", "cli", "records", "views"},
    "score": {"counts", "analysis", "cli", "evaluation", "views"},
    "items": {
        "counts",
        "schema",
        "cli",
        "config",
        "data",
        "evaluation",
        "files",
        "settings",
        "tasks",
    },
    "cost": {"analysis", "cli", "config", "embeddings", "evaluation", "settings", "views"},
}
# Files that may see less than their room, or alone may see something.
NARROWER: dict[str, set[str]] = {
    "evals.ranking.shapes": set(),
    "evals.ranking.relevance": {"evals.ranking.shapes"},
    "evals.ranking.products": {"evals.embeddings.threads", "evals.ranking.shapes"},
    "evals.ranking.definition": {"evals.ranking.relevance", "evals.ranking.shapes"},
    "evals.ranking.levels": {
        "evals.ranking.definition",
        "evals.ranking.products",
        "evals.ranking.shapes",
    },
    "evals.ranking.compiling": set(),
    "evals.ranking.compiled": {"evals.ranking.compiling", "evals.ranking.shapes"},
    "evals.ranking.cpu": {
        "evals.ranking.compiled",
        "evals.ranking.levels",
        "evals.ranking.products",
        "evals.ranking.shapes",
    },
    "evals.ranking.kernel": set(),
    "evals.ranking.cuda": {
        "evals.ranking.kernel",
        "evals.ranking.levels",
        "evals.ranking.products",
    },
    "evals.ranking.accelerator": {
        "evals.ranking.levels",
        "evals.ranking.products",
        "evals.ranking.shapes",
    },
    "evals.ranking.metrics": {"evals.ranking.definition", "evals.ranking.shapes"},
    "evals.ranking.graded": {
        "evals.ranking.definition",
        "evals.ranking.metrics",
        "evals.ranking.shapes",
    },
    "evals.ranking.metric_table": {
        "evals.ranking.definition",
        "evals.ranking.graded",
        "evals.ranking.metrics",
    },
    "evals.embeddings.truncation": {"evals.embeddings.threads"},
}
ONLY_IN = {
    "jina_clip": {
        "evals.encoders.jina",
        "evals.encoders.jina_variants",
        "evals.encoders.token_changes",
    },
    "evals.cli": {
        "evals.data.__main__",
        "evals.export.__main__",
        "evals.report.__main__",
        "evals.regress.__main__",
        "evals.regress.noise",
        "evals.parity.__main__",
        "evals.watch.__main__",
        "evals.dashboard.__main__",
    },
}
COMMAND_ROOMS = {
    "data",
    "export",
    "parity",
    "report",
    "regress",
    "dashboard",
}  # those with a __main__
MOST_FLOORS = 12
LIGHT = (
    "evals.records.record",
    "evals.config.catalog",
    "evals.stats.bootstrap",
    "evals.ranking.metrics",
    "evals.records.queries",
    "evals.records.selection",
    "evals.analysis.comparison",
    "evals.analysis.standings",
    "evals.analysis.planning",
    "evals.regress.runs",
    "evals.dashboard.site",
)
HEAVY = set(
    "torch numba transformers datasets mteb pandas matplotlib open_clip huggingface_hub "
    "sklearn scipy clip_benchmark jinja2 faiss usearch trackio wandb mlflow".split()
)


@functools.cache
def modules() -> dict[str, Path]:
    files = [path for package in ("evals", "jina_clip") for path in (ROOT / package).rglob("*.py")]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files
    }


@functools.cache
def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def room_of(module: str) -> str:
    """The folder or top file of evals that a module belongs to; jina_clip is one."""
    parts = module.split(".")
    return parts[1] if parts[0] == "evals" and len(parts) > 1 else parts[0]


def ours(module: str) -> set[str]:
    """The modules of ours that a module imports, at its top or inside a function."""
    return {
        name
        for name in imported(modules()[module])
        if name.partition(".")[0] in ("evals", "jina_clip") and name != "evals"
    }


def test_one_file_imports_mteb() -> None:
    found = {
        module
        for module, path in modules().items()
        if any(name.split(".")[0] == "mteb" for name in imported(path))
    }
    assert found == {"evals.mteb_bridge.bridge"}


def test_every_room_and_file_has_a_row_and_no_row_is_left_over():
    rooms = {room_of(module) for module in modules() if module.partition(".")[0] == "evals"}
    assert rooms == set(MAY_SEE)


def test_the_rows_allow_no_circle_and_at_most_twelve_floors():
    floor: dict[str, int] = {"jina_clip": 0}
    waiting = dict(MAY_SEE)
    while waiting:
        ready = {room for room, seen in waiting.items() if seen <= floor.keys()}
        assert ready, f"a circle among {', '.join(sorted(waiting))}"
        for room in ready:
            floor[room] = 1 + max((floor[other] for other in waiting.pop(room)), default=0)
    assert max(floor.values()) <= MOST_FLOORS, floor


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_run_downhill(module):
    seen = ours(module)
    if module.startswith("jina_clip"):
        assert {room_of(name) for name in seen} <= {"jina_clip"}
        return
    room = room_of(module)
    stray = {name for name in seen if room_of(name) not in {room, *MAY_SEE.get(room, set())}}
    if module in NARROWER:
        stray |= seen - NARROWER[module]
    assert not stray, f"{module} may not import {', '.join(sorted(stray))}"


@pytest.mark.parametrize("package", sorted(ONLY_IN))
def test_what_only_some_files_may_import(package):
    """Libraries of rooms that have a command take what they need, never the command line's log or options."""
    importers = {
        module
        for module in modules()
        if room_of(module) in {*COMMAND_ROOMS, "encoders"}
        and any((name + ".").startswith(package + ".") for name in ours(module))
    }
    assert importers <= ONLY_IN[package]


def test_no_file_imports_itself_by_a_detour():
    """Not even through imports inside functions."""
    sees = {
        module: {name for name in ours(module) if name in modules() and name != module}
        for module in modules()
        if module.startswith("evals")
    }
    while sees:
        leaves = {module for module, seen in sees.items() if not seen & sees.keys()}
        assert leaves, f"a circle among {', '.join(sorted(sees))}"
        for module in leaves:
            del sees[module]


def test_nobody_imports_a_command():
    stray = {
        f"{module} imports {name}"
        for module in modules()
        for name in ours(module)
        if name in command_files()
    }
    assert not stray


@functools.cache
def command_files() -> set[str]:
    """The modules that `python -m` runs, as they are imported."""
    return {
        name
        for name, path in modules().items()
        if name.startswith("evals.")
        and name != "evals.cli.app"
        and "exit_with(app)" in path.read_text("utf-8")
    }


def commands() -> list[str]:
    """What stands behind `python -m`."""
    return sorted(name.removesuffix(".__main__") for name in command_files())


@pytest.mark.parametrize("module", LIGHT)
def test_heavy_packages_are_imported_where_they_are_used(module):
    code = f"import sys, {module}; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow  # since seconds say as much of the machine as of the code
@pytest.mark.parametrize("module", commands())
def test_help_answers_in_under_a_second_of_the_processor(module):
    def seconds() -> float:
        start = sum(os.times()[2:4])
        command = [sys.executable, "-m", module, "--help"]
        subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
        return sum(os.times()[2:4]) - start

    assert any(seconds() < 1 for _ in range(5))


@pytest.mark.parametrize("module", commands())
def test_help_loads_no_heavy_package(module):
    code = (
        f"import runpy, sys; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
        f"finally: print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "--help" in done.stdout and done.stdout.endswith("\n[]\n")
