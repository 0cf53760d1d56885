"""Attention over texts packed end to end, in three ways; no text sees another.

What all three compute, for each text and head, with q, k and v of its tokens i and j:

    out_i = sum_j softmax_j(q_i . k_j / sqrt(head width) - slope * |i - j|) v_j

where the slope is that of the head's ALiBi bias (v1) or 0 (v2, whose q and k were turned by their
positions).

- runs: texts of equal length side by side are a dense batch; no padding, no mask; any device (`sdpa`);
- windows: texts of up to 128 tokens share windows of 128, with a block-diagonal mask; CUDA (`sdpa`);
- varlen: one kernel call over the ends of the texts; CUDA in half precision (`triton`, ours, with
  ALiBi or without; `varlen`, torch's; `flash_attn`; `flash_attn_4`).

Which of them runs here: attention_backends.py.

All take q, k and v as one tensor [t, 3, h, k] and give [t, h * k]. Shapes: see shapes.py.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from jina_clip.shapes import FlatQkv, FlatTokens, Heads

# Tokens of a window: a multiple of the kernels' blocks, and longer than nearly all captions.
WINDOW = 128
# An ALiBi bias is built in blocks of queries of at most this many values: 256 MiB of float32.
BIAS_ELEMENTS = 1 << 26
Attend = Callable[[FlatQkv], FlatTokens]


class Run(NamedTuple):
    """A number of texts of `length` tokens each, one after the other."""

    texts: int
    length: int


def attend_runs(runs: Sequence[Run], slopes: Sequence[float] | None) -> Attend:
    """Each run of equally long texts on its own."""

    def attend(qkv: FlatQkv) -> FlatTokens:
        mixed, start = [], 0
        with kernels("FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH", device=qkv.device):
            for run in runs:
                stop = start + run.texts * run.length
                q, k, v = (
                    qkv[start:stop].unflatten(0, (run.texts, run.length)).permute(2, 0, 3, 1, 4)
                )
                out = (
                    F.scaled_dot_product_attention(q, k, v)
                    if slopes is None
                    else alibi_attention(q, k, v, slopes)
                )
                mixed.append(out.transpose(1, 2).reshape(stop - start, -1))
                start = stop
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    return attend


def attend_windows(same: Bool[Tensor, "w 128 128"], slopes: Sequence[float] | None) -> Attend:
    """All windows at once; `same` tells which two places of a window belong to one text."""
    mask: Tensor = same[:, None]
    if slopes is not None:
        # A text lies in one piece, so the distance within the window is that within the text.
        mask = alibi_bias(slopes, WINDOW, same.device).masked_fill(~mask, float("-inf"))

    def attend(qkv: FlatQkv) -> FlatTokens:
        # As alibi_attention does: half precision would round the bias.
        dtype = qkv.dtype if slopes is None else torch.float32
        q, k, v = qkv.to(dtype).unflatten(0, (-1, WINDOW)).permute(2, 0, 3, 1, 4)
        with kernels("EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "MATH", device=qkv.device):
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return out.transpose(1, 2).reshape(len(qkv), -1).to(qkv.dtype)

    return attend


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """A copy that does not make the host wait for what a GPU has yet to do."""
    # From pageable memory it would: the driver copies in two steps, the second behind all work.
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def attend_varlen(
    lengths: Sequence[int], device: torch.device, slopes: Sequence[float] | None, backend: str
) -> Attend:
    """One kernel, of a name in attention_backends.KERNELS, for all texts in this order."""
    longest = max(lengths)
    ends = to_device(torch.tensor([0, *accumulate(lengths)], dtype=torch.int32), device)
    alibi = None if slopes is None else to_device(torch.tensor(slopes), device)
    if backend == "triton":
        from jina_clip.fused_attention import attend_texts

        return attend_texts(lengths, ends, alibi, partial(to_device, device=device))
    if backend == "varlen":
        from torch.nn.attention.varlen import varlen_attn

        def attend(qkv: FlatQkv) -> FlatTokens:
            q, k, v = qkv.unbind(1)
            # By position, and no more than these: what follows differs from torch 2.10 to 2.15.
            out = varlen_attn(q, k, v, ends, ends, longest, longest)
            return out.flatten(1)  # type: ignore[union-attr]

        return attend
    if backend == "flash_attn_4":
        from jina_clip.flash_attn_4 import attend_texts as attend_by_flash_4

        return attend_by_flash_4(ends, longest, alibi)
    # the extra jina-clip-evals[flash]
    from flash_attn import flash_attn_varlen_func

    def attend_flash(qkv: FlatQkv) -> FlatTokens:
        q, k, v = qkv.unbind(1)
        out: Tensor = flash_attn_varlen_func(
            q, k, v, ends, ends, longest, longest, alibi_slopes=alibi
        )
        return out.flatten(1)

    return attend_flash


def alibi_slopes(heads: int) -> list[float]:
    """One slope per head: steep heads look near, flat ones far."""
    # Press et al., arXiv:2108.12409: 2^(-8i/n) for i = 1..n where n is a power of two. For v1's 12
    # heads the authors' code takes the 8 slopes of 8 heads, then those of 16 heads that lie between
    # them.
    power = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (i + 1) / power) for i in range(power)]
    between = [2.0 ** (-4.0 * (2 * i + 1) / power) for i in range(heads - power)]
    return slopes + between


def alibi_bias(
    slopes: Sequence[float], length: int, device: torch.device, queries: slice = slice(None)
) -> Tensor:
    """The symmetric bias -slope * |i - j| for a slice of the queries: [h, queries, length]."""
    # In bf16, with 8 bits of mantissa, distances above 256 would be rounded.
    positions = torch.arange(length, device=device, dtype=torch.float32)
    per_head = torch.tensor(slopes, device=device, dtype=torch.float32)[:, None, None]
    return -per_head * (positions[queries, None] - positions).abs()


def alibi_attention(q: Heads, k: Heads, v: Heads, slopes: Sequence[float]) -> Heads:
    """Softmax attention with the ALiBi bias, in float32, in blocks of queries of bounded memory."""
    dtype, (_, heads, length, _) = q.dtype, q.shape
    q, k, v = q.float(), k.float(), v.float()
    block = max(1, BIAS_ELEMENTS // (heads * length))
    out = []
    # Autocast would take the product back to half precision, bias included.
    with torch.autocast(q.device.type, enabled=False):
        for start in range(0, length, block):
            rows = slice(start, min(start + block, length))
            bias = alibi_bias(slopes, length, q.device, rows)
            out.append(F.scaled_dot_product_attention(q[:, :, rows], k, v, attn_mask=bias[None]))
    return (out[0] if len(out) == 1 else torch.cat(out, dim=2)).to(dtype)


@contextmanager
def kernels(*names: str, device: torch.device) -> Iterator[None]:
    """Torch's attention kernels in the order of preference, on CUDA; elsewhere torch chooses.

    cuDNN plans anew for every shape (tens of milliseconds of host time), so it is for fixed shapes
    only.
    """
    if device.type != "cuda":
        yield
        return
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel([getattr(SDPBackend, name) for name in names], set_priority=True):
        yield
