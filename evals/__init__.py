"""Retrieval evaluation of jina-clip and the models it is compared with: encode once, score many, prove every number.

The names below are all that `import evals` offers. They are loaded when they are first used, so
that importing costs nothing.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from evals.early import hold_exit_codes

hold_exit_codes()

if TYPE_CHECKING:
    from evals.config.catalog import benchmarks
    from evals.config.models import models
    from evals.data.objects import image_text
    from evals.data.text_objects import text_pairs, text_retrieval
    from evals.encoders.objects import weights_hash
    from evals.library.comparing import Comparison, compare
    from evals.library.evaluating import evaluate
    from evals.library.runs import Run, list_runs, read_run
    from evals.library.scoring import score
    from evals.schema import Encoder, EvalError, ImageText, Side

# Not imported here: torch and pydantic would cost every `--help` seconds.
_PLACES = {
    "Comparison": "evals.library.comparing",
    "Encoder": "evals.schema",
    "EvalError": "evals.schema",
    "ImageText": "evals.schema",
    "Run": "evals.library.runs",
    "Side": "evals.schema",
    "benchmarks": "evals.config.catalog",
    "compare": "evals.library.comparing",
    "evaluate": "evals.library.evaluating",
    "image_text": "evals.data.objects",
    "list_runs": "evals.library.runs",
    "models": "evals.config.models",
    "read_run": "evals.library.runs",
    "score": "evals.library.scoring",
    "text_pairs": "evals.data.text_objects",
    "text_retrieval": "evals.data.text_objects",
    "weights_hash": "evals.encoders.objects",
}

__all__ = [
    "Comparison",
    "Encoder",
    "EvalError",
    "ImageText",
    "Run",
    "Side",
    "benchmarks",
    "compare",
    "evaluate",
    "image_text",
    "list_runs",
    "models",
    "read_run",
    "score",
    "text_pairs",
    "text_retrieval",
    "weights_hash",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'evals' has no attribute {name!r}")
    # PEP 562: called only for names that are not here yet.
    return getattr(importlib.import_module(_PLACES[name]), name)


class _Package(ModuleType):
    """This package, on which a command's module never takes the place of a name above.

    `evals.compare` is the function and `python -m evals.compare` the command: importing the module
    of the command would set it as the attribute.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PLACES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
