"""The workflow `regression`, run twice in a fresh clone: the site has a past, and nothing that goes wrong loses it."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest

from evals.records.manifest import MANIFEST
from evals.records.record import list_runs
from tests.regress_records import again
from tests.test_dashboard import Page
from tests.workflow_runner import GitHub, Run

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "regression.yml"
CI_RECORD = next((ROOT / "results/baselines/ci/scenes/tiny").iterdir())

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a clone needs git")

# `make core`, but the environment is the one that the tests run in.
MAKE = f"""#!/bin/bash
test "$*" = core || exit 64
mkdir -p .venv/bin
printf '#!/bin/bash\\nPYTHONPATH=%s exec {sys.executable} "$@"\\n' "$PWD" > .venv/bin/python
chmod +x .venv/bin/python
"""


@pytest.fixture
def github(tmp_path: Path) -> GitHub:
    """This repository, as committed, where `make core` takes no minutes."""
    there = GitHub(tmp_path / "github")
    there.fork(ROOT)
    there.add_tool("make", MAKE)
    return there


def push(github: GitHub, number: int, keep: str, *, record: bool = True) -> Run:
    """A push to main whose gate left a verdict, and the record of an evaluation when there was one."""
    run = Run(github, number, keep=keep)
    verdict = run.artifact("verdict")
    (verdict / "verdict").mkdir(parents=True)
    (verdict / "verdict" / "badge.json").write_text("{}")
    if record:
        # a day apart: where a record lies follows from when it was written
        with patch("evals.records.record.datetime") as clock:
            clock.now.return_value = datetime(2026, 1, number, tzinfo=UTC)
            again(CI_RECORD, verdict / "results" / "runs", miss={("en", "t2i"): number})
    return run.execute(WORKFLOW, without=("gate",))


def past(run: Run) -> list[float]:
    """The values of English text-to-image that the site of a run shows."""
    rows = Page(run.artifact("github-pages") / "index.html").rows("newest")
    (row,) = (row for row in rows if row["direction"] == "t2i" and row["benchmark"] == "scenes")
    return list(row["past"])


@pytest.mark.parametrize("keep", ["artifact", "branch"])
def test_pushes_in_a_row_give_a_site_with_as_many_points(github, keep):
    first = push(github, 1, keep)
    assert first.results["comment"] == "skipped"
    assert first.results["pages"] == "success", first.log
    assert len(past(first)) == 1
    assert len(past(push(github, 2, keep, record=False))) == 1
    third = push(github, 3, keep)
    assert len(past(third)) == 2
    assert (third.artifact("github-pages") / "badge.json").is_file()


def test_a_past_that_cannot_be_read_is_not_replaced_by_an_empty_one(github):
    push(github, 1, "artifact")
    gh = (github.tools / "gh").read_text()
    github.add_tool("gh", gh.replace('case ["run", "download"', 'case ["never"'))
    broken = push(github, 2, "artifact")
    assert broken.results["records"] == "failure" and broken.results["pages"] == "skipped"
    assert not broken.artifact("records").exists()
    github.add_tool("gh", gh)
    assert len(past(push(github, 3, "artifact"))) == 2


def test_a_branch_that_cannot_be_reached_is_not_taken_for_a_new_one(github):
    origin = github.root / "owner" / "repo.git"
    push(github, 1, "branch")
    head = (origin / "HEAD").read_text()
    (origin / "HEAD").write_text("no repository any more\n")
    assert push(github, 2, "branch").results["records"] == "failure"
    (origin / "HEAD").write_text(head)
    assert len(past(push(github, 3, "branch"))) == 2


def test_a_pull_request_is_commented_and_leaves_no_trace_on_the_site(github):
    run = Run(github, 1, event="pull_request")
    (run.artifact("verdict") / "verdict").mkdir(parents=True)
    (run.artifact("verdict") / "verdict" / "verdict.md").write_text("### Retrieval")
    run.execute(WORKFLOW, without=("gate",))
    assert run.results["comment"] == "success", run.log
    assert {run.results[name] for name in ("records", "site", "pages")} == {"skipped"}
    assert (github.root / "runs" / "comment.md").read_text() == "### Retrieval"


@pytest.mark.slow
def test_the_whole_workflow_twice_from_a_fresh_clone(github):
    """Everything as it is, `make core` and both evaluations too."""
    (github.tools / "make").unlink()
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    cache = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True)
    here = f"export UV_CACHE_DIR={cache.stdout.strip()}"
    github.add_tool("uv", f'#!/bin/bash\n{here}\nexec {uv} "$@"\n')
    for number in (1, 2):
        run = Run(github, number).execute(WORKFLOW)
        assert set(run.results.values()) == {"success", "skipped"}, run.log[-3:]
        assert len(past(run)) == number
    records = list_runs(run.artifact("records"), "scenes", "tiny")
    assert len(records) == 2 and all((path / MANIFEST).is_file() for path in records)
