"""What both towers are built from: rotary tables, ALiBi, attention, and the three kinds of MLP.

Tables are float32 whatever the dtype of the weights, and are made once a forward pass: a model built on the meta device has none
to lose, and casting the model does not round them. Shapes: see shapes.py.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from jina_clip.shapes import Heads, Table, TokenMask, Tokens

BIAS_ELEMENTS = 1 << 26  # an ALiBi bias is built in blocks of queries of at most this many values (256 MiB)


def rope_1d(length: int, head_dim: int, base: float, device: torch.device) -> tuple[Table, Table]:
    """Cosines and sines for positions 0..length-1 in the half layout (GPT-NeoX): channel i pairs with i + head_dim / 2."""
    frequencies = base ** -(torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim)
    angles = torch.outer(torch.arange(length, device=device, dtype=torch.float32), frequencies)
    angles = torch.cat([angles, angles], dim=1)
    return angles.cos(), angles.sin()


def rope_2d(grid: int, trained_grid: int, head_dim: int, interpolate: bool, device: torch.device) -> tuple[Table, Table]:
    """Cosines and sines for a square of grid x grid patches, row by row, in the pair layout: channel 2i pairs with 2i + 1.

    The first half of the channels turns with the row, the second with the column. With `interpolate` positions are
    scaled to the grid of the pre-training.
    """
    half = head_dim // 2
    frequencies = 10000.0 ** -(torch.arange(0, half, 2, device=device, dtype=torch.float32) / half)
    # Upstream builds the positions in the dtype of the weights: in bf16 they are off by up to 0.03. Ours stay exact.
    positions = torch.arange(grid, device=device, dtype=torch.float32)
    if interpolate:
        positions = positions / grid * trained_grid
    angles = torch.outer(positions, frequencies).repeat_interleave(2, dim=1)
    rows = angles[:, None, :].expand(grid, grid, half)
    columns = angles[None, :, :].expand(grid, grid, half)
    table = torch.cat([rows, columns], dim=2).reshape(grid * grid, head_dim)
    return table.cos(), table.sin()


def rotate_halves(x: Heads, cos: Table, sin: Table) -> Heads:
    """Turn channel i against channel i + k/2; computed in float32, returned in x's dtype."""
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([-second, first], dim=-1) * sin).type_as(x)


def rotate_pairs(x: Heads, cos: Table, sin: Table) -> Heads:
    """Turn channel 2i against channel 2i + 1; computed in float32, returned in x's dtype."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return (x * cos + torch.stack([-odd, even], dim=-1).flatten(-2) * sin).type_as(x)


def alibi_slopes(heads: int) -> list[float]:
    """One slope a head (Press et al. 2022): 2^(-8i/n) for n heads, and for other n the powers of two below and between."""
    power = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (i + 1) / power) for i in range(power)]
    between = [2.0 ** (-4.0 * (2 * i + 1) / power) for i in range(heads - power)]
    return slopes + between


def sdpa(q: Heads, k: Heads, v: Heads, keep: TokenMask | None) -> Heads:
    """Softmax attention over the tokens that `keep` marks; None keeps all (and leaves torch its fastest kernels)."""
    mask = None if keep is None else keep[:, None, None, :]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def alibi_attention(q: Heads, k: Heads, v: Heads, keep: TokenMask | None) -> Heads:
    """Attention with the symmetric ALiBi bias -slope * |i - j|, in blocks of queries so that memory stays bounded.

    Runs in float32: bf16 cannot hold the distances above 256.
    """
    dtype, (batch, heads, length, _) = q.dtype, q.shape
    q, k, v = q.float(), k.float(), v.float()
    slopes = torch.tensor(alibi_slopes(heads), device=q.device, dtype=torch.float32)[:, None, None]
    positions = torch.arange(length, device=q.device, dtype=torch.float32)
    rows = batch if keep is not None else 1
    block = max(1, BIAS_ELEMENTS // (rows * heads * length))
    out = []
    for start in range(0, length, block):
        bias = -slopes * (positions[start : start + block, None] - positions).abs()
        bias = bias[None] if keep is None else bias.masked_fill(~keep[:, None, None, :], float("-inf"))
        with torch.autocast(q.device.type, enabled=False):
            out.append(F.scaled_dot_product_attention(q[:, :, start : start + block], k, v, attn_mask=bias))
    return torch.cat(out, dim=2).to(dtype)


def split_heads(x: Tokens, heads: int) -> Heads:
    """(b, t, h * k) to (b, h, t, k)."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def merge_heads(x: Heads) -> Tokens:
    """(b, h, t, k) to (b, t, h * k)."""
    return x.transpose(1, 2).flatten(-2)


class Mlp(nn.Module):
    """fc1, exact GELU, fc2 (v2 text)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tokens) -> Tokens:
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class GluMlp(nn.Module):
    """GELU-gated linear unit (v1 text): the first half of gated_layers is activated and gates the second."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gated_layers = nn.Linear(width, 2 * hidden, bias=False)
        self.wo = nn.Linear(hidden, width)

    def forward(self, x: Tokens) -> Tokens:
        gate, value = self.gated_layers(x).chunk(2, dim=-1)
        return self.wo(F.gelu(gate) * value)  # type: ignore[no-any-return]


class SwiGlu(nn.Module):
    """SiLU-gated linear unit with a LayerNorm before the last layer (EVA-02's sub-LN)."""

    def __init__(self, width: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, hidden)
        self.w2 = nn.Linear(width, hidden)
        self.ffn_ln = nn.LayerNorm(hidden, eps=eps)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x: Tokens) -> Tokens:
        return self.w3(self.ffn_ln(F.silu(self.w1(x)) * self.w2(x)))  # type: ignore[no-any-return]


def mean_pool(x: Tokens, keep: TokenMask) -> Float[Tensor, "b d"]:
    """Mean of the kept tokens, summed in float32 and returned so."""
    weights = keep[..., None].float()
    return (x.float() * weights).sum(1) / weights.sum(1)
