"""What both towers are built from: rotary positions and the three kinds of MLP.

Tables are float32 whatever the dtype of the weights, and are made once a forward pass: a model
built on the meta device has none to lose, and casting the model does not round them. Shapes: see
shapes.py.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from jina_clip import float8
from jina_clip.fused_trial import fused_fault
from jina_clip.shapes import Table, Tokens


def rope_1d(length: int, head_dim: int, base: float, device: torch.device) -> tuple[Table, Table]:
    """Cosines and sines for positions 0..length-1, a column for each pair of channels."""
    # RoPE (Su et al., arXiv:2104.09864): pair i turns by position * base^(-2i / head_dim).
    frequencies = base ** -(
        torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim
    )
    angles = torch.outer(torch.arange(length, device=device, dtype=torch.float32), frequencies)
    return angles.cos(), angles.sin()


def rope_2d(
    grid: int, trained_grid: int, head_dim: int, interpolate: bool, device: torch.device
) -> tuple[Table, Table]:
    """Cosines and sines for CLS, which is not turned, and grid x grid patches, row by row.

    A column for each pair of channels; the first half of them turns with the row, the second with
    the column. With `interpolate` positions are scaled to the grid of the pre-training.
    """
    half = head_dim // 2
    frequencies = 10000.0 ** -(torch.arange(0, half, 2, device=device, dtype=torch.float32) / half)
    # Upstream builds the positions in the dtype of the weights: in bf16 they are off by up to 0.03.
    # Ours stay exact.
    positions = torch.arange(grid, device=device, dtype=torch.float32)
    if interpolate:
        positions = positions / grid * trained_grid
    angles = torch.outer(positions, frequencies)
    rows = angles[:, None, :].expand(grid, grid, half // 2)
    columns = angles[None, :, :].expand(grid, grid, half // 2)
    patches = torch.cat([rows, columns], dim=2).reshape(grid * grid, half)
    # An angle of 0 turns nothing: CLS goes through the same code as the patches.
    table = torch.cat([patches.new_zeros(1, half), patches])
    return table.cos(), table.sin()


def fusable(x: Tensor) -> bool:
    """Whether fused.py takes over: on CUDA, where its kernels are right, without gradients or compiler."""
    return (
        x.is_cuda
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and fused_fault(x.device, x.dtype) is None
    )


def rotate_halves(x: Float[Tensor, "*places k"], cos: Table, sin: Table) -> None:
    """Turn channel i against channel i + k/2, as GPT-NeoX does, in place and in float32.

    The tables broadcast.
    """
    middle = x.shape[-1] // 2
    if fusable(x):
        from jina_clip import fused

        return fused.turn(x, cos, sin, pairs=False)
    return _turn(x, x[..., :middle], x[..., middle:], cos, sin)


def rotate_pairs(x: Float[Tensor, "*places k"], cos: Table, sin: Table) -> None:
    """Turn channel 2i against channel 2i + 1, as RoFormer does, in place and in float32.

    The tables broadcast.
    """
    if fusable(x):
        from jina_clip import fused

        return fused.turn(x, cos, sin, pairs=True)
    # As a product of complex numbers it is one pass over x; torch's compiler knows none of them.
    if x.dtype == torch.float32 and not torch.compiler.is_compiling():
        torch.view_as_complex(x.unflatten(-1, (-1, 2))).mul_(torch.complex(cos, sin))
        return None
    return _turn(x, x[..., 0::2], x[..., 1::2], cos, sin)


def _turn(x: Tensor, a: Tensor, b: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Turn `a` against `b`, which are views of `x`."""
    # (a, b) -> (a cos - b sin, b cos + a sin)
    if x.dtype == torch.float32:
        before = a.clone()
        a.mul_(cos).addcmul_(b, sin, value=-1)
        b.mul_(cos).addcmul_(before, sin)
    else:
        turned = a * cos - b * sin, b * cos + a * sin  # the tables are float32, and so are these
        a.copy_(turned[0])
        b.copy_(turned[1])


def norm_of_sum(x: Tokens, y: Tokens, norm: nn.LayerNorm) -> Tokens:
    """norm(x + y): a residual and the LayerNorm after it, as in a post-norm block."""
    if fusable(y) and x.dtype == y.dtype:
        from jina_clip import fused

        return fused.norm_of_sum(x, y, norm)[1]
    return norm(x + y)  # type: ignore[no-any-return]


def sum_and_norm(x: Tokens, y: Tokens, norm: nn.LayerNorm) -> tuple[Tokens, Tokens]:
    """x + y and norm(x + y): a residual and the LayerNorm of the next pre-norm block."""
    # Under autocast a float32 residual meets a half-precision y, and must not be rounded to that.
    if fusable(y) and x.dtype == y.dtype:
        from jina_clip import fused

        total = torch.empty_like(y)
        return fused.norm_of_sum(x, y, norm, total)
    total = x + y
    return total, norm(total)


def linear(
    x: Tokens, weight: Tensor, bias: Tensor | None, activation: Literal["none", "gelu"] = "none"
) -> Float[Tensor, "*places out"]:
    """`F.linear`, and GELU if asked: exact, but in bfloat16 on CUDA, see fused.linear_gelu."""
    # On a CPU torch takes MKL for float32. oneDNN, which its compiler takes, is faster.
    in_float32 = x.device.type == "cpu" and x.dtype == torch.float32
    plain = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
    if in_float32 and plain and torch.backends.mkldnn.is_available():
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], "none")  # type: ignore[no-any-return]
    if activation == "gelu" and bias is not None and _in_bfloat16(x, weight) and fusable(x):
        from jina_clip import fused

        return fused.linear_gelu(x, weight, bias)
    y = F.linear(x, weight, bias)
    return F.gelu(y) if activation == "gelu" else y


def _in_bfloat16(*tensors: Tensor) -> bool:
    return all(tensor.dtype == torch.bfloat16 for tensor in tensors)


class Linear(nn.Linear):
    """torch's, computed by `linear`, or in 8 bits once its weights have been rounded to them.

    `scales` are those of the rows of such weights, see float8.py.
    """

    scales: Tensor | None

    def __init__(self, width: int, out: int, bias: bool = True) -> None:
        super().__init__(width, out, bias=bias)
        self.register_buffer("scales", None, persistent=False)

    def forward(
        self,
        input: Tensor,
        bias: Tensor | None = None,
        activation: Literal["none", "gelu"] = "none",
    ) -> Tensor:
        """`bias` in place of the layer's own."""
        bias = self.bias if bias is None else bias
        if self.scales is None:
            return linear(input, self.weight, bias, activation)
        y = float8.linear(input, self.weight, self.scales, bias)
        return F.gelu(y) if activation == "gelu" else y

    def round_to_float8(self) -> None:
        """Round the weights to 8 bits for good; products are those of float8.py from now on."""
        weight, self.scales = float8.quantise(self.weight.detach())
        self.weight = nn.Parameter(weight, requires_grad=False)


class Mlp(nn.Module):
    """fc1, GELU, fc2 (v2 text)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden)
        self.fc2 = Linear(hidden, width)

    def forward(self, x: Tokens) -> Tokens:
        return self.fc2(self.fc1(x, activation="gelu"))  # type: ignore[no-any-return]


class GluMlp(nn.Module):
    """GELU-gated linear unit (v1 text): one half of gated_layers gates the other."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gated_layers = Linear(width, 2 * hidden, bias=False)
        self.wo = Linear(hidden, width)

    def forward(self, x: Tokens) -> Tokens:
        # wo(gelu(W_gate x) * W_value x): both matrices are one layer of the checkpoint (Shazeer,
        # arXiv:2002.05202)
        gate_and_value = self.gated_layers(x)
        if fusable(gate_and_value):
            from jina_clip import fused

            return self.wo(fused.gated_gelu(gate_and_value))  # type: ignore[no-any-return]
        gate, value = gate_and_value.chunk(2, dim=-1)
        return self.wo(F.gelu(gate) * value)  # type: ignore[no-any-return]


class SwiGlu(nn.Module):
    """SiLU-gated linear unit with a LayerNorm before the last layer (EVA-02's sub-LN).

    Both first layers are one, w1 above w2. `align` rounds the hidden width up with zeros, since
    tensor cores want rows of 16 bytes and EVA02-L's 2,730 is no multiple of 8; the LayerNorm runs
    over the true width. Zeros stay zeros: silu(0) * 0.
    """

    def __init__(self, width: int, hidden: int, eps: float, align: int = 1) -> None:
        super().__init__()
        self.hidden, self.padding = hidden, -hidden % align
        self.w12 = Linear(width, 2 * (hidden + self.padding))
        self.ffn_ln = nn.LayerNorm(hidden, eps=eps)
        self.w3 = Linear(hidden + self.padding, width)
        if self.padding and not self.w12.weight.is_meta:
            with torch.no_grad():
                for part in (*self.w12.weight.chunk(2), *self.w12.bias.chunk(2), self.w3.weight.T):
                    part[hidden:] = 0

    def forward(self, x: Tokens) -> Tokens:
        # w3(LN(silu(w1 x) * w2 x))
        gate_and_value = self.w12(x)
        if fusable(gate_and_value):
            from jina_clip import fused

            return self.w3(fused.swiglu_norm(gate_and_value, self.ffn_ln))  # type: ignore[no-any-return]
        gate, value = gate_and_value.chunk(2, dim=-1)
        # In place it saves a tensor of the hidden width, but autograd needs the factor that is
        # overwritten.
        gated = F.silu(gate) * value if torch.is_grad_enabled() else F.silu(gate).mul_(value)
        if not self.padding:
            return self.w3(self.ffn_ln(gated))  # type: ignore[no-any-return]
        return self.w3(F.pad(self.ffn_ln(gated[..., : self.hidden]), (0, self.padding)))  # type: ignore[no-any-return]
