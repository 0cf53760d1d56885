"""Where configs are, from a checkout and from an installed copy, and what a record then says of its source."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evals import paths
from evals.config.models import resolve_model
from evals.packages import loaded_packages, packages
from evals.records import provenance

ROOT = Path(__file__).parents[1]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The code as it lies in site-packages: configs inside the package, and none beside it."""
    package = tmp_path / "site-packages" / "evals"
    (package / "_configs" / "tiny").mkdir(parents=True)
    monkeypatch.setattr(paths, "_PACKAGE", package)
    monkeypatch.setattr(paths, "_INSTALLED", package / "_configs")
    monkeypatch.setattr(paths, "_BUILT", package / "_built.json")
    return package


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody's git repository, which is the current folder."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for words in ("init -q", "-c user.name=x -c user.email=x@y.z commit -q --allow-empty -m x"):
        subprocess.run(["git", *words.split()], cwd=folder, check=True)
    monkeypatch.chdir(folder)
    return folder


def test_a_checkout_has_its_configs_beside_the_package():
    assert paths.checkout() == ROOT and paths.configs() == ROOT / "configs"
    assert paths.baseline_folders() == [Path("results/baselines"), ROOT / "results" / "baselines"]


def test_an_installed_copy_has_its_configs_inside(installed):
    assert paths.checkout() is None and paths.configs() == installed / "_configs"
    assert paths.baseline_folders() == [Path("results/baselines")]


def test_the_variable_wins_over_both(installed, tmp_path, monkeypatch):
    monkeypatch.setenv("EVALS_CONFIGS", str(tmp_path / "mine"))
    assert paths.configs() == tmp_path / "mine" and paths.bundled() == installed / "_configs"
    monkeypatch.setenv("EVALS_CONFIGS", "")
    assert paths.configs() == installed / "_configs"


def test_a_row_finds_the_bundled_checkpoint_from_a_folder_of_other_configs(
    installed, tmp_path, monkeypatch
):
    assert paths.of_row("configs/tiny") == installed / "_configs" / "tiny"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "models.yaml").write_text("tiny: {encoder: jina_clip, path: configs/tiny}\n")
    monkeypatch.setenv("EVALS_CONFIGS", str(mine))
    assert resolve_model("tiny").folder == installed / "_configs" / "tiny"
    (mine / "tiny").mkdir()
    assert resolve_model("tiny").folder == mine / "tiny"
    assert paths.of_row("weights/a") == tmp_path / "weights" / "a"


def test_a_record_names_a_bundled_checkpoint_alike_everywhere(installed, tmp_path, monkeypatch):
    assert paths.as_recorded(installed / "_configs" / "tiny") == "configs/tiny"
    assert paths.as_recorded(tmp_path) == str(tmp_path)
    monkeypatch.undo()
    assert paths.as_recorded(ROOT / "configs" / "tiny") == "configs/tiny"
    assert paths.as_recorded(ROOT / "checkpoints" / "a") == "checkpoints/a"


def test_an_installed_copy_never_takes_the_commit_of_the_folder_it_runs_in(
    installed, repository, monkeypatch
):
    assert provenance.source_state() is None
    built = {"commit": "a" * 40, "dirty": False}
    (installed / "_built.json").write_text(json.dumps(built))
    assert provenance.source_state() == {**built, "dirty": True}  # nothing vouches for the files
    monkeypatch.setattr(provenance, "_edited", lambda site: False)
    assert provenance.source_state() == built


def test_a_checkout_tells_its_commit_inside_a_hook_of_another_repository(repository, monkeypatch):
    before = provenance.source_state()
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    assert provenance.source_state() == before
    head = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    monkeypatch.delenv("GIT_DIR")
    if before is not None:  # the tests may run from source without git
        out = subprocess.run(head, capture_output=True, text=True, check=True).stdout
        assert before["commit"] == out.strip()


SAY = "from evals.command_line import command; print(command())"


def test_the_record_says_how_the_command_was_run(tmp_path):
    def said(*words: str) -> str:
        environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""}
        done = subprocess.run(
            [sys.executable, *words], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    for name in ("jina-clip-evals", "train.py", "room.py", "house/__main__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(SAY)
    assert said(f"{tmp_path}/jina-clip-evals", "run", "--data", "https://me:key@host/x") == str(
        ["jina-clip-evals", "run", "--data", "https://***@host/x"]
    )
    assert said("-m", "room", "x") == str(["python", "-m", "room", "x"])
    assert said("-m", "house", "x") == str(["python", "-m", "house", "x"])
    assert said(f"{tmp_path}/train.py") == str(["python", f"{tmp_path}/train.py"])


def test_a_record_names_the_packages_that_its_process_has_loaded(monkeypatch):
    assert "pillow" in packages()
    monkeypatch.delitem(sys.modules, "PIL", raising=False)
    assert "pillow" not in loaded_packages()
    assert "jina-clip-evals" in loaded_packages() or not packages().get("jina-clip-evals")


@pytest.mark.skipif(sys.platform != "linux", reason="read from Linux's /proc")
def test_the_memory_of_a_record_is_its_own_and_not_that_of_the_process_that_started_it():
    held = b"\1" * 500_000_000
    code = "from evals.records.provenance import peak_memory; print(peak_memory()['resident'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert 5 < float(done.stdout) < 300 < len(held) / 1e6
