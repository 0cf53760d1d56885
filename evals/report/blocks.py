"""Keeps tables inside README.md and docs/*.md true.

A block stands between `<!-- report TABLE from FOLDER -->` and `<!-- /report -->`. FOLDER holds the
records that it is made of, below the root of the repository. They are in git, so that each machine
makes the same block.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from evals.report.as_markdown import block
from evals.report.measured import Records
from evals.report.official import find_table
from evals.report.verdicts import judge
from evals.schema import InvalidError

_OPEN = re.compile(r"<!-- report (?P<table>\S+) from (?P<folder>\S+) -->")
_CLOSE = "<!-- /report -->"


def pages(root: Path) -> Iterator[Path]:
    """The pages that may hold blocks."""
    # Of the top folder and docs alone: pages of results and of tests are not ours to rewrite.
    for path in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        if path.is_file():
            yield path


def refreshed(path: Path, root: Path) -> str:
    """The page with all its blocks made anew.

    InvalidError for a block that does not end, or whose marker cannot be read.
    """
    new: list[str] = []
    lines = iter(enumerate(path.read_text(encoding="utf-8").split("\n"), 1))
    for number, line in lines:
        new.append(line)
        if not line.startswith("<!-- report"):
            continue
        match = _OPEN.fullmatch(line)
        if match is None:
            raise InvalidError(f"{path}, line {number}: write <!-- report TABLE from FOLDER -->.")
        # drops the lines of the old block
        if not any(text == _CLOSE for _, text in lines):
            raise InvalidError(
                f"{path}, line {number}: the block does not end; write {_CLOSE} after it."
            )
        judged = judge(find_table(match["table"]), Records(root / match["folder"]))
        # blank lines: without them a Markdown table is a paragraph
        new += ["", block(judged), "", _CLOSE]
    return "\n".join(new)
