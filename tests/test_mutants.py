"""The stated faults apply to the code as it is now, and the planting tells those that are noticed from survivors."""

import subprocess
from pathlib import Path

import pytest

from evals.schema import ConfigError
from tests.mutants import Mutant, read_mutants
from tests.mutants.__main__ import ROOT, plant


@pytest.mark.parametrize("mutant", read_mutants(), ids=lambda mutant: mutant.name)
def test_a_stated_fault_applies(mutant):
    assert mutant.applied(ROOT)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module whose test looks at one of its two functions, not committed as a whole."""
    # each of its tests is a process, and none takes a plug-in of ours
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    root = tmp_path / "repository"
    (root / "tests").mkdir(parents=True)
    (root / "sums.py").write_text("def add(a, b):\n    return a + b\n")
    (root / "tests" / "test_sums.py").write_text(
        "from sums import add\ndef test_add():\n    assert add(2, 2) == 4\n"
    )
    for arguments in (
        "init -q",
        "add .",
        "-c user.name=t -c user.email=t@example.org commit -qm first",
    ):
        subprocess.run(["git", "-C", root, *arguments.split()], check=True)
    with (root / "sums.py").open("a") as file:
        file.write("def subtract(a, b):\n    return a - b\n")
    return root


def mutant(old: str, new: str, test: str = "tests/test_sums.py") -> Mutant:
    return Mutant("toy 1", "sums.py", old, new, test, "the sum is wrong")


def test_a_fault_that_a_test_notices_is_told_from_one_that_none_does(repository, capsys):
    noticed = mutant("a + b", "a + b + 1", "tests/test_sums.py::test_add")
    assert plant([noticed], repository, jobs=1) == 0
    survivors = [mutant("a - b", "b - a"), mutant("a + b", "a * b")]
    assert plant([noticed, *survivors], repository, jobs=2) == 1
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[2:]] == ["noticed", "SURVIVED", "SURVIVED", "3"]
    assert shown[-1] == "3 faults planted, 1 noticed, 2 survived"
    assert "a - b" in (repository / "sums.py").read_text()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (mutant("return", "yield"), "`old` is 2 times in sums.py"),
        (mutant("a ** b", "a"), "`old` is 0 times in sums.py"),
        (mutant("a + b", "a + b"), "changes nothing"),
        (mutant("a + b", "a", "tests/test_other.py"), "no tests/test_other.py"),
        (mutant("a + b", "a", "tests/test_sums.py::test_gone"), "has no test_gone"),
    ],
)
def test_an_entry_that_cannot_be_planted_is_refused(repository, wrong, message):
    with pytest.raises(ConfigError, match=message.replace("*", r"\*")):
        plant([wrong], repository, jobs=1)


def test_a_test_that_fails_anyway_proves_nothing(repository):
    (repository / "tests" / "test_sums.py").write_text("def test_add():\n    assert False\n")
    with pytest.raises(ConfigError, match="without a fault"):
        plant([mutant("a + b", "a")], repository, jobs=1)


def test_an_entry_without_its_reason_is_refused(tmp_path):
    (tmp_path / "toy.yaml").write_text("- {file: a, old: b, new: c, test: d}\n")
    with pytest.raises(ConfigError, match="toy 1: has the fields file, old, new, test"):
        read_mutants(tmp_path)
