"""Runtime checks of shapes and types, made once per signature however often a function within a function is defined.

jaxtyping's import hook decorates every function of `jina_clip` and `evals`. What it hands to the checker is a stand-in that
has the signature alone. A function within a function is decorated whenever the outer one is called, which took a third of
the time of ranking a few rows. Its signature is the same each time, so the checked stand-in is too.
"""

from collections.abc import Callable
from typing import Any

_checked: dict[object, Callable[..., Any]] = {}


def beartype_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """beartype's check of a function without a body of its own; that of an equal signature, where there was one."""
    from beartype import beartype

    if function.__defaults__ or function.__kwdefaults__:
        return beartype(function)  # an array among the defaults has no hash
    hints = tuple(function.__annotations__.items())
    signature = (function.__module__, function.__qualname__, function.__code__, hints)
    try:
        if signature not in _checked:
            _checked[signature] = beartype(function)
    except TypeError:  # a hint without a hash
        return beartype(function)
    return _checked[signature]
