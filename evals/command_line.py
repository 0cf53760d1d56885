"""The command line of this process, as it can be recorded, shown to others and typed again."""

import re
import sys
from pathlib import Path

from evals.early import CONSOLE_SCRIPT


def command() -> list[str]:
    """The command line that runs this process, with credentials in URLs blotted out.

    It starts with `python -m MODULE`, `jina-clip-evals` or `python SCRIPT`, without the folders
    that the interpreter and the console script lie in.
    """
    words = [*_program(), *sys.argv[1:]]
    return [re.sub(r"(?<=://)[^/@\s]+@", "***@", word) for word in words]


def _program() -> list[str]:
    spec = getattr(sys.modules["__main__"], "__spec__", None)  # set by `python -m` alone
    if spec is not None:
        return ["python", "-m", spec.name.removesuffix(".__main__")]
    if Path(sys.argv[0]).stem == CONSOLE_SCRIPT:
        return [CONSOLE_SCRIPT]
    return ["python", sys.argv[0]]
