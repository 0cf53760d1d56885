"""Workflows of GitHub on this machine: `run:` steps as they are, in order, actions replaced by their local effect.

A repository stands in a folder, `SERVER/owner/repo.git`, and so do the artifacts of each run, which a stub of `gh` reads.
What a workflow uses and the stand-ins do not know is an error, never a step that is left out.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = "owner/repo"

# Conditions as they stand in the files: whether a job or step runs, from the event, the variables and the results so far.
Condition = Callable[["Run"], bool]
CONDITIONS: dict[str, Condition] = {
    "!cancelled()": lambda run: True,
    "github.event_name == 'push'": lambda run: run.event == "push",
    "github.event_name == 'pull_request'": lambda run: run.event == "pull_request",
    "github.event.pull_request.head.repo.full_name == github.repository": lambda run: True,
    "needs.records.result == 'success'": lambda run: run.results["records"] == "success",
    "needs.site.result == 'success'": lambda run: run.results["site"] == "success",
    "env.KEEP == 'branch'": lambda run: run.keep == "branch",
    "env.KEEP == 'artifact'": lambda run: run.keep == "artifact",
}

GH = """#!/usr/bin/env python3
import os, shutil, sys
from pathlib import Path

runs = Path(os.environ["LOCAL_RUNS"])
words = sys.argv[1:]
match words:
    case ["auth", "setup-git"]:
        pass
    case ["run", "list", "--workflow", "regression", "--branch", "main", "--event", "push", *_]:
        pushes = [run for run in runs.iterdir() if (run / "push").exists()]
        print("\\n".join(sorted((run.name for run in pushes), key=int, reverse=True)))
    case ["api", path, "--jq", _] if path.endswith("/artifacts"):
        print("\\n".join(a.name for a in (runs / path.split("/")[-2] / "artifacts").iterdir()))
    case ["run", "download", run, "--name", name, "--dir", folder]:
        shutil.copytree(runs / run / "artifacts" / name, folder, dirs_exist_ok=True)
    case ["api", path, "--paginate", "--jq", _] if path.endswith("/comments"):
        pass
    case ["pr", "comment", number, "--body-file", file]:
        shutil.copy(file, runs / "comment.md")
    case _:
        sys.exit(f"no stand-in for: gh {' '.join(words)}")
"""


@dataclass
class GitHub:
    """A repository, its runs and their artifacts, in a folder."""

    root: Path
    tools: Path = field(init=False)

    def __post_init__(self) -> None:
        self.tools = self.root / "tools"
        self.tools.mkdir(parents=True)
        self.add_tool("gh", GH)

    def add_tool(self, name: str, script: str) -> None:
        """A program that comes first on the path of every step."""
        (self.tools / name).write_text(script)
        (self.tools / name).chmod(0o755)

    def fork(self, source: Path) -> None:
        """Take the committed state of a repository as this one's `main`."""
        origin = self.root / f"{REPOSITORY}.git"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(origin)], check=True)
        # The checkout of a CI is one commit deep.
        shallow = ["git", "-C", str(origin), "config", "receive.shallowUpdate", "true"]
        subprocess.run(shallow, check=True)
        push = ["git", "-C", str(source), "push", "-q", str(origin), "HEAD:refs/heads/main"]
        subprocess.run(push, check=True)


@dataclass
class Run:
    """One run of a workflow at an event, with what it leaves."""

    github: GitHub
    number: int
    event: str = "push"
    keep: str = "artifact"  # the repository's variable RECORDS
    results: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where the artifacts of this run lie."""
        return self.github.root / "runs" / str(self.number)

    def artifact(self, name: str) -> Path:
        """The folder of an artifact of this run."""
        return self.folder / "artifacts" / name

    def execute(self, workflow: Path, *, without: tuple[str, ...] = ()) -> "Run":
        """Run all jobs but those of `without`, which count as successful; their artifacts are there already."""
        (self.folder / "artifacts").mkdir(parents=True, exist_ok=True)
        (self.folder / self.event).touch()
        loaded = yaml.safe_load(workflow.read_text())
        for name, job in loaded["jobs"].items():
            if name in without:
                self.results[name] = "success"
                continue
            needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
            assert set(needs) <= set(self.results), f"{name} stands before what it needs"
            fine = all(self.results[each] == "success" for each in needs)
            if self.applies(job.get("if"), fine=fine):
                self.results[name] = self._job(loaded["name"], name, job)
            else:
                self.results[name] = "skipped"
        return self

    def applies(self, condition: str | None, *, fine: bool) -> bool:
        """Whether a job or step runs; without a condition, when all before it went well."""
        if condition is None:
            return fine
        parts = re.fullmatch(r"\$\{\{ (.*) \}\}", condition)[1].split(" && ")  # type: ignore[index]
        return (fine or "!cancelled()" in parts) and all(CONDITIONS[part](self) for part in parts)

    def _job(self, workflow: str, name: str, job: Mapping[str, Any]) -> str:
        workspace = self.folder / "jobs" / name
        home = self.folder / "home" / name
        workspace.mkdir(parents=True)
        home.mkdir(parents=True)
        environment = self._environment(workflow, home) | {
            key: self._value(value) for key, value in job.get("env", {}).items()
        }
        fine = True
        for step in job["steps"]:
            if self.applies(step.get("if"), fine=fine):
                fine = self._step(step, workspace, environment) and fine
        return "success" if fine else "failure"

    def _environment(self, workflow: str, home: Path) -> dict[str, str]:
        ours = ("GITHUB_", "GIT_", "EVALS_", "PYTHONPATH", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return kept | {
            "PATH": f"{self.github.tools}:{os.environ['PATH']}",
            "HOME": str(home),
            "LOCAL_RUNS": str(self.github.root / "runs"),
            "GITHUB_SERVER_URL": f"file://{self.github.root}",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_WORKFLOW": workflow,
            "GITHUB_REF_NAME": "main",
            "GITHUB_SHA": "0" * 40,
            "GITHUB_STEP_SUMMARY": str(home / "summary.md"),
        }

    def _value(self, text: str) -> str:
        values = {
            "${{ github.token }}": "a-token",
            "${{ github.repository }}": REPOSITORY,
            "${{ github.event.pull_request.number }}": "7",
            "${{ vars.RECORDS || 'artifact' }}": self.keep,
        }
        return values[text] if "${{" in text else text

    def _step(
        self, step: Mapping[str, Any], workspace: Path, environment: Mapping[str, str]
    ) -> bool:
        if "uses" in step:
            action = step["uses"].partition("@")[0]
            _ACTIONS[action](self, workspace, step.get("with", {}))
            return True
        own = {key: self._value(value) for key, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=workspace,
            env={**environment, **own},
            capture_output=True,
            text=True,
            check=False,
        )
        self.log.append(f"$ {step['run']}\n{done.stdout}{done.stderr}({done.returncode})")
        return done.returncode == 0


def _checkout(run: Run, workspace: Path, options: Mapping[str, Any]) -> None:
    origin = run.github.root / f"{REPOSITORY}.git"
    subprocess.run(["git", "clone", "-q", str(origin), str(workspace)], check=True)


def _nothing(run: Run, workspace: Path, options: Mapping[str, Any]) -> None:
    """The machine has it."""


def _upload(run: Run, workspace: Path, options: Mapping[str, Any]) -> None:
    """Files keep their place below the folder that all paths share; hidden ones stay behind."""
    target = run.artifact(options["name"])
    shutil.rmtree(target, ignore_errors=True)
    paths = options["path"].split()
    for path in paths:
        if (workspace / path).is_dir():
            place = target / path if len(paths) > 1 else target
            hidden = shutil.ignore_patterns(".*")
            shutil.copytree(workspace / path, place, ignore=hidden, dirs_exist_ok=True)


def _download(run: Run, workspace: Path, options: Mapping[str, Any]) -> None:
    target = workspace / options.get("path", ".")
    shutil.copytree(run.artifact(options["name"]), target, dirs_exist_ok=True)


def _upload_pages(run: Run, workspace: Path, options: Mapping[str, Any]) -> None:
    shutil.copytree(workspace / options["path"], run.artifact("github-pages"))


_ACTIONS: dict[str, Callable[[Run, Path, Mapping[str, Any]], None]] = {
    "actions/checkout": _checkout,
    "actions/setup-python": _nothing,
    "actions/upload-artifact": _upload,
    "actions/download-artifact": _download,
    "actions/upload-pages-artifact": _upload_pages,
    "actions/deploy-pages": _nothing,
}
