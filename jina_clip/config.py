"""A model as its official config.json describes it: the sizes of both towers, and defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jina_clip.official_json import CheckpointError, check_numbers, take
from jina_clip.text_config import TextConfig
from jina_clip.vision_config import VisionConfig

_FILE = "config.json"
_LOGIT_SCALE = 2.6592  # log(1 / 0.07), CLIP's temperature


@dataclass(frozen=True)
class ClipConfig:
    """Both towers and what the checkpoint says of itself.

    `extras` holds keys without effect here, for saving.
    """

    text: TextConfig
    vision: VisionConfig
    torch_dtype: str = "float32"
    matryoshka_dimensions: tuple[int, ...] = ()
    truncate_dim: int | None = None
    logit_scale_init_value: float = _LOGIT_SCALE
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """Width of the embedding of both towers."""
        return self.vision.width

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "ClipConfig":
        """Read an official config.json; CheckpointError names the key that does not fit."""
        extras = dict(config)
        if extras.get("model_type") != "jina_clip":
            raise CheckpointError(
                f"{_FILE}: model_type is {extras.get('model_type')!r}, not 'jina_clip'"
            )
        # v1 and v2 embed with their towers alone: width of the tower, width of the embedding.
        if extras.get("add_projections"):
            raise CheckpointError(
                f"{_FILE}: add_projections is true; no released jina-clip has projection layers"
            )
        text = TextConfig.from_section(take(extras, "text_config", _FILE))
        vision = VisionConfig.from_section(take(extras, "vision_config", _FILE))
        if text.hidden_size != vision.width:
            raise CheckpointError(
                f"{_FILE}: the text tower is {text.hidden_size} wide, the image tower "
                f"{vision.width}; they must be equal"
            )
        scale = {"logit_scale_init_value": extras.pop("logit_scale_init_value", _LOGIT_SCALE)}
        check_numbers(scale, scale, _FILE)
        return cls(
            text=text,
            vision=vision,
            torch_dtype=_take_dtype(extras),
            matryoshka_dimensions=_take_dims(extras),
            truncate_dim=_take_truncation(extras, vision.width),
            logit_scale_init_value=float(scale["logit_scale_init_value"]),
            extras=extras,
        )

    def to_dict(self) -> dict[str, Any]:
        """The official config.json of this model; `from_dict` reads it back to an equal config."""
        config = {
            **self.extras,
            "torch_dtype": self.torch_dtype,
            "truncate_dim": self.truncate_dim,
            "logit_scale_init_value": self.logit_scale_init_value,
            "text_config": self.text.to_section(),
            "vision_config": self.vision.to_section(),
        }
        if self.matryoshka_dimensions:
            config["matryoshka_dimensions"] = list(self.matryoshka_dimensions)
        return config


def _take_dtype(extras: dict[str, Any]) -> str:
    newer = extras.pop("dtype", None)  # what transformers 4.56 and later write
    dtype = extras.pop("torch_dtype", None) or newer or "float32"
    if dtype not in ("float32", "bfloat16", "float16"):
        raise CheckpointError(
            f"{_FILE}: torch_dtype is {dtype!r}, not float32, bfloat16 or float16"
        )
    return str(dtype)


def _take_dims(extras: dict[str, Any]) -> tuple[int, ...]:
    dims = extras.pop("matryoshka_dimensions", None) or []
    if not isinstance(dims, list | tuple) or not all(type(dim) is int and dim > 0 for dim in dims):
        raise CheckpointError(
            f"{_FILE}: matryoshka_dimensions is {dims!r}, not a list of whole numbers"
        )
    return tuple(dims)


def _take_truncation(extras: dict[str, Any], width: int) -> int | None:
    dim = extras.pop("truncate_dim", None) or None  # to the official code 0 is none, too
    if dim is not None and not (type(dim) is int and 1 <= dim <= width):
        raise CheckpointError(
            f"{_FILE}: truncate_dim is {dim!r}, not null or a whole number from 1 to {width}"
        )
    return dim
