"""What the towers have to compute for an image and for texts: the least work, by which shares of a limit are reckoned."""

from collections.abc import Sequence
from typing import Any


def image_flops(config: Any) -> float:
    """FLOPs of our tower per image: two a multiply-add of the linear layers and of both matmuls of attention.

    Of the last block only the keys and values of all tokens are wanted, and CLS of the rest; its queries come along.
    """
    n, width, patches = config.grid**2 + 1, config.width, config.grid**2
    rest = width**2 + 3 * width * config.hidden

    def block(tokens: int) -> int:
        return 2 * 3 * width**2 * n + 2 * rest * tokens + 4 * width * n * tokens

    return float(
        (config.layers - 1) * block(n) + block(1) + 2 * patches * 3 * config.patch_size**2 * width
    )


def text_flops(config: Any, lengths: Sequence[int]) -> float:
    """FLOPs of texts of so many tokens each, of the real tokens alone.

    Two a multiply-add of every linear layer, and of both matmuls of attention.
    """
    width, hidden = config.hidden_size, config.intermediate_size
    linear = 4 * width**2 + (3 if config.mlp_type == "glu" else 2) * width * hidden
    per_layer = sum(2 * linear * n + 4 * width * n * n for n in lengths)
    return float(config.num_hidden_layers * per_layer)
