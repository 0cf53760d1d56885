"""Matrix products of 8-bit floats (e4m3) on any device, to measure what serving in float8 costs in recall.

Each row of weights and of activations has a float32 scale of its own, by which its largest value
becomes the largest of e4m3. Products are added in float32 and rounded to the dtype of the
activations. Micikevicius et al., arXiv:2209.05433, have the format.

Shapes: n tokens, `places` any number of dimensions of them, k and out the widths of a layer.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float8e4m3fn, Float32
from torch import Tensor

from jina_clip.trials import fault_of

E4M3 = torch.float8_e4m3fn
LARGEST = torch.finfo(E4M3).max  # 448
SMALLEST_SCALE = torch.finfo(torch.float32).tiny  # rows of zeros stay zeros


def quantise(
    rows: Float[Tensor, "n k"],
) -> tuple[Float8e4m3fn[Tensor, "n k"], Float32[Tensor, "n 1"]]:
    """Rows in 8 bits, and what each has to be multiplied by to be what it was, but for rounding."""
    values = rows.float()
    largest = values.abs().amax(dim=1, keepdim=True)
    scales = (largest / LARGEST).clamp_min(SMALLEST_SCALE)
    return (values / scales).to(E4M3), scales


def linear(
    x: Float[Tensor, "*places k"],
    weight: Float8e4m3fn[Tensor, "out k"],
    scales: Float32[Tensor, "out 1"],
    bias: Float[Tensor, "out"] | None,
) -> Float[Tensor, "*places out"]:
    """`F.linear`, with the activations rounded to 8 bits as the weights are."""
    rows, row_scales = quantise(x.reshape(-1, x.shape[-1]))
    products = torch._scaled_mm(
        rows, weight.T, scale_a=row_scales, scale_b=scales.T, out_dtype=x.dtype
    )
    y: Tensor = products.reshape(*x.shape[:-1], len(weight))
    return y if bias is None else y + bias


def float8_fault(device: torch.device) -> str | None:
    """Why products of 8-bit floats cannot be computed on a device; None when they can."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, 64, generator=generator, device="cpu") for n in (5, 32))
    (rows, row_scales), (columns, column_scales) = quantise(x.bfloat16()), quantise(weight)
    # what rounding to 8 bits leaves is multiplied without another rounding
    plain = F.linear(rows.float() * row_scales, columns.float() * column_scales)

    def compute() -> Tensor:
        on_device = x.bfloat16().to(device), columns.to(device), column_scales.to(device)
        return linear(*on_device, None)

    with torch.inference_mode():
        return fault_of(compute, plain, torch.bfloat16, steps=1.0)
