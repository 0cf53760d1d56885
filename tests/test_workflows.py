"""The workflows that users copy: they parse, pin what they use, and call only what there is."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
pytestmark = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)


def jobs(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text())["jobs"])


def commands(file: Path) -> list[str]:
    """Every line that a workflow runs."""
    steps = [step for job in jobs(file).values() for step in job["steps"]]
    return [
        line.strip() for step in steps for line in step.get("run", "").split("\n") if line.strip()
    ]


def test_every_action_is_pinned_to_a_commit_and_says_its_version(file):
    used = [line for line in file.read_text().split("\n") if "uses:" in line]
    assert used
    for line in used:
        assert re.fullmatch(r"\s+(- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), (
            line
        )


def test_every_target_and_module_exists(file):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in commands(file):
        if match := re.match(r"make (\S+)", line):
            assert match[1] in targets, line
        if match := re.match(r"\.venv/bin/python -m (\S+)", line):
            assert importlib.util.find_spec(match[1]) is not None, line


def test_every_option_of_ours_exists(file):
    from evals.regress.__main__ import app as regress
    from evals.run import app as run

    known = {"evals.regress": regress, "evals.run": run}
    for line in commands(file):
        module = re.match(r"\.venv/bin/python -m (\S+)", line)
        if module and module[1] in known:
            told = CliRunner().invoke(known[module[1]], ["--help"]).output
            assert all(option in told for option in re.findall(r"--[a-z-]+", line)), line


def test_zizmor_finds_nothing_that_can_be_misused(file):
    zizmor = Path(sys.executable).with_name("zizmor")
    command = [str(zizmor), "--offline", "--persona", "auditor", "--format", "plain", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
def test_actionlint_finds_no_mistake(file):
    done = subprocess.run(["actionlint", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_code_of_a_pull_request_never_runs_with_a_right_to_write(file):
    loaded = yaml.safe_load(file.read_text())
    assert "pull_request_target" not in loaded[True] and loaded["permissions"] == {
        "contents": "read"
    }
    for name, job in loaded["jobs"].items():
        runs_our_code = any("actions/checkout" in step.get("uses", "") for step in job["steps"])
        assert not (runs_our_code and job.get("permissions")), name
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), "a name of a branch would be run as a command"
            if "actions/checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
