"""The image tower of both models: EVA02 with sub-LN, SwiGLU and 2-D rotary positions (arXiv:2303.11331).

Module names are those of the official checkpoint. Pre-norm; the embedding is the CLS token after the last norm.
"""

import torch
import torch.nn.functional as F
from torch import nn

from jina_clip.config import VisionConfig
from jina_clip.layers import SwiGlu, merge_heads, rope_2d, rotate_pairs, sdpa, split_heads
from jina_clip.shapes import Features, Heads, ImageTokens, Pixels, Table

EPS = 1e-6


class VisionTower(nn.Module):
    """Normalised pixels to one unnormalised float32 vector an image."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.randn(1, 1, config.width) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + config.grid**2, config.width) * 0.02)
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=EPS)

    def forward(self, pixel_values: Pixels) -> Features:
        """Refuses another size than the config's with ValueError: positions are learned for that grid."""
        size = self.config.image_size
        if pixel_values.shape[-2:] != (size, size):
            raise ValueError(f"pixel_values are {tuple(pixel_values.shape[-2:])}; this model takes {(size, size)}")
        x = self.patch_embed(pixel_values)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        config = self.config
        rotary = rope_2d(config.grid, config.pt_hw_seq_len, config.head_width, config.intp_freq, x.device)
        for block in self.blocks:
            x = block(x, rotary)
        return self.norm(x[:, 0]).float()  # type: ignore[no-any-return]


class PatchEmbed(nn.Module):
    """Patches row by row. No padding: of 512 pixels at patch 14 the last 8 rows and columns are not seen."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, kernel_size=config.patch_size, stride=config.patch_size)

    def forward(self, pixel_values: Pixels) -> ImageTokens:
        return self.proj(pixel_values.to(self.proj.weight.dtype)).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and SwiGLU, each behind a LayerNorm and beside a residual."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=EPS)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=EPS)
        self.mlp = SwiGlu(config.width, config.hidden, EPS)

    def forward(self, x: ImageTokens, rotary: tuple[Table, Table]) -> ImageTokens:
        x = x + self.attn(self.norm1(x), rotary)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention with rotated patches (not CLS), no key bias, and a LayerNorm before the output projection."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width)) if config.qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(width)) if config.qkv_bias else None
        self.inner_attn_ln = nn.LayerNorm(width, eps=EPS)
        self.proj = nn.Linear(width, width)

    def forward(self, x: ImageTokens, rotary: tuple[Table, Table]) -> ImageTokens:
        heads = self.config.width // self.config.head_width
        q = split_heads(F.linear(x, self.q_proj.weight, self.q_bias), heads)
        k = split_heads(self.k_proj(x), heads)
        v = split_heads(F.linear(x, self.v_proj.weight, self.v_bias), heads)
        mixed = sdpa(_rotate_patches(q, rotary), _rotate_patches(k, rotary), v, None)
        return self.proj(self.inner_attn_ln(merge_heads(mixed)))  # type: ignore[no-any-return]


def _rotate_patches(x: Heads, rotary: tuple[Table, Table]) -> Heads:
    """All tokens but CLS."""
    return torch.cat([x[:, :, :1], rotate_pairs(x[:, :, 1:], *rotary)], dim=2)
