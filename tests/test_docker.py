"""The Dockerfile: a user without rights, a base that can be chosen, and steps that run the demo."""

import json
import os
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.dockerfile import as_script, read_steps, stages

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "Dockerfile"


def test_the_base_can_be_chosen_and_every_stage_starts_from_it():
    named = stages(read_steps(DOCKERFILE))
    assert [step.words for step in named[""]] == ["BASE=python:3.11-slim"]
    bases = [steps[0].words.split()[0] for name, steps in named.items() if name]
    assert bases == ["${BASE}", "python", "python"]


def test_the_last_stage_runs_the_demo_as_a_user_without_rights():
    final = {step.name: step.words for step in stages(read_steps(DOCKERFILE))["final"]}
    assert final["USER"] not in ("root", "0")
    words = json.loads(final["ENTRYPOINT"]) + json.loads(final["CMD"])
    assert words == ["jina-clip-evals", "run", "scenes", "--model", "tiny"]


def test_the_context_leaves_out_what_git_ignores_and_nothing_that_it_tracks():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line.rstrip("/") for line in lines if line and not line.startswith("#")]

    def left_out(name: str) -> bool:
        above = [name, *map(str, Path(name).parents)]
        return any(
            fnmatch(place, pattern.removeprefix("**/")) or fnmatch(place, pattern)
            for place in above
            for pattern in patterns
        )

    if not (ROOT / ".git").exists():
        pytest.skip("without git nothing is tracked")
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True
    )
    tracked = listed.stdout.splitlines()
    assert [name for name in tracked if left_out(name)] == []
    for name in (".venv/bin/python", "results/store/a", "results/runs/b", "dist/c.whl"):
        assert left_out(name)


@pytest.mark.slow
def test_its_steps_run_the_demo(tmp_path):
    source, tools = tmp_path / "context", tmp_path / "tools"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    tools.mkdir()
    root = tmp_path / "image"
    for name, body in (
        ("useradd", f'mkdir -p {root}/home/"${{@: -1}}"'),
        ("apt-get", "echo 'nothing is missing here' >&2; exit 1"),
    ):
        (tools / name).write_text(f"#!/bin/bash\n{body}\n")
        (tools / name).chmod(0o755)
    script = as_script(DOCKERFILE, root, source, tools)
    script = script.replace("UV_LINK_MODE=copy", "UV_LINK_MODE=hardlink")  # gigabytes, for seconds
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        ["bash"], input=script, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{script}\n{done.stderr}"
    assert "mean 256 t2i" in done.stdout
    (manifest,) = (root / "home/evals/results/runs/scenes/tiny").glob("*/manifest.json")
    head = subprocess.run(
        ["git", "-C", str(source), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    assert json.loads(manifest.read_text())["source"] == {
        "commit": head.stdout.strip(),
        "dirty": False,
    }
