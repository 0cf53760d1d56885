"""Tables inside README.md and docs/*.md, between `<!-- report TABLE from FOLDER -->` and `<!-- /report -->`, kept true by code.

FOLDER holds the records that the table is made of, below the root of the repository: those that are in git, so that every
machine makes the same block.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from evals.report.markdown import block
from evals.report.measured import Records
from evals.report.tables import table
from evals.report.verdicts import judge
from evals.schema import InvalidError

_OPEN = re.compile(r"<!-- report (?P<table>\S+) from (?P<folder>\S+) -->")
_CLOSE = "<!-- /report -->"


def pages(root: Path) -> Iterator[Path]:
    """The pages that may hold blocks."""
    yield from (
        path
        for path in (root / "README.md", *sorted((root / "docs").glob("*.md")))
        if path.is_file()
    )


def refreshed(path: Path, root: Path) -> str:
    """The page with all its blocks made anew. InvalidError for a block that does not end, or whose marker cannot be read."""
    old = path.read_text(encoding="utf-8").split("\n")
    new: list[str] = []
    lines = iter(enumerate(old, 1))
    for number, line in lines:
        new.append(line)
        if not line.startswith("<!-- report"):
            continue
        match = _OPEN.fullmatch(line)
        if match is None:
            raise InvalidError(f"{path}, line {number}: write <!-- report TABLE from FOLDER -->.")
        if not any(inner == _CLOSE for _, inner in lines):
            raise InvalidError(
                f"{path}, line {number}: the block does not end; write {_CLOSE} after it."
            )
        new += [
            "",
            block(judge(table(match["table"]), Records(root / match["folder"]))),
            "",
            _CLOSE,
        ]
    return "\n".join(new)
