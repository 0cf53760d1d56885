"""Side-by-side timings against peers, in one run, on the same weights and inputs: python -m benchmarks.NAME [--small]."""

import importlib.util
import sys
import types
from typing import Any


class _Shape:
    """Stands for Float, Int …: `Float[Tensor, "n d"]` is a Tensor to whoever does not check shapes."""

    def __class_getitem__(cls, item: Any) -> Any:
        return item[0]


if importlib.util.find_spec("jaxtyping") is None:  # GPU machines on which nothing can be installed
    _stub = types.ModuleType("jaxtyping")
    _stub.__getattr__ = lambda name: _Shape  # type: ignore[method-assign]
    sys.modules["jaxtyping"] = _stub
