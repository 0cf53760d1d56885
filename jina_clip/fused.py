"""Element-wise work as single CUDA kernels, in Triton, or within a product.

torch's would read and write the activations several times.

Imported only where a tensor is on CUDA, and used where fused_trial.py finds them right. Numbers are
float32 inside, whatever the dtype of the activations, and are rounded once. A compiled tower takes
the plain code, which the compiler fuses itself. TRITON_INTERPRET=1 runs the kernels on a CPU, as
tests do.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.cuda import device_of  # Triton starts kernels on the current card, wherever tensors are

from jina_clip.shapes import Table

# Heads that one program turns: a few thousand values, enough to hide the latency of memory.
VECTORS = 32
# a*b + c is rounded once. Triton 3.9 does so unless told otherwise, with a warning, and 3.10 will
# not: said here, rows do not change with it.
OPTIONS = {"enable_fp_fusion": True}


@triton.jit
@no_type_check
def turn_kernel(
    x, cos, sin, row_stride, table_rows, vectors,
    HALF: tl.constexpr, PAIRS: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """A program turns BLOCK_V heads of one token: channels 2i and 2i + 1 if PAIRS, else i and i + HALF."""
    # (a, b) -> (a cos - b sin, b cos + a sin), as layers._turn; the queries' heads come first, then
    # the keys'.
    row = tl.program_id(0).to(tl.int64)
    vector = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    pair = tl.arange(0, BLOCK_C)
    at = (row % table_rows) * HALF + pair
    c = tl.load(cos + at, mask=pair < HALF, other=1.0)[None, :]
    s = tl.load(sin + at, mask=pair < HALF, other=0.0)[None, :]
    heads = x + row * row_stride + vector[:, None] * (2 * HALF)
    if PAIRS:
        # Neighbours are read as they lie and parted in registers: loads of each second channel would
        # use a small part of what the memory moves.
        channel = tl.arange(0, 2 * BLOCK_C)
        places = heads + channel[None, :]
        inside = (vector < vectors)[:, None] & (channel < 2 * HALF)[None, :]
        neighbours = tl.load(places, mask=inside, other=0.0).to(tl.float32)
        a, b = tl.split(tl.reshape(neighbours, (BLOCK_V, BLOCK_C, 2)))
        turned = tl.reshape(tl.join(a * c - b * s, b * c + a * s), (BLOCK_V, 2 * BLOCK_C))
        tl.store(places, turned.to(x.dtype.element_ty), mask=inside)
    else:
        first = heads + pair[None, :]
        inside = (vector < vectors)[:, None] & (pair < HALF)[None, :]
        a = tl.load(first, mask=inside, other=0.0).to(tl.float32)
        b = tl.load(first + HALF, mask=inside, other=0.0).to(tl.float32)
        tl.store(first, (a * c - b * s).to(x.dtype.element_ty), mask=inside)
        tl.store(first + HALF, (b * c + a * s).to(x.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def swiglu_norm_kernel(x, weight, bias, out, hidden, padded, eps, BLOCK: tl.constexpr):
    """A program takes one token: LayerNorm of silu(gate) * value, with zeros in the padding."""
    # g = gate * sigmoid(gate) * value; out = (g - mean g) / sqrt(var g + eps) * weight + bias. Mean
    # and variance are over the true width, as if there were no padding.
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    # The padding holds zeros and is read as well: a mask that ends at a multiple of 8 leaves the
    # loads 16 bytes wide.
    there, inside = column < padded, column < hidden
    gate = tl.load(x + row * 2 * padded + column, mask=there, other=0.0).to(tl.float32)
    value = tl.load(x + row * 2 * padded + padded + column, mask=there, other=0.0).to(tl.float32)
    gated = gate * tl.sigmoid(gate) * value
    centred = tl.where(inside, gated - tl.sum(gated, axis=0) / hidden, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / hidden + eps)
    w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    normed = centred * scale * w + b
    tl.store(out + row * padded + column, normed.to(out.dtype.element_ty), mask=there)


@triton.jit
@no_type_check
def gated_gelu_kernel(x, out, hidden, BLOCK: tl.constexpr):
    """A program takes a piece of one token: gelu(gate) * value, GELU by the error function."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < hidden
    gate = tl.load(x + row * 2 * hidden + column, mask=inside, other=0.0).to(tl.float32)
    value = tl.load(x + row * 2 * hidden + hidden + column, mask=inside, other=0.0).to(tl.float32)
    gelu = 0.5 * gate * (1.0 + tl.math.erf(gate * 0.7071067811865476))  # x Phi(x); 1 / sqrt(2)
    tl.store(out + row * hidden + column, (gelu * value).to(out.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def add_norm_kernel(
    x, y, weight, bias, total, out, width, rows, image_stride, row_stride, eps,
    KEEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A program takes one token: LayerNorm of x + y, and the sum itself if KEEP."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    # `x` may be a view of the first tokens of each image: `rows` of them, then a gap.
    place = x + (row // rows) * image_stride + (row % rows) * row_stride
    value = tl.load(place + column, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(y + row * width + column, mask=inside, other=0.0).to(tl.float32)
    # Rounded as the plain code rounds the sum, which the next residual starts from.
    value = value.to(out.dtype.element_ty).to(tl.float32)
    if KEEP:
        tl.store(total + row * width + column, value.to(total.dtype.element_ty), mask=inside)
    centred = tl.where(inside, value - tl.sum(value, axis=0) / width, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / width + eps)
    w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    normed = centred * scale * w + b
    tl.store(out + row * width + column, normed.to(out.dtype.element_ty), mask=inside)


def turn(x: Float[Tensor, "*places two heads k"], cos: Table, sin: Table, *, pairs: bool) -> None:
    """Turn neighbouring channels of every head against each other, in place.

    Without `pairs`, channel i against channel i + k/2. The tables have a row per place.

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
    with device_of(x):
        turn_kernel[grid](
            x, cos, sin, 3 * heads * k, tables, two * heads,
            HALF=k // 2, PAIRS=pairs, BLOCK_V=VECTORS, BLOCK_C=triton.next_power_of_2(k // 2),
            **OPTIONS,
        )  # fmt: skip


def swiglu_norm(
    x: Float[Tensor, "*places both"], norm: torch.nn.LayerNorm
) -> Float[Tensor, "*places padded"]:
    """LayerNorm of silu(gate) * value; x holds gates, then values, each padded with zeros."""
    padded, x = x.shape[-1] // 2, x.contiguous()
    out = x.new_empty(*x.shape[:-1], padded)
    block = triton.next_power_of_2(padded)
    with device_of(x):
        swiglu_norm_kernel[(out.numel() // padded,)](
            x, norm.weight, norm.bias, out, norm.normalized_shape[0], padded, norm.eps,
            BLOCK=block, num_warps=8, **OPTIONS,
        )  # fmt: skip
    return out


def gated_gelu(x: Float[Tensor, "*places both"]) -> Float[Tensor, "*places hidden"]:
    """gelu(gate) * value; x holds gates, then values."""
    hidden, x = x.shape[-1] // 2, x.contiguous()
    out = x.new_empty(*x.shape[:-1], hidden)
    block = min(1024, triton.next_power_of_2(hidden))
    grid = (out.numel() // hidden, triton.cdiv(hidden, block))
    with device_of(x):
        gated_gelu_kernel[grid](x, out, hidden, BLOCK=block, **OPTIONS)
    return out


def linear_gelu(
    x: Float[Tensor, "*places k"], weight: Float[Tensor, "out k"], bias: Float[Tensor, "out"]
) -> Float[Tensor, "*places out"]:
    """gelu(W x + b), where cuBLAS applies the tanh form of GELU to sums that are not yet rounded.

    The form is off by 5e-4 at most, and a rounding to bfloat16 is saved: on an H200 this was nearer
    to exact GELU in float32 than the exact form after that rounding, 1.7e-3 of a row for 2.4e-3.
    """
    flat = x.reshape(-1, x.shape[-1])
    y: Tensor = torch._addmm_activation(bias, flat, weight.T, use_gelu=True)
    return y.reshape(*x.shape[:-1], len(weight))


def norm_of_sum(
    x: Float[Tensor, "*places d"],
    y: Float[Tensor, "*places d"],
    norm: torch.nn.LayerNorm,
    total: Float[Tensor, "*places d"] | None = None,
) -> tuple[Float[Tensor, "*places d"], Float[Tensor, "*places d"]]:
    """x + y, which is written only where there is a `total` for it, and its LayerNorm.

    `x` may be the first tokens of each of several images. ValueError for another memory layout,
    which the kernel would misread.
    """
    width, rows = x.shape[-1], x.shape[-2]
    if x.shape != y.shape or x.ndim > 3 or x.stride(-1) != 1:
        raise ValueError(f"x of {tuple(x.shape)}, strides {x.stride()}, and y of {tuple(y.shape)}")
    y = y.contiguous()
    out = torch.empty_like(y)
    with device_of(x):
        add_norm_kernel[(y.numel() // width,)](
            x, y, norm.weight, norm.bias, out if total is None else total, out,
            width, rows, x.stride(0) if x.ndim == 3 else 0, x.stride(-2), norm.eps,
            KEEP=total is not None, BLOCK=triton.next_power_of_2(width), num_warps=4,
            **OPTIONS,
        )  # fmt: skip
    return out if total is None else total, out
