"""A hash of the code that computes rows, so that rows of other code are never reused."""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path


def hash_code(paths: Iterable[Path], *, package: str) -> str:
    """The sha256 of what the Python files of a package compute, taken as one body of code.

    Left out is what changes without changing a row: comments, docstrings, annotations, the order of
    definitions, which file they stand in, and imports from `package`. So code that moves to another
    file leaves the hash as it is, and nothing is encoded again. Imports of other packages count,
    once each: the same name from another library computes something else.

    A name that two files define is the exception. What defines or uses it belongs to its file, for
    in another one the same words mean something else.
    """
    files = {path: [*_statements(ast.parse(path.read_bytes()), package)] for path in paths}
    # Names of one definition mean the same wherever they are used, unless a library has it: those
    # imports are parts, too.
    counts = Counter(name for body in files.values() for name in set(_defined(body)))
    ambiguous = {name for name, count in counts.items() if count > 1}
    parts = set()
    for path, body in files.items():
        for statement in body:
            names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
            place = path.name if ambiguous & (names | {*_defined([statement])}) else ""
            # Without line numbers, which ast.dump leaves out: a comment moves nothing.
            parts.add(f"{place} {ast.dump(statement)}")
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


def _statements(module: ast.Module, package: str) -> Iterator[ast.stmt]:
    """What a file does when it is imported, bare of what `hash_code` leaves out."""
    for statement in _Bare(package).visit(module).body:
        if isinstance(statement, ast.Import):
            yield from (ast.Import([alias]) for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                yield ast.ImportFrom(statement.module, [alias], statement.level)
        else:
            yield statement


def _defined(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that statements bind, other than by importing."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            yield statement.name
        for target in (
            ast.walk(statement) if isinstance(statement, ast.Assign | ast.AnnAssign) else ()
        ):
            if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store):
                yield target.id


class _Bare(ast.NodeTransformer):
    """Takes docstrings, annotations and imports from one package out of a tree."""

    def __init__(self, package: str) -> None:
        self.package = package

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        """A string that stands alone is a docstring."""
        # Other constants that stand alone, such as `...`, compute nothing either.
        return None if isinstance(node.value, ast.Constant) else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        return None if str(node.module).partition(".")[0] == self.package else node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(node.arg)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        """A field of a dataclass stays one, whatever its type."""
        self.generic_visit(node)
        node.annotation = ast.Constant(...)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.returns = None
        return node
