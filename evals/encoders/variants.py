"""Runs models in a wrong way on purpose, as a faulty server would, to see whether the server's rows come out.

A variant is a hypothesis about a model whose rows differ: "it takes the first token", "it cuts texts
at 77 tokens". It is tested by running the model at hand in that way.
"""

from dataclasses import replace
from typing import Any, NamedTuple

from evals.encoders.objects import ArrayEncoder
from evals.encoders.variant import Cut, Rows, Variant, gelu_variants
from evals.schema import Encoder


class Variants(NamedTuple):
    """The variants of a model.

    `plain` need one pass over a side; `padded` are told apart only in a batch of texts of unequal
    length, and take the side as one batch. `cuts` make variants for any number of tokens, the usual
    way to cut first.
    """

    plain: list[Variant]
    padded: list[Variant]
    cuts: list[Cut]


def variants_of(encoder: Encoder) -> Variants:
    """What can be tried with this encoder; nothing for rows that are only looked up."""
    from evals.encoders.jina import JinaEncoder

    if isinstance(encoder, ArrayEncoder):
        return Variants([], [], [])
    plain = _with_roles(encoder)
    if isinstance(encoder, JinaEncoder):
        from evals.encoders.jina_variants import cuts, padded, plain_variants

        return Variants(plain + plain_variants(encoder), padded(encoder), cuts(encoder))
    if type(encoder).__name__ == "SentenceTransformersEncoder":
        from evals.encoders.st_variants import cuts_st, padded_st, plain_st

        return Variants(plain + plain_st(encoder), padded_st(encoder), cuts_st(encoder))
    module = _torch_module(encoder)
    return Variants(plain + (gelu_variants(encoder.encode, module) if module else []), [], [])


def image_size(encoder: Encoder) -> int | None:
    """The pixels of a side that images are resized to, where the encoder tells."""
    from evals.encoders.jina import JinaEncoder

    if isinstance(encoder, JinaEncoder):
        return encoder.model.preprocess.size
    size = getattr(getattr(_torch_module(encoder), "visual", None), "image_size", None)
    return size[0] if isinstance(size, tuple) else size


def _with_roles(encoder: Encoder) -> list[Variant]:
    """The prompts that a model has by itself."""

    def in_role(role: Any) -> Rows:
        return lambda side: encoder.encode(replace(side, role=role))

    words = {
        None: "without an instruction",
        "query": "with its instruction for queries",
        "document": "with its instruction for documents",
    }
    return [
        Variant(f"role_{role or 'none'}", "prompt", "text", text, in_role(role))
        for role, text in words.items()
    ]


def _torch_module(encoder: Encoder) -> Any:
    """The torch module behind an encoder of open_clip or of a program; None where there is none."""
    module = getattr(encoder, "model", None) or getattr(
        getattr(encoder, "_loaded", None), "model", None
    )
    return module if hasattr(module, "modules") else None
