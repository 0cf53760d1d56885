"""Attention over texts that lie end to end, each text for itself, in three ways.

What all three compute, for each text and head, with q, k and v of its tokens i and j:

    out_i = sum_j softmax_j(q_i . k_j / sqrt(head width) - slope * |i - j|) v_j

where the slope is that of the head's ALiBi bias (v1) or 0 (v2, whose q and k were turned by their
positions).

- runs: texts of equal length side by side are a dense batch; no padding, no mask; any device (`sdpa`);
- windows: texts of up to 128 tokens share windows of 128, with a block-diagonal mask; CUDA (`sdpa`);
- varlen: one kernel call over the ends of the texts; CUDA in half precision (`varlen`, `flash_attn`).

All take q, k and v as one tensor [t, 3, h, k] and give [t, h * k]. Shapes: see shapes.py.
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int32
from torch import Tensor

from jina_clip.shapes import FlatQkv, FlatTokens, Heads
from jina_clip.text_config import TextConfig

ATTENTION = ("auto", "sdpa", "varlen", "flash_attn")
# Tokens of a window: a multiple of the kernels' blocks, and longer than nearly all captions.
WINDOW = 128
# An ALiBi bias is built in blocks of queries of at most this many values: 256 MiB of float32.
BIAS_ELEMENTS = 1 << 26
Attend = Callable[[FlatQkv], FlatTokens]


class Run(NamedTuple):
    """A number of texts of `length` tokens each, one after the other."""

    texts: int
    length: int


def resolve_attention(
    choice: str, config: TextConfig, device: torch.device, dtype: torch.dtype
) -> str:
    """The backend of the text tower: "sdpa", "varlen" or "flash_attn".

    "auto" takes the first that can run: varlen, flash_attn, sdpa. The image tower has no padding
    and always runs on sdpa. ValueError gives the reason when the choice cannot run here.
    """
    if choice not in ATTENTION:
        raise ValueError(f"attention {choice!r} is not one of {', '.join(ATTENTION)}")
    obstacles = {name: _obstacle(name, config, device, dtype) for name in ("varlen", "flash_attn")}
    if choice == "auto":
        return next((name for name, obstacle in obstacles.items() if obstacle is None), "sdpa")
    if obstacles.get(choice):
        raise ValueError(f"attention {choice!r} cannot run: {obstacles[choice]}")
    return choice


def _obstacle(
    name: str, config: TextConfig, device: torch.device, dtype: torch.dtype
) -> str | None:
    """Why a varlen kernel cannot run; None when it can."""
    if name == "varlen" and config.position_embedding_type == "alibi":
        return (
            "torch's varlen attention has no ALiBi bias, which this text tower needs "
            "(flash_attn and sdpa have)"
        )
    if name == "varlen" and not _installed("torch.nn.attention.varlen"):
        return f"torch {torch.__version__} has no torch.nn.attention.varlen; it came with 2.10"
    if name == "flash_attn" and not _installed("flash_attn"):
        return "the package flash-attn is not installed (pip install 'jina-clip-evals[flash]')"
    # The order of the checks is that of their cost to the user: a package, a device, an option, a
    # GPU.
    if device.type != "cuda":
        return f"it takes a CUDA device, not {device.type}"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"it takes bfloat16 or float16, not {str(dtype).removeprefix('torch.')}"
    # Ampere: what FlashAttention-2's README asks for.
    if torch.cuda.get_device_capability(device) < (8, 0):
        gpu = torch.cuda.get_device_name(device)
        return f"it takes a GPU of compute capability 8.0 or higher, not {gpu}"
    return None


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


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


def attend_varlen(
    ends: Int32[Tensor, "texts_and_1"], longest: int, slopes: Sequence[float] | None, backend: str
) -> Attend:
    """One kernel for all texts; `ends` counts the tokens before each text and in all."""
    if backend == "varlen":
        from torch.nn.attention.varlen import varlen_attn

        def attend(qkv: FlatQkv) -> FlatTokens:
            q, k, v = qkv.unbind(1)
            # By position, and no more than these: what follows differs from torch 2.10 to 2.15.
            out = varlen_attn(q, k, v, ends, ends, longest, longest)
            return out.flatten(1)  # type: ignore[union-attr]

        return attend
    from flash_attn import flash_attn_varlen_func

    alibi = (
        None if slopes is None else torch.tensor(slopes, device=ends.device, dtype=torch.float32)
    )

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
