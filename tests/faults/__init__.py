"""Faults while something is written, and damage to what was: nothing is lost, nothing is wrong, nothing is left over.

`make test` tries some of each kind, `make faults` all of them: EVALS_FAULTS=all, from EVALS_SEED on. A failure names the
seed of its case. After every fault the committed state is the old one or the new one, and doing the work again without a
fault gives what an undisturbed process gives, to the bit, with no temporary file left.
"""

import os
from pathlib import Path

ALL = os.environ.get("EVALS_FAULTS") == "all"
SEED = int(os.environ.get("EVALS_SEED", "0"))


def rounds(few: int, every: int) -> int:
    """How many cases of a kind to try: `few` in `make test`, `every` in `make faults`."""
    return every if ALL else few


def leftovers(root: Path) -> list[Path]:
    """The temporary files below a folder."""
    return [path for path in root.rglob("*") if path.suffix == ".part" or path.suffix == ".tmp"]
