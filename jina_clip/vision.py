"""The image tower of both models: EVA02 with sub-LN, SwiGLU and 2-D rotary positions.

Fang et al., arXiv:2303.11331.

Pre-norm; the embedding is the CLS token after the last norm. Module names are those of the official
checkpoint, but that q, k and v are one layer and the first two of SwiGLU are one: weights.py joins
and splits them.
"""

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jina_clip.layers import Linear, SwiGlu, linear, rope_2d, rotate_pairs, sum_and_norm
from jina_clip.shapes import Features, FirstTokens, ImageTokens, Pixels, Table
from jina_clip.vision_config import VisionConfig

# Of every LayerNorm in the official eva_model.py.
EPS = 1e-6


class VisionTower(nn.Module):
    """Normalised pixels to one unnormalised float32 vector per image; `align`: see SwiGlu."""

    def __init__(self, config: VisionConfig, align: int = 1) -> None:
        super().__init__()
        self.config = config
        self.cls_token = _random(1, config.width)
        self.pos_embed = _random(1 + config.grid**2, config.width)
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList(Block(config, align) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=EPS)

    def forward(self, pixel_values: Pixels) -> Features:
        """The embedding of each image; ValueError for another size than the config's.

        Positions are learned for one grid.
        """
        size = self.config.image_size
        if pixel_values.shape[-2:] != (size, size):
            raise ValueError(
                f"pixel_values are {tuple(pixel_values.shape[-2:])}; "
                f"this model takes {(size, size)}"
            )
        config = self.config
        cos, sin = rope_2d(
            config.grid,
            config.pt_hw_seq_len,
            config.head_width,
            config.intp_freq,
            pixel_values.device,
        )
        rotary = cos[:, None, None], sin[:, None, None]
        x = self.patch_embed(pixel_values)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        # Learned positions are added, and q and k are turned by rotary ones as well.
        blocks = cast(list[Block], list(self.blocks))
        normed = blocks[0].norm1(x)
        for block, following in pairwise(blocks):
            x, normed = block(x, normed, rotary, x.shape[1], following.norm1)
        # Of the last block nothing but CLS is read.
        _, normed = blocks[-1](x, normed, rotary, 1, self.norm)
        # float32 from here on, where upstream normalises in the dtype of the weights.
        return normed[:, 0].float()  # type: ignore[no-any-return]

    def compile_blocks(self) -> None:
        """Compile the blocks for batches of one size, all but the last, which computes CLS alone.

        They are equal but for their weights, which the compiler takes as inputs: what it makes of
        the first serves all. The whole tower would be compiled as if they differed.
        """
        for block in self.blocks[:-1]:
            block.compile(dynamic=False)


def _random(tokens: int, width: int) -> nn.Parameter:
    """Learned tokens, drawn as ViT draws them."""
    values = torch.empty(1, tokens, width)
    # None on the meta device: torch would import its compiler for it, which takes seconds.
    return nn.Parameter(values if values.is_meta else nn.init.normal_(values, std=0.02))


class PatchEmbed(nn.Module):
    """Patches to tokens, row by row."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.proj = nn.Conv2d(
            3, config.width, kernel_size=config.patch_size, stride=config.patch_size
        )

    def forward(self, pixel_values: Pixels) -> ImageTokens:
        """The convolution as one matmul: its windows do not overlap."""
        grid, patch = self.config.grid, self.config.patch_size
        # As in the convolution there is no padding: of 512 pixels at patch 14 the last 8 are not
        # seen.
        seen = pixel_values[:, :, : grid * patch, : grid * patch].to(self.proj.weight.dtype)
        patches = (
            seen.unflatten(3, (grid, patch))
            .unflatten(2, (grid, patch))
            .permute(0, 2, 4, 1, 3, 5)
            .flatten(3)
        )
        return linear(patches.flatten(1, 2), self.proj.weight.flatten(1), self.proj.bias)


class Block(nn.Module):
    """Attention and SwiGLU, each behind a LayerNorm and beside a residual."""

    def __init__(self, config: VisionConfig, align: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=EPS)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=EPS)
        self.mlp = SwiGlu(config.width, config.hidden, EPS, align)

    def forward(
        self,
        x: ImageTokens,
        normed: ImageTokens,
        rotary: tuple[Table, Table],
        first: int,
        following: nn.LayerNorm,
    ) -> tuple[FirstTokens, FirstTokens]:
        """The first tokens only, and their LayerNorm by the block that follows."""
        # Pre-norm: x = x + attention(LN(x)), then x = x + mlp(LN(x)). `normed` is norm1(x): each
        # residual is added in one kernel with the LayerNorm after it, which may be the next block's.
        x, normed = sum_and_norm(x[:, :first], self.attn(normed, rotary, first), self.norm2)
        return sum_and_norm(x, self.mlp(normed), following)


class Attention(nn.Module):
    """Self-attention with rotated patches (not CLS) and a LayerNorm before the projection."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads, width = config.width // config.head_width, config.width
        self.qkv = Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width)) if config.qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(width)) if config.qkv_bias else None
        self.inner_attn_ln = nn.LayerNorm(width, eps=EPS)
        self.proj = Linear(width, width)

    def forward(self, x: ImageTokens, rotary: tuple[Table, Table], first: int) -> FirstTokens:
        qkv = self.qkv(x, bias=self._bias()).unflatten(-1, (3, self.heads, -1))
        rotate_pairs(qkv[:, :, :2], *rotary)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q[:, :, :first], k, v)
        by_token = mixed.transpose(1, 2).flatten(2)
        return self.proj(self.inner_attn_ln(by_token))  # type: ignore[no-any-return]

    def _bias(self) -> Tensor | None:
        if self.q_bias is None or self.v_bias is None:
            return None
        # None for keys: it would add the same to all scores of a query, and softmax cancels that.
        return torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
