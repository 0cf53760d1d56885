"""jina-clip run in other ways on purpose: other pooling, padding, cuts, GELU and pixels.

Nothing here is used to measure a model; see variants.py. Shapes: n texts, d dimensions.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from evals.encoders.jina import JinaEncoder
from evals.encoders.token_changes import (
    SPECIAL,
    Change,
    cut_at_beginning,
    cut_hard,
    left_under_right_mask,
    padded_to,
    padded_to_longest,
    with_special,
)
from evals.encoders.variant import GELUS, Cut, Rows, Variant, gelu
from evals.schema import Side
from jina_clip.layers import Mlp
from jina_clip.packing import Ids
from jina_clip.passes import inference

BATCH = 16  # texts of a pass: few, since some are lengthened to hundreds of tokens
LONGEST = 8192  # tokens that both released models read at most
FIXED = (77, 512)  # tokens that servers with static shapes pad to
POOLS: dict[str, str] = {
    "cls": "with the first token instead of the mean over tokens",
    "last": "with the last token instead of the mean over tokens",
    "max": "with the maximum over tokens instead of their mean",
    "inner": "with the mean over tokens less the special ones",
}
# The statistics of other towers: those of ImageNet, and those that map to [-1, 1].
PIXELS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "of ImageNet"),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "of 0.5"),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "of 0 and 1"),
}


def plain_variants(encoder: JinaEncoder) -> list[Variant]:
    """Those that each item shows by itself."""
    variants = [
        Variant(f"pool_{pool}", "pooling", "text", words, _texts(encoder, pool=pool))
        for pool, words in POOLS.items()
    ]
    pad = encoder.config.text.pad_token_id
    for length in FIXED:
        words = f"with padding to {length} tokens that is attended to and pooled"
        rows = _texts(encoder, change=padded_to(length, pad))
        variants.append(Variant(f"padded_{length}", "padding", "text", words, rows))
    for name, (special, words) in SPECIAL.items():
        rows = _texts(encoder, change=with_special(special))
        variants.append(Variant(name, "special tokens", "text", words, rows))
    for name, words in GELUS.items():
        rows = _with_gelu(encoder, name)
        variants.append(Variant(f"gelu_{name}", "activation", "text", words, rows))
    for name, (mean, std, whose) in PIXELS.items():
        words = f"with the mean and deviation {whose} for pixels"
        rows = _normalised_by(encoder, mean, std)
        variants.append(Variant(f"pixels_{name}", "pixel values", "image", words, rows))
    resize = _other_resize(encoder)
    return [*variants, resize, _half(encoder, "text"), _half(encoder, "image")]


def cuts(encoder: JinaEncoder) -> list[Cut]:
    """Texts cut as tokenizers do, then without the special token at the end, then at the beginning."""

    def at_end(limit: int) -> Variant:
        words = f"with texts cut at {limit} tokens"
        rows = _texts(encoder, max_length=limit)
        return Variant(f"cut_{limit}", "truncation", "text", words, rows)

    def hard(limit: int) -> Variant:
        words = f"with texts cut at {limit} tokens, and so without the special token at the end"
        rows = _texts(encoder, change=cut_hard(limit))
        return Variant(f"cut_hard_{limit}", "truncation", "text", words, rows)

    def at_beginning(limit: int) -> Variant:
        words = f"with the last {limit} tokens of texts, cut at the beginning"
        rows = _texts(encoder, change=cut_at_beginning(limit))
        return Variant(f"cut_left_{limit}", "truncation", "text", words, rows)

    # Beyond the encoder's own limit, too: the other model may read more.
    return [Cut(LONGEST, at_end), Cut(LONGEST, hard), Cut(LONGEST, at_beginning)]


def padded(encoder: JinaEncoder) -> list[Variant]:
    """What padding does to a batch of unequal texts, where it is not left out."""
    pad = encoder.config.text.pad_token_id
    changes: dict[str, tuple[str, Change, str]] = {
        "left_under_right_mask": (
            "with padding on the left under a mask for the right",
            left_under_right_mask(pad),
            "mean",
        ),
        "attended": ("with padding that is attended to and pooled", padded_to_longest(pad), "mean"),
        "attended_left": (
            "with padding on the left that is attended to and pooled",
            padded_to_longest(pad, on_left=True),
            "mean",
        ),
        "last_of_right": (
            "with the last token of a batch that is padded on the right",
            padded_to_longest(pad),
            "last",
        ),
    }
    return [
        Variant(f"padding_{name}", "padding", "text", words, _texts(encoder, change, pool=pool))
        for name, (words, change, pool) in changes.items()
    ]


def _texts(
    encoder: JinaEncoder,
    change: Change | None = None,
    *,
    pool: str = "mean",
    max_length: int | None = None,
) -> Rows:
    """Rows of texts whose tokens are changed or pooled otherwise."""

    def rows(side: Side) -> np.ndarray:
        model = encoder.model
        prefix = model.instruction(encoder._task(side))
        longest = max_length or encoder.max_length
        ids = model.tokenize(list(side.items), prefix=prefix, max_length=longest)
        tokens = change(ids) if change else [list(text) for text in ids]
        with inference(model):
            parts = [
                _pooled(encoder, tokens[start : start + BATCH], pool)
                for start in range(0, len(tokens), BATCH)
            ]
        unit: np.ndarray = F.normalize(torch.cat(parts), dim=1).cpu().numpy()
        return unit

    return rows


def _pooled(encoder: JinaEncoder, tokens: Sequence[Ids], pool: str) -> Float[Tensor, "n d"]:
    """The last hidden states of some texts, each pooled in one way."""
    tower = encoder.model.text_model
    packed = tower.pack(tokens)
    states = tower.encoder(tower.emb_ln(tower.embeddings(packed.ids)), packed).float()
    ends = np.cumsum([len(text) for text in tokens]).tolist()
    starts = [0, *ends[:-1]]
    pooled = []
    for start, end in zip(starts, ends, strict=True):
        text = states[start:end]
        if pool == "cls":
            pooled.append(text[0])
        elif pool == "last":
            pooled.append(text[-1])
        elif pool == "max":
            pooled.append(text.amax(0))
        # A text of special tokens alone has no inner ones.
        elif pool == "inner" and len(text) > 2:
            pooled.append(text[1:-1].mean(0))
        else:
            pooled.append(text.mean(0))
    return torch.stack(pooled)


def _with_gelu(encoder: JinaEncoder, name: str) -> Rows:
    def rows(side: Side) -> np.ndarray:
        with _text_gelu(encoder, name):
            return _texts(encoder)(side)

    return rows


@contextmanager
def _text_gelu(encoder: JinaEncoder, name: str) -> Iterator[None]:
    """Another GELU in all MLPs of the text tower, for the time of a block."""
    activation = gelu(name)
    mlps: list[Any] = [layer.mlp for layer in encoder.model.text_model.encoder.layers]
    for mlp in mlps:
        # An attribute of the instance is found before the method of its class.
        mlp.forward = _plain_mlp(mlp, activation)
    try:
        yield
    finally:
        for mlp in mlps:
            del mlp.forward


def _plain_mlp(mlp: Any, activation: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    if isinstance(mlp, Mlp):
        return lambda x: mlp.fc2(activation(F.linear(x, mlp.fc1.weight, mlp.fc1.bias)))

    def gated(x: Tensor) -> Tensor:
        gate, value = mlp.gated_layers(x).chunk(2, dim=-1)
        gated_values: Tensor = mlp.wo(activation(gate) * value)
        return gated_values

    return gated


def _normalised_by(
    encoder: JinaEncoder, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Rows:
    def rows(side: Side) -> np.ndarray:
        before = encoder.model.preprocess
        encoder.model.preprocess = replace(before, mean=mean, std=std)
        try:
            return encoder.encode(side)
        finally:
            encoder.model.preprocess = before

    return rows


def _other_resize(encoder: JinaEncoder) -> Variant:
    """Pillow's resize instead of torch's for bytes, or the other way round."""
    mode = "fast" if encoder.preprocess == "exact" else "exact"

    def rows(side: Side) -> np.ndarray:
        before, encoder.preprocess = encoder.preprocess, mode
        try:
            return encoder.encode(side)
        finally:
            encoder.preprocess = before

    words = f"with --preprocess {mode}"
    return Variant(f"resize_{mode}", "resize", "image", words, rows)


def _half(encoder: JinaEncoder, kind: str) -> Variant:
    """The other one of float32 and bfloat16. It is no fault: the rows are meant to be the same."""
    dtype = "bfloat16" if encoder.dtype == "float32" else "float32"
    loaded: list[JinaEncoder] = []

    def rows(side: Side) -> np.ndarray:
        if not loaded:  # once for all sides, and only where there is a difference to explain
            loaded.append(_in_dtype(encoder, dtype))
        return loaded[0].encode(side)

    return Variant(f"dtype_{dtype}", "precision", kind, f"in {dtype}", rows)  # type: ignore[arg-type]


def _in_dtype(encoder: JinaEncoder, dtype: str) -> JinaEncoder:
    return JinaEncoder(
        name=encoder.name,
        folder=encoder.checkpoint.folder,
        adapter=encoder.checkpoint.adapter,
        device=encoder.device,
        dtype=dtype,
        max_length=encoder.max_length,
    )
