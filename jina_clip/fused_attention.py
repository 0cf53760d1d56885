"""Attention over texts that lie end to end, as one CUDA kernel in Triton: any lengths, with ALiBi or without.

A program takes a block of queries of one text and one head, and goes over the keys of that text
with a running softmax (Milakov & Gimelshein, arXiv:1805.02867; Dao, arXiv:2205.14135). Blocks are
as short as the texts, so that captions fill them, and their sizes follow from the length of the
text alone: what a text gives does not depend on the texts beside it.

Imported only where a tensor is on CUDA; TRITON_INTERPRET=1 runs the kernel on a CPU, as tests do.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, no_type_check

import numpy as np
import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int32
from torch import Tensor
from torch.cuda import device_of

from jina_clip.fused import OPTIONS
from jina_clip.shapes import FlatQkv, FlatTokens

LOG2_E = 1.4426950408889634


class Tile(NamedTuple):
    """How texts of up to `longest` tokens are cut, and how many threads a block of them gets."""

    longest: int
    queries: int
    keys: int
    warps: int
    stages: int


# As short as the texts: of a block that is longer, the places behind the text are computed in vain.
TILES = (
    Tile(16, 16, 16, 1, 2),
    Tile(32, 32, 32, 2, 2),
    Tile(64, 64, 64, 4, 2),
    Tile(1 << 30, 128, 64, 4, 3),
)


@triton.jit
@no_type_check
def attend_kernel(
    qkv, out, ends, blocks, slopes, scale, row_stride, width,
    D: tl.constexpr, ALIBI: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """A program mixes the values of one text for QUERIES of its tokens and one head."""
    at, head = tl.program_id(0), tl.program_id(1)
    text, first = tl.load(blocks + 2 * at), tl.load(blocks + 2 * at + 1)
    start = tl.load(ends + text)
    length = tl.load(ends + text + 1) - start
    channel, query = tl.arange(0, D), first + tl.arange(0, QUERIES)
    base = qkv + start.to(tl.int64) * row_stride + head * D
    is_query = (query < length)[:, None]
    q = tl.load(base + query[:, None] * row_stride + channel[None, :], mask=is_query, other=0.0)
    if ALIBI:
        slope = tl.load(slopes + head) * 1.4426950408889634
    best = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    mixed = tl.zeros([QUERIES, D], tl.float32)
    for begin in range(0, length, KEYS):
        key = begin + tl.arange(0, KEYS)
        is_key = key < length
        rows = key * row_stride
        k = tl.load(
            base + width + rows[None, :] + channel[:, None], mask=is_key[None, :], other=0.0
        )
        # Scores are in powers of 2, which the card has an instruction for: scale holds log2(e).
        score = tl.dot(q, k) * scale
        if ALIBI:
            score -= slope * tl.abs(query[:, None] - key[None, :]).to(tl.float32)
        score = tl.where(is_key[None, :], score, float("-inf"))
        # The shares so far fade as a higher score turns up; the first block always has one.
        higher = tl.maximum(best, tl.max(score, 1))
        share = tl.math.exp2(score - higher[:, None])
        fade = tl.math.exp2(best - higher)
        total = total * fade + tl.sum(share, 1)
        v = tl.load(
            base + 2 * width + rows[:, None] + channel[None, :], mask=is_key[:, None], other=0.0
        )
        mixed = tl.dot(share.to(v.dtype), v, mixed * fade[:, None])
        best = higher
    places = out + (start.to(tl.int64) + query)[:, None] * width + head * D + channel[None, :]
    tl.store(places, (mixed / total[:, None]).to(out.dtype.element_ty), mask=is_query)


def query_blocks(lengths: Sequence[int], queries: int, chosen: np.ndarray) -> np.ndarray:
    """For each block of queries of the chosen texts: the text and its first query, int32 [blocks, 2].

    The longest texts come first: they take longest, and a card that begins with them ends evenly.
    """
    sizes = np.asarray(lengths)[chosen]
    order = np.argsort(-sizes, kind="stable")
    texts, counts = chosen[order], -(-sizes[order] // queries)
    first = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([np.repeat(texts, counts), first * queries], axis=1).astype(np.int32)


def attend_texts(
    lengths: Sequence[int],
    ends: Int32[Tensor, " texts_and_1"],
    slopes: Float[Tensor, " h"] | None,
    to_device: Callable[[Tensor], Tensor],
) -> Callable[[FlatQkv], FlatTokens]:
    """Attention within each text; `ends` counts the tokens before each of them and in all.

    The blocks go to the device once, for all layers of a pass.
    """
    sizes = np.asarray(lengths)
    launches, shortest = [], 0
    for tile in TILES:
        chosen = np.flatnonzero((sizes > shortest) & (sizes <= tile.longest))
        shortest = tile.longest
        if len(chosen):
            blocks = query_blocks(lengths, tile.queries, chosen)
            launches.append((tile, to_device(torch.from_numpy(blocks))))

    def attend(qkv: FlatQkv) -> FlatTokens:
        tokens, _, heads, width = qkv.shape
        out = qkv.new_empty(tokens, heads * width)
        with device_of(qkv):
            for tile, blocks in launches:
                attend_kernel[(len(blocks), heads)](
                    qkv, out, ends, blocks, ends if slopes is None else slopes,
                    width**-0.5 * LOG2_E, 3 * heads * width, heads * width,
                    D=width, ALIBI=slopes is not None, QUERIES=tile.queries, KEYS=tile.keys,
                    num_warps=tile.warps, num_stages=tile.stages, **OPTIONS,
                )  # fmt: skip
        return out

    return attend
