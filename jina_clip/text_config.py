"""The sizes of a text tower, read from and written to `text_config` of the official config.json."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jina_clip.backbones import BACKBONES, FIXED_KWARGS, INERT_KWARGS
from jina_clip.official_json import (
    CheckpointError,
    as_object,
    check_counts,
    check_fixed,
    check_numbers,
    take,
    take_name,
)

_SECTION = "text_config"
_KWARGS = f"{_SECTION}.hf_model_config_kwargs"
# What the official encoder can do, and this one does not.
_FIXED = {"pooler_type": "mean_pooler", "proj_type": None}
_COUNTS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "type_vocab_size",
)


@dataclass(frozen=True)
class TextConfig:
    """A text tower: rotary positions with a GELU MLP (v2) or ALiBi with a GLU MLP (v1).

    `kwargs` is hf_model_config_kwargs as it was read, and `extras` holds keys without effect here;
    both are for saving.
    """

    backbone: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    type_vocab_size: int
    pad_token_id: int
    layer_norm_eps: float
    position_embedding_type: Literal["rotary", "alibi"]
    mlp_type: Literal["mlp", "glu"]
    rotary_emb_base: float = 10000.0
    lora_adaptations: tuple[str, ...] = ()
    lora_rank: int = 4
    lora_alpha: float = 1.0
    default_lora_task: str | None = None
    default_instruction_task: str | None = None
    task_instructions: Mapping[str, str] = field(default_factory=dict)
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def adapter(self) -> int | None:
        """The LoRA adapter that the official encoder always uses; None where there is none."""
        if not self.lora_adaptations or self.default_lora_task is None:
            return None
        return self.lora_adaptations.index(self.default_lora_task)

    @classmethod
    def from_section(cls, section: object) -> "TextConfig":
        """Read `text_config`; CheckpointError names the key that does not fit."""
        extras = as_object(section, f"config.json: {_SECTION}")
        named = str(take(extras, "hf_model_name_or_path", _SECTION))
        kwargs = as_object(extras.pop("hf_model_config_kwargs", None) or {}, _KWARGS)
        backbone = _backbone(named)
        check_fixed(extras, _FIXED, _SECTION)
        config = cls(
            backbone=named,
            **_sizes(backbone, kwargs),
            default_lora_task=take_name(extras, "default_lora_task", _SECTION),
            default_instruction_task=take_name(extras, "default_instruction_task", _SECTION),
            kwargs=kwargs,
            extras={name: value for name, value in extras.items() if name != "embed_dim"},
        )
        width = extras.get("embed_dim", config.hidden_size)
        if width != config.hidden_size:
            raise CheckpointError(
                f"{_SECTION}.embed_dim is {width}, but the backbone is {config.hidden_size} wide"
            )
        _check_adapter(config)
        return config

    def to_section(self) -> dict[str, Any]:
        """`text_config` of this tower; `from_section` reads it back to an equal config."""
        # Fields that were changed since, by dataclasses.replace, have to be written, too.
        as_read = _sizes(_backbone(self.backbone), self.kwargs)
        fields = {name: getattr(self, name) for name in as_read}
        changed = {name: value for name, value in fields.items() if value != as_read[name]}
        return {
            **self.extras,
            "embed_dim": self.hidden_size,
            "hf_model_name_or_path": self.backbone,
            "hf_model_config_kwargs": {**self.kwargs, **changed},
            "default_lora_task": self.default_lora_task,
            "default_instruction_task": self.default_instruction_task,
        }


def _backbone(named: str) -> dict[str, Any]:
    """The constants of a backbone, by its Hub id or a local copy that ends like one."""
    for repo, constants in BACKBONES.items():
        if named.rstrip("/").endswith(repo.rpartition("/")[2]):
            return constants
    raise CheckpointError(
        f"{_SECTION}.hf_model_name_or_path is {named!r}; known are {', '.join(BACKBONES)}"
    )


def _sizes(backbone: Mapping[str, Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of TextConfig that a backbone, updated by the checkpoint's kwargs, decides."""
    for name in kwargs.keys() - backbone.keys() - INERT_KWARGS - FIXED_KWARGS.keys():
        raise CheckpointError(f"{_KWARGS}.{name} is not known; remove it if it has no effect")
    sizes = {**backbone, **kwargs}
    check_fixed(sizes, FIXED_KWARGS, _KWARGS)
    shaping = {name: backbone[name] for name in ("position_embedding_type", "mlp_type")}
    check_fixed(sizes, shaping, _SECTION)
    check_counts(sizes, _COUNTS, _SECTION)
    if type(sizes["pad_token_id"]) is not int or sizes["pad_token_id"] < 0:
        raise CheckpointError(f"{_SECTION}.pad_token_id is {sizes['pad_token_id']!r}, not an id")
    numbers = [n for n in ("lora_alpha", "rotary_emb_base", "layer_norm_eps") if n in backbone]
    check_numbers(sizes, numbers, _SECTION)
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise CheckpointError(
            f"{_SECTION}: {sizes['num_attention_heads']} heads do not divide "
            f"hidden_size {sizes['hidden_size']}"
        )
    fields = {name: sizes[name] for name in backbone}
    fields |= {name: float(sizes[name]) for name in numbers}
    if "lora_adaptations" in backbone:
        check_counts(sizes, ["lora_rank"], _KWARGS)
        # v3 has five adapters; a jina-clip names those that it was trained with, and their alpha.
        fields["lora_adaptations"] = _names(sizes["lora_adaptations"] or (), "lora_adaptations")
        instructions = as_object(sizes["task_instructions"] or {}, f"{_KWARGS}.task_instructions")
        _names(instructions.values(), "task_instructions")
        fields["task_instructions"] = instructions
    return fields


def _names(values: object, key: str) -> tuple[str, ...]:
    # A string is a list of its letters to Python, and no list of names to anyone.
    names = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{_KWARGS}.{key} is {values!r}, not a list of names")
    return names


def _check_adapter(config: TextConfig) -> None:
    task = config.default_lora_task
    if task is not None and task not in config.lora_adaptations:
        raise CheckpointError(
            f"{_SECTION}.default_lora_task {task!r} is not in {config.lora_adaptations}"
        )
