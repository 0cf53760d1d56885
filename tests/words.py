"""How the code reads, measured: names that are pronouns, syntax per line, walrus, wide lines and comments, per room.

python -m tests.words [FOLDER...]
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
# Words that stand for a thing instead of naming it: a reader must look up what they mean.
PRONOUNS = frozenset(
    "found told own every some given asked wanted of one other others more left many few both whole said known made "
    "kept".split()
)
WIDE = 100


class Measure(NamedTuple):
    """What a part of the code is made of. Lines are those with something on them."""

    functions: int
    pronouns: int
    lines: int
    nodes: int
    walrus: int
    wide: int
    comments: int

    @property
    def rates(self) -> dict[str, float]:
        """The rates that style.md gives aims for; 0 where there is nothing to measure."""
        return {
            "pronouns per 100 functions": 100 * self.pronouns / max(self.functions, 1),
            "syntax nodes per line": self.nodes / max(self.lines, 1),
            "walrus per 1,000 lines": 1000 * self.walrus / max(self.lines, 1),
            "% of lines wider than 100": 100 * self.wide / max(self.lines, 1),
            "comments per 100 lines": 100 * self.comments / max(self.lines, 1),
        }


def measure(paths: Iterable[Path]) -> Measure:
    """All these files as one."""
    totals = Counter[str]()
    for path in paths:
        text = path.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line.strip()]
        totals["lines"] += len(lines)
        totals["wide"] += sum(len(line) > WIDE for line in lines)
        totals["comments"] += sum(line.lstrip().startswith("#") for line in lines)
        for node in ast.walk(ast.parse(text)):
            totals["nodes"] += 1
            totals["walrus"] += isinstance(node, ast.NamedExpr)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                totals["functions"] += 1
                totals["pronouns"] += len(names_of(node) & PRONOUNS)
    return Measure(**{field: totals[field] for field in Measure._fields})


def names_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The parameters and local names that a function gives, those of its inner functions included."""
    stored = {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    arguments = function.args
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    rest = [parameter for parameter in (arguments.vararg, arguments.kwarg) if parameter]
    return stored | {parameter.arg for parameter in [*parameters, *rest]}


def rooms() -> dict[str, list[Path]]:
    """The files of each room of the house: a folder of `evals/`, the files beside the rooms, and the model."""
    by_room: dict[str, list[Path]] = {}
    for path in sorted((ROOT / "evals").rglob("*.py")):
        inside = path.relative_to(ROOT / "evals").parts
        by_room.setdefault(f"evals/{inside[0]}" if len(inside) > 1 else "evals", []).append(path)
    by_room["jina_clip"] = sorted((ROOT / "jina_clip").rglob("*.py"))
    return by_room


def main(folders: list[str]) -> None:
    """Print a line of rates for each room, or for each folder."""
    parts = {name: sorted(Path(name).rglob("*.py")) for name in folders} if folders else rooms()
    parts["all of it"] = [path for paths in parts.values() for path in paths]
    for name, paths in parts.items():
        rates = measure(paths).rates
        print(f"{name:20}", *(f"{rate:6.1f} {what}" for what, rate in rates.items()), sep="  ")


if __name__ == "__main__":
    main(sys.argv[1:])
