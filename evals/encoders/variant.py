"""A deliberately different way to run a model, as a value, and the ways that all libraries share."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from evals.schema import Kind, Side

Rows = Callable[[Side], np.ndarray]


class Variant(NamedTuple):
    """One way to run a model: what it is called, the cause it stands for, and the rows it gives.

    `words` goes on after "run": "with texts cut at 77 tokens". `rows` takes a side of `kind` and
    gives float32 of shape (n, d), of any norm.
    """

    name: str
    cause: str
    kind: Kind
    words: str
    rows: Rows


class Cut(NamedTuple):
    """A way to cut texts at any number of tokens, special ones included, up to `most`."""

    most: int
    at: Callable[[int], Variant]


# tanh: Hendrycks & Gimpel 2016, the approximation of GPT-2. quick: x * sigmoid(1.702 x), of CLIP.
GELUS: Mapping[str, str] = {
    "exact": "with the exact GELU",
    "tanh": "with the tanh approximation of GELU",
    "quick": "with the quick GELU of CLIP, x * sigmoid(1.702 x)",
}


def gelu(kind: str) -> Callable[[Any], Any]:
    """One of GELUS, of a tensor."""
    import torch
    import torch.nn.functional as F

    functions: dict[str, Callable[[Any], Any]] = {
        "exact": F.gelu,
        "tanh": lambda x: F.gelu(x, approximate="tanh"),
        "quick": lambda x: x * torch.sigmoid(1.702 * x),
    }
    return functions[kind]


def gelu_variants(encode: Rows, module: Any) -> list[Variant]:
    """The same model with each GELU in place of those that are layers of their own."""
    variants = []
    kinds: tuple[Kind, ...] = ("text", "image")
    for name, words in GELUS.items():
        for kind in kinds:
            rows = _hooked(encode, module, name)
            variants.append(Variant(f"gelu_{name}", "activation", kind, words, rows))
    return variants


def _hooked(encode: Rows, module: Any, name: str) -> Rows:
    def rows(side: Side) -> np.ndarray:
        with _activations(module, name):
            return encode(side)

    return rows


@contextmanager
def _activations(module: Any, name: str) -> Iterator[None]:
    """Another GELU for the time of a block: a hook answers in place of each such layer."""
    function = gelu(name)
    # torch.nn.GELU, open_clip's QuickGELU, transformers' GELUActivation, NewGELUActivation …
    layers = [layer for layer in module.modules() if "gelu" in type(layer).__name__.lower()]
    hooks = [
        layer.register_forward_hook(lambda _layer, inputs, _output: function(inputs[0]))
        for layer in layers
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
