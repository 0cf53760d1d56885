"""Whether the kernels of fused.py may be used here: each is tried once per card and dtype.

What they give of a few tokens, as wide as those of the released towers, is compared with torch's
own functions in float32.
"""

import importlib
import logging
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jina_clip.trials import fault_of

log = logging.getLogger(__name__)

TOKENS = 5
# A result that is rounded once is off by half a step of the dtype at most, and by a quarter as a row.
STEPS = 1.0


class Trial(NamedTuple):
    """What a kernel gives of a small input, and what it should give: float32, on the CPU."""

    kernel: str
    compute: Callable[[], Tensor]
    plain: Tensor


def fused_fault(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why tensors of this dtype are left to torch on a card, kernel by kernel; None when none is.

    The reason is told by a warning, once. A lack of memory is raised as it comes, and is not
    remembered.
    """
    # "cuda" is the card at hand, as tensors there say by its number.
    if device.index is None:
        device = torch.empty(0, device=device).device
    return _fault(device, dtype)


@cache
def _fault(device: torch.device, dtype: torch.dtype) -> str | None:
    fault = _first_fault(device, dtype)
    if fault is not None:
        log.warning(
            "element-wise work in %s on %s is left to torch, which takes longer and rounds "
            "otherwise: %s",
            str(dtype).removeprefix("torch."),
            device,
            fault,
        )
    return fault


def _first_fault(device: torch.device, dtype: torch.dtype) -> str | None:
    try:
        fused = importlib.import_module("jina_clip.fused")
    except Exception as error:  # a package may raise what it likes while it looks for its libraries
        return f"the package triton cannot be imported: {type(error).__name__}: {error}"
    # Also where a pass computes under autocast: the kernels take tensors as they are.
    with torch.inference_mode(), torch.autocast(device.type, enabled=False), torch.device("cpu"):
        for trial in trials(fused, device, dtype):
            fault = fault_of(trial.compute, trial.plain, dtype, steps=STEPS)
            if fault is not None:
                return f"{trial.kernel}: {fault}"
    return None


def trials(fused: ModuleType, device: torch.device, dtype: torch.dtype) -> list[Trial]:
    """One of each kernel and of each way to turn, as wide as in the released towers."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device="cpu").to(dtype)

    kernels = [
        _turn(fused, random(TOKENS, 3, 16, 64), device, pairs=True),
        _turn(fused, random(TOKENS, 3, 16, 64), device, pairs=False),
        # EVA02-L's hidden width, which is padded to a multiple of 64
        _swiglu_norm(fused, random(TOKENS, 2, 2752), _norm(random(2, 2730)), device),
        _gated_gelu(fused, random(TOKENS, 2 * 3072), device),
        _norm_of_sum(fused, random(2, TOKENS, 1024), _norm(random(2, 1024)), device),
    ]
    # elsewhere GELU is exact
    if dtype == torch.bfloat16:
        width, out = 1024, 256
        layer = random(out, width) * width**-0.5, random(out)
        kernels.append(_linear_gelu(fused, random(TOKENS, width), *layer, device))
    return kernels


def _turn(fused: ModuleType, qkv: Tensor, device: torch.device, *, pairs: bool) -> Trial:
    """Su et al., arXiv:2104.09864: a pair of channels is a complex number, and turned as one."""
    angles = torch.arange(TOKENS)[:, None] * 10.0 ** -torch.linspace(0, 4, 32)
    cos, sin = angles.cos(), angles.sin()

    def compute() -> Tensor:
        on_card = qkv.to(device)
        tables = (table[:, None, None].to(device) for table in (cos, sin))
        fused.turn(on_card[:, :2], *tables, pairs=pairs)
        return on_card

    parted = qkv.float().unflatten(-1, (32, 2) if pairs else (2, 32))
    channel = -1 if pairs else -2
    turned = (
        torch.complex(*parted.unbind(channel)) * torch.polar(torch.ones(()), angles)[:, None, None]
    )
    plain = torch.stack([turned.real, turned.imag], dim=channel).flatten(-2)
    plain[:, 2] = qkv[:, 2].float()  # values are not turned
    return Trial("Triton's kernel turn_kernel", compute, plain)


def _swiglu_norm(
    fused: ModuleType, both: Tensor, norm: nn.LayerNorm, device: torch.device
) -> Trial:
    hidden = norm.normalized_shape[0]
    both[..., hidden:] = 0

    def compute() -> Tensor:
        normed: Tensor = fused.swiglu_norm(both.flatten(1).to(device), _on(device, norm))
        return normed

    gate, value = both.float().unbind(1)
    normed = _layer_norm((F.silu(gate) * value)[:, :hidden], norm)
    return Trial(
        "Triton's kernel swiglu_norm_kernel", compute, F.pad(normed, (0, both.shape[-1] - hidden))
    )


def _gated_gelu(fused: ModuleType, both: Tensor, device: torch.device) -> Trial:
    def compute() -> Tensor:
        gated: Tensor = fused.gated_gelu(both.to(device))
        return gated

    gate, value = both.float().chunk(2, dim=-1)
    return Trial("Triton's kernel gated_gelu_kernel", compute, F.gelu(gate) * value)


def _linear_gelu(
    fused: ModuleType, x: Tensor, weight: Tensor, bias: Tensor, device: torch.device
) -> Trial:
    def compute() -> Tensor:
        y: Tensor = fused.linear_gelu(x.to(device), weight.to(device), bias.to(device))
        return y

    plain = F.gelu(F.linear(x.float(), weight.float(), bias.float()))
    return Trial("cuBLAS' product with GELU", compute, plain)


def _norm_of_sum(
    fused: ModuleType, terms: Tensor, norm: nn.LayerNorm, device: torch.device
) -> Trial:
    def compute() -> Tensor:
        x, y = terms.to(device)
        return torch.cat(fused.norm_of_sum(x, y, _on(device, norm), torch.empty_like(y)))

    total = terms.float().sum(0)
    return Trial(
        "Triton's kernel add_norm_kernel", compute, torch.cat([total, _layer_norm(total, norm)])
    )


def _norm(parameters: Tensor) -> nn.LayerNorm:
    """A LayerNorm of that weight and bias."""
    norm = nn.LayerNorm(parameters.shape[1], eps=1e-6, device="meta", dtype=parameters.dtype)
    norm.weight, norm.bias = (nn.Parameter(row, requires_grad=False) for row in parameters)
    return norm


def _on(device: torch.device, norm: nn.LayerNorm) -> nn.LayerNorm:
    return _norm(torch.stack([norm.weight, norm.bias]).to(device))


def _layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], norm.weight.float(), norm.bias.float(), norm.eps)
