"""The tree read aloud: docs/map.md has the first sentence of every file, made from the files themselves.

python -m tests.file_map            prints the page
python -m tests.file_map --write    writes it, after a file was added, moved or described anew
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "map.md"
# From the ground up: a room sees only those before it. One that is not named here comes last.
ROOMS = (
    "schema embeddings ranking stats config encoders records cli data tasks evaluation mteb_bridge "
    "analysis views export report regress watch dashboard library".split()
)
HEAD = """# The tree, read aloud

The first sentence of every file. Rooms stand from the ground up: each imports only rooms that stand
before it. `python -m tests.file_map --write` makes the page.
"""


def sentence(path: Path) -> str:
    """The first line of a file's docstring; "" where it has none."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = text.partition("\n")[0]
    # Commands go on with their usage, below.
    return first.removesuffix(":") + "." * first.endswith(":")


def folders() -> Iterator[Path]:
    """The model, the files beside the rooms, and the rooms from the ground up."""
    yield ROOT / "jina_clip"
    yield ROOT / "evals"
    rooms = [path.parent for path in (ROOT / "evals").glob("*/__init__.py")]
    order = {name: place for place, name in enumerate(ROOMS)}
    yield from sorted(rooms, key=lambda room: (order.get(room.name, len(order)), room.name))


def files(folder: Path) -> list[Path]:
    """The Python files of a folder but for its package file, which describes the folder."""
    return sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")


def page() -> str:
    """The whole page in Markdown."""
    parts = [HEAD]
    for folder in folders():
        name = folder.relative_to(ROOT).as_posix()
        lines = [f"- `{path.name}` {sentence(path)}" for path in files(folder)]
        parts.append(f"## {name}/\n\n{sentence(folder / '__init__.py')}\n\n" + "\n".join(lines))
    return "\n\n".join(part.strip() for part in parts) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")
