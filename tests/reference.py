"""The reference of all commands: docs/reference.md has each argument and option, made from the commands themselves.

python -m tests.reference            prints the page
python -m tests.reference --write    writes it, after an option was added, renamed or described anew
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from evals.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"
WIDTH = 78  # characters: what click takes of 80
HEAD = """# Reference of all commands

`jina-clip-evals NAME …` and `python -m evals.NAME …` are the same. What `--help` of each says, on one
page; `python -m tests.reference --write` makes it.
Exit codes: [README](../README.md#results).
"""


def sections(name: str, command: Any, level: int = 2) -> Iterator[str]:
    """The heading, usage and options of a command, then those of the commands below it."""
    # Usage lines break where they do in a terminal of 80 columns, whatever this one has.
    context = command.context_class(
        command, info_name=f"jina-clip-evals {name}", terminal_width=WIDTH
    )
    yield f"{'#' * level} {name}\n"
    yield f"{plain(command.help or '')}\n"
    yield f"```\n{context.command.get_usage(context).removeprefix('Usage: ')}\n```\n"
    rows = [row(parameter, context) for parameter in command.params if not parameter.hidden]
    if rows:
        yield "\n".join(["| option | meaning |", "|---|---|", *rows]) + "\n"
    for below, child in getattr(command, "commands", {}).items():
        yield from sections(f"{name} {below}", child, level + 1)


def row(parameter: Any, context: Any) -> str:
    """A line of the table: how it is written, and what it means with its default."""
    written, meaning = parameter.get_help_record(context)
    # some defaults are folders of the checkout, wherever it lies
    return f"| `{cell(written)}` | {cell(plain(meaning)).replace(f'{ROOT}/', '')} |"


def plain(text: str) -> str:
    """Help as a paragraph of Markdown: what looks like HTML is text."""
    return " ".join(text.split()).replace("<", "&lt;")


def cell(text: str) -> str:
    """Text that stays in its cell."""
    return text.replace("|", "\\|")


def page() -> str:
    """The whole page, in the order of `jina-clip-evals --help`."""
    blocks = [HEAD]
    for name, listed in COMMANDS.items():
        command = get_command(importlib.import_module(listed.module).app)
        blocks += sections(name, command)
    return "\n".join(blocks)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")
