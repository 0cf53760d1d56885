"""Stated faults, each with the test that must notice it: do the tests bite?

An entry of `*.yaml` here says which text of which file is replaced (`file`, `old`, `new`), which test must then fail
(`test`: a file, or a test in it by `::name`), and what would go wrong unnoticed (`why`).
"""

from pathlib import Path
from typing import NamedTuple

from evals.reading import read_yaml
from evals.schema import ConfigError

FOLDER = Path(__file__).parent


class Mutant(NamedTuple):
    """One planted fault; `name` is its list and its place in it, from 1."""

    name: str
    file: str
    old: str
    new: str
    test: str
    why: str

    def applied(self, root: Path) -> str:
        """The text of the file below `root` with the fault in it; ConfigError when `old` is not there exactly once."""
        path = root / self.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if (times := text.count(self.old)) != 1:
            raise ConfigError(f"{self.name}: `old` is {times} times in {self.file}. Quote it anew.")
        if self.new == self.old:
            raise ConfigError(f"{self.name}: `new` changes nothing.")
        test_file, _, test = self.test.partition("::")
        if not (root / test_file).is_file():
            raise ConfigError(f"{self.name}: there is no {test_file}.")
        if f"def {test}" not in (root / test_file).read_text(encoding="utf-8"):
            raise ConfigError(f"{self.name}: {test_file} has no {test}.")
        return text.replace(self.old, self.new)


def read_mutants(folder: Path = FOLDER) -> list[Mutant]:
    """All entries of the lists in a folder. ConfigError for an entry that lacks a field or has one that is not known."""
    mutants = []
    for path in sorted(folder.glob("*.yaml")):
        for number, entry in enumerate(read_yaml(path), 1):
            name = f"{path.stem} {number}"
            if set(entry) != set(Mutant._fields) - {"name"}:
                raise ConfigError(f"{name}: has the fields {', '.join(entry)}.")
            mutants.append(Mutant(name, **entry))
    return mutants
