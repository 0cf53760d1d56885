"""Element-wise work as single CUDA kernels, in Triton.

torch's would read and write the activations several times.

Imported only where a tensor is on CUDA. Numbers are float32 inside, whatever the dtype of the
activations, and are rounded once. A compiled tower takes the plain code, which the compiler fuses
itself. TRITON_INTERPRET=1 runs the kernels on a CPU, as tests do.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from jina_clip.shapes import Table

# Heads that one program turns: a few thousand values, enough to hide the latency of memory.
VECTORS = 32


@triton.jit  # type: ignore[untyped-decorator]
def turn_kernel(  # type: ignore[no-untyped-def]
    x, cos, sin, row_stride, table_rows, vectors,
    HALF: tl.constexpr, STEP: tl.constexpr, OFFSET: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """A program turns BLOCK_V heads of one token."""
    # (a, b) -> (a cos - b sin, b cos + a sin), as layers._turn; the queries' heads come first, then
    # the keys'.
    row = tl.program_id(0).to(tl.int64)
    vector = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    pair = tl.arange(0, BLOCK_C)
    at = (row % table_rows) * HALF + pair
    c = tl.load(cos + at, mask=pair < HALF, other=1.0)[None, :]
    s = tl.load(sin + at, mask=pair < HALF, other=0.0)[None, :]
    first = x + row * row_stride + vector[:, None] * (2 * HALF) + pair[None, :] * STEP
    inside = (vector < vectors)[:, None] & (pair < HALF)[None, :]
    a = tl.load(first, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(first + OFFSET, mask=inside, other=0.0).to(tl.float32)
    tl.store(first, (a * c - b * s).to(x.dtype.element_ty), mask=inside)
    tl.store(first + OFFSET, (b * c + a * s).to(x.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def swiglu_norm_kernel(x, weight, bias, out, hidden, padded, eps, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """A program takes one token: LayerNorm of silu(gate) * value, with zeros in the padding."""
    # g = gate * sigmoid(gate) * value; out = (g - mean g) / sqrt(var g + eps) * weight + bias. Mean
    # and variance are over the true width, as if there were no padding.
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < hidden
    gate = tl.load(x + row * 2 * padded + column, mask=inside, other=0.0).to(tl.float32)
    value = tl.load(x + row * 2 * padded + padded + column, mask=inside, other=0.0).to(tl.float32)
    gated = gate * tl.sigmoid(gate) * value
    centred = tl.where(inside, gated - tl.sum(gated, axis=0) / hidden, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / hidden + eps)
    w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(
        out + row * padded + column,
        (centred * scale * w + b).to(out.dtype.element_ty),
        mask=column < padded,
    )


def turn(
    x: Float[Tensor, "*places two heads k"], cos: Table, sin: Table, *, step: int, offset: int
) -> None:
    """Turn channel `step * i` of every head against channel `step * i + offset`, in place.

    The tables have a row per place.

    `x` are the queries and keys of one joined projection: a view of its first two thirds.
    ValueError for another memory layout, which the kernel would misread.
    """
    *places, two, heads, k = x.shape
    rows, tables = places[-1], cos.numel() // (k // 2)
    strides = (
        (3 * heads * k, heads * k, k, 1)
        if len(places) == 1
        else (rows * 3 * heads * k, 3 * heads * k, heads * k, k, 1)
    )
    if x.stride() != strides or tables != rows or not (cos.is_contiguous() and sin.is_contiguous()):
        raise ValueError(
            f"queries and keys of shape {tuple(x.shape)}, strides {x.stride()} "
            f"do not fit {tables} rows of tables"
        )
    grid = (x.numel() // (two * heads * k), triton.cdiv(two * heads, VECTORS))
    turn_kernel[grid](
        x, cos, sin, 3 * heads * k, tables, two * heads,
        HALF=k // 2, STEP=step, OFFSET=offset, BLOCK_V=VECTORS, BLOCK_C=triton.next_power_of_2(k // 2),
    )  # fmt: skip


def swiglu_norm(
    x: Float[Tensor, "*places both"], norm: torch.nn.LayerNorm
) -> Float[Tensor, "*places padded"]:
    """LayerNorm of silu(gate) * value; x holds gates, then values, each padded with zeros."""
    padded, x = x.shape[-1] // 2, x.contiguous()
    out = x.new_empty(*x.shape[:-1], padded)
    block = triton.next_power_of_2(padded)
    swiglu_norm_kernel[(out.numel() // padded,)](
        x,
        norm.weight,
        norm.bias,
        out,
        norm.normalized_shape[0],
        padded,
        norm.eps,
        BLOCK=block,
        num_warps=8,
    )
    return out
