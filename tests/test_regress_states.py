"""A baseline is what its index says: moved as a whole, checked when it is read, never half of one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from evals.records.manifest import MANIFEST
from evals.records.record import Run, read_run
from evals.regress import baselines, moves
from evals.regress.__main__ import app
from evals.regress.baselines import HISTORY, INDEX, Index, history, read_baseline, read_index
from evals.regress.runs import against
from evals.schema import InvalidError, MissingError
from tests.regress_records import lost, record, scores
from tests.test_regress import RULES

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[1]
KILLS = os.environ.get("EVALS_KILLS", "12")
SEED = os.environ.get("EVALS_SEED", "0")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of baselines that is not the committed one."""
    monkeypatch.setattr(baselines, "BASELINES", tmp_path / "baselines")
    return tmp_path / "baselines"


def small(root: Path, model: str = "m", miss: int = 0) -> Path:
    return record(root, {"en": [scores(lost(miss, 60))]}, model=model)


def set_to(*paths: Path, why: str = "x") -> moves.Move:
    return moves.set_baseline("mine", [read_run(path) for path in paths], why)


def test_processes_killed_while_they_move_a_baseline_leave_the_old_or_the_new_one(
    tmp_path: Path,
) -> None:
    """12 kills at random moments here; EVALS_KILLS=300 for more, EVALS_SEED for other moments."""
    for i, name in enumerate("ab"):
        for model in ("m1", "m2", "m3"):
            small(tmp_path / name, model, miss=i)
    command = [sys.executable, "-m", "tests.baseline_kills", str(tmp_path)]
    command += ["--kills", KILLS, "--seed", SEED]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["kills"] == int(KILLS) and counts["steps"] > 40


def test_a_baseline_that_lost_a_record_is_invalid(tmp_path: Path, elsewhere: Path) -> None:
    a, b = small(tmp_path / "runs", "a"), small(tmp_path / "runs", "b")
    set_to(a, b)
    assert against("mine", None, tmp_path / "runs", RULES).exit_code == 0
    shutil.rmtree(elsewhere / "mine" / "toy" / "b")
    verdict = against("mine", None, tmp_path / "runs", RULES)
    assert verdict.exit_code == 3
    assert f"toy/b/{b.name}: missing" in verdict.problems[0].message


def test_a_baseline_with_another_record_in_the_place_of_its_own_is_invalid(
    tmp_path: Path, elsewhere: Path
) -> None:
    path, worse = small(tmp_path / "a"), small(tmp_path / "b", miss=30)
    set_to(path)
    place = elsewhere / "mine" / "toy" / "m" / path.name
    shutil.rmtree(place)
    shutil.copytree(worse, place)
    with pytest.raises(InvalidError, match="not the one that"):
        read_baseline("mine")


def test_what_the_index_does_not_name_is_no_part_of_the_baseline(
    tmp_path: Path, elsewhere: Path
) -> None:
    """As a killed move leaves it; the next move sweeps it, and leaves what is not ours."""
    path, stray = small(tmp_path / "runs"), small(tmp_path / "stray", "other")
    set_to(path)
    left = shutil.copytree(stray, elsewhere / "mine" / "toy" / "other" / stray.name)
    (left / MANIFEST).unlink()
    notes = elsewhere / "mine" / "toy" / "m" / "notes"
    notes.mkdir()
    (notes / "why.txt").write_text("kept by somebody")
    assert [run.path.name for run in read_baseline("mine")] == [path.name]
    set_to(path)
    assert not left.parent.exists() and (notes / "why.txt").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "nobody knows what belongs"),
        ("{}", "schema version None"),
        ('{"schema_version": 2, "records": {}, "history": 0}', "schema version 2"),
        ('{"schema_version": 1, "records": [], "history": 0}', "no index of records"),
        ('{"schema_version": 1, "records": {}, "history": "0"}', "no index of records"),
        ('{"schema_version": 1, "records": {"a/b/../c": "0"}, "history": 0}', "no record with a"),
        ('{"schema_version": 1, "records": {"../b/c": "0"}, "history": 0}', "no record with a"),
        ("[", "not JSON"),
    ],
)
def test_a_broken_index_is_invalid_and_says_how_to_mend_it(
    tmp_path: Path, elsewhere: Path, text: str | None, message: str
) -> None:
    set_to(small(tmp_path / "runs"))
    file = elsewhere / "mine" / INDEX
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(InvalidError, match=message):
        read_baseline("mine")


def test_lines_beyond_those_that_the_index_counts_never_happened(
    tmp_path: Path, elsewhere: Path
) -> None:
    path = small(tmp_path / "runs")
    set_to(path, why="first")
    file = elsewhere / "mine" / HISTORY
    file.write_text(file.read_text() + '{"why": "of a move that was killed"}\n')
    assert [line["why"] for line in history(elsewhere / "mine")] == ["first"]
    set_to(path, why="second")
    assert [json.loads(line)["why"] for line in file.read_text().splitlines()] == [
        "first",
        "second",
    ]
    file.write_text("")
    with pytest.raises(InvalidError, match=r"0 lines, and index\.json counts 2"):
        history(elsewhere / "mine")


def test_a_record_that_changes_while_it_is_copied_does_not_enter(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = small(tmp_path / "a"), small(tmp_path / "b", miss=1)
    run = read_run(path)

    def replaced_after_the_checks(run: Run) -> list[str]:
        for file in other.iterdir():
            shutil.copy(file, path)
        return []

    monkeypatch.setattr(moves, "faults", replaced_after_the_checks)
    with pytest.raises(InvalidError, match="was changed while it was copied"):
        moves.set_baseline("mine", [run], "x")
    assert read_index(elsewhere / "mine") == Index()


def test_a_baseline_that_somebody_holds_is_waited_for_and_then_named(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    path = small(tmp_path / "runs")
    monkeypatch.setattr(moves, "PATIENCE", 0.05)
    elsewhere.mkdir()
    with FileLock(elsewhere / ".mine.lock"), pytest.raises(MissingError, match=r"\.mine\.lock"):
        set_to(path)
    set_to(path)


def test_a_baseline_that_moves_while_it_is_read_is_read_again(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = small(tmp_path / "a"), small(tmp_path / "b", miss=1)
    set_to(old)
    reads = []

    def moving(path: Path):
        reads.append(path.name)
        if len(reads) == 1:
            set_to(new)
        return read_run(path)

    monkeypatch.setattr(baselines, "read_placed", moving)
    assert [run.path.name for run in read_baseline("mine")] == [new.name]
    assert reads == [old.name, new.name]


def test_an_unsound_record_of_a_baseline_is_invalid(tmp_path: Path) -> None:
    """A baseline that nothing can fall below: all ranks reversed."""
    reversed_ranks = record(tmp_path / "base", {"en": [scores(np.full(200, 99))]})
    good = record(tmp_path / "runs", {"en": [scores(lost(0, 200))]})
    verdict = against(str(reversed_ranks), [good], tmp_path, RULES)
    assert verdict.exit_code == 3
    assert "worse than chance" in verdict.problems[0].message
    assert str(reversed_ranks) in verdict.problems[0].message


def test_the_committed_baselines_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "results" / "baselines"
    monkeypatch.setattr(baselines, "BASELINES", folder)
    for path in folder.glob("*/"):
        assert (path / INDEX).exists() and read_baseline(path.name) and history(path)


def test_show_tells_the_records_and_the_history(tmp_path: Path) -> None:
    path = small(tmp_path / "runs")
    set_to(path, why="because")
    done = CliRunner().invoke(app, ["baseline", "show", "mine"])
    assert done.exit_code == 0 and path.name in done.stdout and "because" in done.stdout
