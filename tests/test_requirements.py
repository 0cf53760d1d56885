"""What the code imports is what the project asks for: the core, or an extra that the error names."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"evals", "jina_clip"}
USERS = {"dev", "bench", "notebooks"}  # extras of the repository, which nothing in a wheel may need

# Modules that no extra needs to name, and why.
LOOKED_FOR = {
    "triton": "comes with torch where it runs; jina_clip.layers looks for it first",
    "cutlass": "comes with flash-attn-4 (its distribution is nvidia-cutlass-dsl); jina_clip.attention_backends tries it first",
    "torchvision": "comes with open-clip-torch; sentence-transformers' fast image processor takes it when it is there",
}
# Rooms that are entered by one door, which asks for the extra before anything of the room is imported.
DOORS = {
    "evals/mteb_bridge/": "mteb",
    "evals/encoders/api": "rivals",
    "evals/evaluation/ray_": "cluster",
    "evals/encoders/st_": "rivals",
}


class Import(NamedTuple):
    """A module of somebody else that a file of ours imports, at its top or inside a function."""

    file: Path
    module: str

    @property
    def where(self) -> str:
        return str(self.file.relative_to(ROOT))


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules that are imported by statement, by `import_module` or looked for by `find_spec`; not those for types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Call) and re.search(
            r"\b(import_module|find_spec)$", ast.unparse(node.func)
        ):
            match node.args[0]:
                case ast.Constant(value=str(name)):
                    yield name
        yield from imported(node)


def third_party() -> list[Import]:
    """All imports of others' modules in the two packages of the wheel."""
    imports = set()
    for file in (file for package in OURS for file in (ROOT / package).rglob("*.py")):
        for name in imported(ast.parse(file.read_text(encoding="utf-8"))):
            module = name.partition(".")[0]
            if module not in OURS and module not in sys.stdlib_module_names:
                imports.add(Import(file, module))
    return sorted(imports)


def names(requirements: Iterable[str]) -> set[str]:
    """`open-clip-torch>=3.3; extra == 'x'` as `open-clip-torch`."""
    found = {re.match(r"[\w.-]+", line)[0] for line in requirements}  # type: ignore[index]
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


@cache
def installed() -> Mapping[str, list[str]]:
    """The distributions behind each module of this environment."""
    return importlib.metadata.packages_distributions()


def distributions(module: str) -> set[str]:
    """The distributions that bring a module; the module's name when it is not installed."""
    return names(installed().get(module, [module]))


@cache
def with_requirements(name: str) -> frozenset[str]:
    """A distribution and all that it brings."""
    seen, todo = set(), {name}
    while todo:
        seen.add(following := todo.pop())
        try:
            lines = importlib.metadata.requires(following) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        todo |= names(line for line in lines if "extra ==" not in line) - seen
    return frozenset(seen)


CORE = names(PROJECT["dependencies"])
EXTRAS = {
    extra: {found for name in names(lines) for found in with_requirements(name)}
    for extra, lines in PROJECT["optional-dependencies"].items()
    if extra not in USERS
}


@pytest.mark.parametrize("item", third_party(), ids=lambda item: f"{item.where}-{item.module}")
def test_what_is_imported_is_asked_for(item):
    wanted = distributions(item.module)
    if wanted & CORE or item.module in LOOKED_FOR:
        return
    extras = [extra for extra, brought in EXTRAS.items() if wanted & brought]
    assert extras, (
        f"{item.where} imports {item.module}, which neither the core nor an extra asks for"
    )
    room = next((room for room in DOORS if item.where.startswith(room)), None)
    if room is not None:
        assert DOORS[room] in extras and asked_for(DOORS[room], outside=room)
        return
    text = item.file.read_text(encoding="utf-8")
    assert any(f"jina-clip-evals[{extra}]" in text for extra in extras), (
        f"{item.where} imports {item.module}, and no error in it names an extra of {extras}"
    )


def asked_for(extra: str, *, outside: str) -> bool:
    """Whether an error outside a room names the extra that the room needs."""
    files = [
        f for f in (ROOT / "evals").rglob("*.py") if not str(f).startswith(f"{ROOT}/{outside}")
    ]
    return any(f"jina-clip-evals[{extra}]" in file.read_text(encoding="utf-8") for file in files)


def test_the_core_asks_for_nothing_that_is_not_imported():
    used = {name for item in third_party() for name in distributions(item.module)}
    assert used >= CORE, f"never imported: {sorted(CORE - used)}"


def test_every_extra_that_an_error_names_exists():
    for file in (file for package in OURS for file in (ROOT / package).rglob("*.py")):
        for extras in re.findall(r"jina-clip-evals\[([\w,-]+)\]", file.read_text(encoding="utf-8")):
            assert set(extras.split(",")) <= set(EXTRAS), f"{file}: {extras}"
