"""How a loop is compiled by numba: once per machine where a folder can be written to, else once per process."""

import inspect
from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The loop without the interpreter's lock."""
    plain = inspect.unwrap(function)  # what checks shapes in tests cannot be compiled
    try:
        cached: Callable[..., Any] = njit(nogil=True, cache=True)(plain)
    except RuntimeError:  # no folder can be written to: every process compiles for itself
        return njit(nogil=True)(plain)
    return cached
