"""Planted faults as a user meets them: the commands of regression.yml on a copy of the source, before and after a change."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[1]
FILES = ("jina_clip", "evals", "configs", "results/baselines")


def run(where: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m ARGUMENTS` on the source in a folder."""
    command = [sys.executable, "-m", *map(str, arguments)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(where),
        "EVALS_RESULTS": "",
        "EVALS_STORE": "",
        **environment,
    }
    environment = {name: value for name, value in environment.items() if value}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=where,
        env=environment,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source that has been evaluated, so that its store is warm."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in FILES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    done = run(folder, "evals.run", "--suite", "ci", "--model", "tiny")
    assert done.returncode == 0, done.stderr
    return folder


def test_an_evaluation_by_unchanged_code_passes_and_one_by_broken_pooling_fails(
    checkout: Path, tmp_path: Path
) -> None:
    files = [
        "--markdown",
        tmp_path / "v.md",
        "--junit",
        tmp_path / "v.xml",
        "--badge",
        tmp_path / "b.json",
    ]
    fine = run(
        checkout,
        "evals.regress",
        "--baseline",
        "ci",
        *files,
        GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"),
    )
    assert fine.returncode == 0, fine.stdout + fine.stderr
    assert json.loads((tmp_path / "b.json").read_text())["message"] == "passed"
    assert (tmp_path / "summary.md").read_text() == (tmp_path / "v.md").read_text() + "\n"

    packing = checkout / "jina_clip" / "packing.py"
    text = packing.read_text()
    # the mean of the tokens becomes the first token, as for a model of another kind
    packing.write_text(text.replace(".mean(1, dtype=torch.float32)", "[:, 0].float()"))
    assert packing.read_text() != text
    assert run(checkout, "evals.run", "--suite", "ci", "--model", "tiny").returncode == 0
    broken = run(checkout, "evals.regress", "--baseline", "ci", "--json", *files)
    verdict = json.loads(broken.stdout)
    assert (broken.returncode, verdict["verdict"]) == (1, "regressed")
    assert json.loads((tmp_path / "b.json").read_text())["message"] == "regressed"
    changed = {row["what"] for row in verdict["compared"][0]["environment"]}
    assert "encoder.fingerprint.code" in changed
    assert (tmp_path / "v.xml").read_text().count("<failure") == sum(
        m["judgement"] == "regressed" for m in verdict["metrics"]
    )


def test_a_limited_evaluation_is_no_pass(checkout: Path) -> None:
    """Where nothing but a part of the benchmark was run since the baseline was set."""
    limited = [
        "evals.run",
        "--suite",
        "ci",
        "--model",
        "tiny",
        "--limit",
        "20",
        "--results",
        "some",
    ]
    assert run(checkout, *limited).returncode == 0
    done = run(checkout, "evals.regress", "--baseline", "ci", "--results", "some")
    assert done.returncode == 3 and "partial runs only" in done.stdout
