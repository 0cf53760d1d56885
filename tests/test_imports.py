"""The import rules of the house, held by walking the imports, and commands that answer at once."""

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = {"evals.schema", "evals.paths"}

# What each room may see of ours. Rooms not named may see everything of evals.
MAY_SEE = {
    "evals.schema": set(),
    "evals.paths": set(),
    "evals.files": set(),
    "evals.strict_yaml": set(),
    "evals.reading": {*CORE, "evals.strict_yaml"},
    "evals.embeddings.threads": set(),
    "evals.embeddings.truncation": {"evals.embeddings.threads"},
    "evals.ranking.relevance": set(),
    "evals.ranking.products": {"evals.embeddings.threads"},
    "evals.ranking.definition": {"evals.ranking.relevance"},
    "evals.ranking.levels": {"evals.ranking.definition", "evals.ranking.products"},
    "evals.ranking.cpu": {"evals.ranking.levels", "evals.ranking.products"},
    "evals.ranking.accelerator": {"evals.ranking.levels", "evals.ranking.products"},
    "evals.ranking.counting": {
        "evals.ranking.accelerator",
        "evals.ranking.cpu",
        "evals.ranking.levels",
        "evals.ranking.products",
        "evals.ranking.relevance",
        "evals.embeddings.threads",
    },
    "evals.ranking.ranks": {
        "evals.ranking.counting",
        "evals.ranking.definition",
        "evals.ranking.levels",
        "evals.ranking.products",
        "evals.ranking.relevance",
        "evals.embeddings.threads",
    },
    "evals.embeddings.precision": CORE,
    "evals.ranking.rescore": {
        "evals.ranking.definition",
        "evals.ranking.products",
        "evals.ranking.relevance",
    },
    "evals.ranking.sweep": {
        "evals.ranking.counting",
        "evals.ranking.definition",
        "evals.ranking.levels",
        "evals.ranking.relevance",
        "evals.embeddings.precision",
        "evals.embeddings.truncation",
        "evals.ranking.ranks",
        "evals.ranking.rescore",
    },
    "evals.ranking.search": {"evals.ranking.products", "evals.embeddings.threads"},
    "evals.ranking.metrics": {"evals.ranking.definition"},
    "evals.records.record": {"evals.schema", "evals.files"},
    "evals.stats.bootstrap": set(),
    "evals.records.queries": {
        *CORE,
        "evals.ranking.definition",
        "evals.ranking.metrics",
        "evals.records.record",
    },
    "evals.stats.correlation": {"evals.stats.bootstrap"},
    "evals.records.selection": {*CORE, "evals.records.record"},
    "evals.analysis.comparison": {
        *CORE,
        "evals.stats.correlation",
        "evals.records.queries",
        "evals.records.selection",
        "evals.stats.bootstrap",
    },
    "evals.escape": set(),
    "evals.dashboard": {
        *CORE,
        "evals.config.catalog",
        "evals.cli.app",
        "evals.analysis.comparison",
        "evals.dashboard",
        "evals.ranking.metrics",
        "evals.records.queries",
        "evals.records.record",
        "evals.regress",
        "evals.report",
        "evals.records.selection",
    },
    "evals.config.catalog": {*CORE, "evals.reading"},
    "evals.report": {
        *CORE,
        "evals.config.catalog",
        "evals.escape",
        "evals.files",
        "evals.records.record",
        "evals.report",
    },
    "evals.report.__main__": {
        *CORE,
        "evals.config.catalog",
        "evals.cli.app",
        "evals.files",
        "evals.cli.options",
        "evals.report",
        "evals.views.tables",
    },
    "evals.hub": set(),
    "evals.data": {*CORE, "evals.data", "evals.hub", "evals.reading"},
    "evals.data.__main__": {"evals"},
    "evals.data.prepare": {*CORE, "evals.data", "evals.config.catalog", "evals.files"},
    "evals.analysis.modality_gap": {
        "evals.embeddings.truncation",
        "evals.ranking.products",
        "evals.tasks.fusion",
    },
    "evals.tasks.probes": {*CORE, "evals.ranking.definition", "evals.ranking.search"},
    "evals.tasks": {
        *CORE,
        "evals.ranking.definition",
        "evals.ranking.metrics",
        "evals.ranking.relevance",
        "evals.embeddings.precision",
        "evals.embeddings.truncation",
        "evals.ranking.ranks",
        "evals.stats.bootstrap",
        "evals.ranking.sweep",
        "evals.tasks",
    },
    "evals.encoders": {*CORE, "evals.encoders"},
    "evals.encoders.jina": {*CORE, "evals.encoders", "jina_clip"},
    "evals.embeddings.store": {*CORE, "evals.files"},
    "evals.regress": {
        *CORE,
        "evals.regress",
        "evals.report",
        "evals.config.catalog",
        "evals.cli.app",
        "evals.files",
        "evals.records.provenance",
        "evals.records.queries",
        "evals.records.record",
        "evals.views.tables",
        "evals.stats.bootstrap",
        "evals.config.suites",
    },
    "evals.regress.shuffled": {
        *CORE,
        "evals.config.catalog",
        "evals.cli.options",
        "evals.run",
        "evals.embeddings.store",
        "evals.tasks",
    },
}
LIGHT = (
    "evals.records.record",
    "evals.config.catalog",
    "evals.stats.bootstrap",
    "evals.ranking.metrics",
    "evals.records.queries",
    "evals.records.selection",
    "evals.analysis.comparison",
    "evals.regress.runs",
    "evals.dashboard.site",
)
HEAVY = set(
    "torch numba transformers datasets mteb pandas matplotlib open_clip huggingface_hub sklearn clip_benchmark jinja2".split()
)


def modules() -> dict[str, Path]:
    files = [path for package in ("evals", "jina_clip") for path in (ROOT / package).rglob("*.py")]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files
    }


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def rule(module: str) -> set[str] | None:
    return next(
        (
            MAY_SEE[name]
            for name in sorted(MAY_SEE, key=len, reverse=True)
            if (module + ".").startswith(name + ".")
        ),
        None,
    )


def test_one_file_imports_mteb() -> None:
    found = {
        module
        for module, path in modules().items()
        if any(name.split(".")[0] == "mteb" for name in imported(path))
    }
    assert found == {"evals.mteb_bridge.bridge"}


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_run_downhill(module):
    seen = {
        name for name in imported(modules()[module]) if name.split(".")[0] in ("evals", "jina_clip")
    }
    if module.startswith("jina_clip"):
        allowed = {"jina_clip"}
    elif (allowed := rule(module)) is None:
        allowed = {"evals"}
    stray = {
        name for name in seen if not any((name + ".").startswith(room + ".") for room in allowed)
    }
    assert not stray, f"{module} may not import {', '.join(sorted(stray))}"


def commands() -> list[str]:
    """Everything that `python -m` runs."""
    found = (
        name
        for name, path in modules().items()
        if name.startswith("evals.") and "exit_with(app)" in path.read_text("utf-8")
    )
    return sorted(name.removesuffix(".__main__") for name in found if name != "evals.cli.app")


@pytest.mark.parametrize("module", [*commands(), *LIGHT])
def test_heavy_packages_are_imported_where_they_are_used(module):
    code = f"import sys, {module}; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def child_seconds() -> float:
    """Processor time of the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("module", commands())
def test_help_answers_in_under_a_second(module):
    """Of processor time, in one of five tries: the machine may be busy, the import may not be slow."""
    times = []
    while len(times) < 5 and min(times, default=9.0) >= 1:
        start = child_seconds()
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        times.append(child_seconds() - start)
        assert "--help" in done.stdout
    assert min(times) < 1, times
