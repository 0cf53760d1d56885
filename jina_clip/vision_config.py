"""The sizes of an image tower: `vision_config` of the official config.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jina_clip.official_json import (
    CheckpointError,
    as_object,
    check_counts,
    check_fixed,
    check_flags,
    check_numbers,
    take,
)

_SECTION = "vision_config"
_COUNTS = ("width", "layers", "head_width", "image_size", "patch_size", "pt_hw_seq_len")
_FLAGS = ("intp_freq", "qkv_bias")
_SIZES = (*_COUNTS, "mlp_ratio", *_FLAGS)
# What the official tower can do otherwise, and this one does not.
FIXED_VISION = {
    "rope_embeddings": True,
    "subln": True,
    "naive_swiglu": True,
    "post_norm": False,
    "ls_init_value": None,
    "proj_type": None,
}
# What the official config class assumes where config.json is silent, as far as it matters here.
_DEFAULTS = {
    "qkv_bias": True,
    "intp_freq": False,
    "pt_hw_seq_len": 16,
    "rope_embeddings": False,
    "subln": False,
    "naive_swiglu": False,
}


@dataclass(frozen=True)
class VisionConfig:
    """An EVA02 tower with sub-LN, SwiGLU and 2-D rotary positions.

    `width` is also the width of the embedding.

    `extras` holds keys without effect here, for saving.
    """

    width: int
    layers: int
    head_width: int
    image_size: int
    patch_size: int
    mlp_ratio: float
    pt_hw_seq_len: int
    intp_freq: bool
    qkv_bias: bool
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> int:
        """Patches a side; pixels beyond the last full patch are ignored."""
        return self.image_size // self.patch_size

    @property
    def hidden(self) -> int:
        """Width inside the SwiGLU."""
        # Cut off as upstream does: 1024 * 2.6667 is 2,730 for v2.
        return int(self.width * self.mlp_ratio)

    @classmethod
    def from_section(cls, section: object) -> "VisionConfig":
        """Read `vision_config`; CheckpointError names the key that does not fit."""
        extras = {**_DEFAULTS, **as_object(section, f"config.json: {_SECTION}")}
        check_fixed(extras, FIXED_VISION, _SECTION)
        sizes = {name: take(extras, name, _SECTION) for name in _SIZES}
        check_counts(sizes, _COUNTS, _SECTION)
        check_numbers(sizes, ["mlp_ratio"], _SECTION)
        check_flags(sizes, _FLAGS, _SECTION)
        if extras.pop("embed_dim", sizes["width"]) != sizes["width"]:
            raise CheckpointError(
                f"{_SECTION}.embed_dim differs from width {sizes['width']}; "
                "there is no projection to bridge them"
            )
        config = cls(**sizes | {"mlp_ratio": float(sizes["mlp_ratio"])}, extras=extras)
        _check_heads_and_positions(config)
        return config

    def to_section(self) -> dict[str, Any]:
        """`vision_config` of this tower; `from_section` reads it back to an equal config."""
        sizes = {name: getattr(self, name) for name in _SIZES}
        return {**self.extras, "embed_dim": self.width, **sizes}


def _check_heads_and_positions(config: VisionConfig) -> None:
    # Half of the pairs of channels turn with the row of a patch, half with its column.
    if config.head_width % 4:
        raise CheckpointError(
            f"{_SECTION}.head_width is {config.head_width}; "
            "2-D rotary positions need a multiple of 4"
        )
    if config.width % config.head_width:
        raise CheckpointError(
            f"{_SECTION}: heads of {config.head_width} do not divide width {config.width}"
        )
    if not config.intp_freq and config.pt_hw_seq_len != config.grid:
        raise CheckpointError(
            f"{_SECTION}: without intp_freq the rotary table has pt_hw_seq_len="
            f"{config.pt_hw_seq_len} positions a side, but the image has {config.grid}"
        )
