"""The sizes of both towers, read from and written to the official config.json.

The text backbone is not in config.json: the official code takes it from the Hub repo named by `hf_model_name_or_path`
and updates it with `hf_model_config_kwargs`. Here the two backbones are constants (BACKBONES), so nothing is fetched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


class CheckpointError(ValueError):
    """A checkpoint or config that is not a jina-clip model; the message names the key."""


# jinaai/jina-bert-flash-implementation @b78d159 and jinaai/jina-embeddings-v3, as far as they size or shape the tower.
# The rotary base is 20000 in the Hub config of jina-embeddings-v3; the default of its config class is 10000.
BACKBONES: dict[str, dict[str, Any]] = {
    "jinaai/jina-bert-flash-implementation": {
        "vocab_size": 30528,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "type_vocab_size": 2,
        "pad_token_id": 0,
        "layer_norm_eps": 1e-12,
        "position_embedding_type": "alibi",
        "mlp_type": "glu",
    },
    "jinaai/jina-embeddings-v3": {
        "vocab_size": 250002,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "type_vocab_size": 1,
        "pad_token_id": 1,
        "layer_norm_eps": 1e-5,
        "position_embedding_type": "rotary",
        "mlp_type": "mlp",
        "rotary_emb_base": 20000.0,
        "lora_adaptations": [
            "retrieval.query",
            "retrieval.passage",
            "separation",
            "classification",
            "text-matching",
        ],
        "lora_rank": 4,
        "lora_alpha": 1,
        "task_instructions": {
            "retrieval.query": "Represent the query for retrieving evidence documents: ",
            "retrieval.passage": "Represent the document for retrieval: ",
            "separation": "",
            "classification": "",
            "text-matching": "",
        },
    },
}

# What may stand in hf_model_config_kwargs without changing what is computed here.
_INERT_KWARGS = frozenset(
    """architectures attention_probs_dropout_prob auto_map bos_token_id classifier_dropout eos_token_id fused_bias_fc
    fused_dropout_add_ln fused_mlp hidden_dropout_prob initializer_range load_trained_adapters lora_dropout_p
    lora_main_params_trainable max_position_embeddings model_type num_loras torch_dtype dtype transformers_version
    truncate_dim use_cache use_flash_attn use_reentrant matryoshka_dimensions output_attentions output_hidden_states
    return_dict tie_word_embeddings _name_or_path _attn_implementation""".split()
)
# What may stand there only with the value that this code computes.
_FIXED_KWARGS: dict[str, Any] = {
    "hidden_act": "gelu",
    "use_qk_norm": False,
    "window_size": [-1, -1],
    "dense_seq_output": False,
    "emb_pooler": None,
    "pad_vocab_size_multiple": 1,
    "is_decoder": False,
    "rotary_emb_interleaved": False,
    "last_layer_subset": False,
}
_FIXED_TEXT = {"pooler_type": "mean_pooler", "proj_type": None}
FIXED_VISION = {
    "rope_embeddings": True,
    "subln": True,
    "naive_swiglu": True,
    "post_norm": False,
    "ls_init_value": None,
    "proj_type": None,
}

# What the official config class assumes where config.json is silent, as far as it matters here.
_VISION_DEFAULTS = {
    "qkv_bias": True,
    "intp_freq": False,
    "pt_hw_seq_len": 16,
    "rope_embeddings": False,
    "subln": False,
    "naive_swiglu": False,
}


@dataclass(frozen=True)
class TextConfig:
    """A text tower: rotary positions with a GELU MLP (v2) or ALiBi with a GLU MLP (v1)."""

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
    kwargs: Mapping[str, Any] = field(
        default_factory=dict
    )  # hf_model_config_kwargs as read, for saving
    other: Mapping[str, Any] = field(default_factory=dict)  # keys without effect here, for saving

    @property
    def adapter(self) -> int | None:
        """The LoRA adapter that the official encoder always uses; None where there is none."""
        if not self.lora_adaptations or self.default_lora_task is None:
            return None
        return self.lora_adaptations.index(self.default_lora_task)


@dataclass(frozen=True)
class VisionConfig:
    """An EVA02 tower with sub-LN, SwiGLU and 2-D rotary positions. `width` is also the width of the embedding."""

    width: int
    layers: int
    head_width: int
    image_size: int
    patch_size: int
    mlp_ratio: float
    pt_hw_seq_len: int
    intp_freq: bool
    qkv_bias: bool
    other: Mapping[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> int:
        """Patches a side; pixels beyond the last whole patch are ignored."""
        return self.image_size // self.patch_size

    @property
    def hidden(self) -> int:
        """Width inside the SwiGLU."""
        return int(self.width * self.mlp_ratio)


@dataclass(frozen=True)
class ClipConfig:
    """Both towers and what the checkpoint says of itself."""

    text: TextConfig
    vision: VisionConfig
    torch_dtype: str = "float32"
    matryoshka_dimensions: tuple[int, ...] = ()
    truncate_dim: int | None = None
    logit_scale_init_value: float = 2.6592
    other: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """Width of the embedding of both towers."""
        return self.vision.width

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "ClipConfig":
        """Read an official config.json. CheckpointError names the key that is missing or that asks for another model."""
        other = dict(config)
        if other.get("model_type") != "jina_clip":
            raise CheckpointError(
                f"config.json: model_type is {other.get('model_type')!r}, not 'jina_clip'"
            )
        if other.get("add_projections"):
            raise CheckpointError(
                "config.json: add_projections is true; no released jina-clip has projection layers"
            )
        text = _text_config(_take(other, "text_config", "config.json"))
        vision = _vision_config(_take(other, "vision_config", "config.json"))
        if text.hidden_size != vision.width:
            raise CheckpointError(
                f"config.json: the text tower is {text.hidden_size} wide, the image tower {vision.width}; they must be equal"
            )
        dims = other.pop("matryoshka_dimensions", None)
        return cls(
            text=text,
            vision=vision,
            torch_dtype=_stored_dtype(other),
            matryoshka_dimensions=tuple(dims or ()),
            truncate_dim=other.pop("truncate_dim", None),
            logit_scale_init_value=float(other.pop("logit_scale_init_value", 2.6592)),
            other=other,
        )

    def to_dict(self) -> dict[str, Any]:
        """The official config.json of this model; `from_dict` reads it back to an equal config."""
        text, vision = self.text, self.vision
        config = {
            **self.other,
            "torch_dtype": self.torch_dtype,
            "truncate_dim": self.truncate_dim,
            "logit_scale_init_value": self.logit_scale_init_value,
            "text_config": {
                **text.other,
                "embed_dim": text.hidden_size,
                "hf_model_name_or_path": text.backbone,
                "hf_model_config_kwargs": dict(text.kwargs),
                "default_lora_task": text.default_lora_task,
                "default_instruction_task": text.default_instruction_task,
            },
            "vision_config": {
                **vision.other,
                "embed_dim": vision.width,
                **{name: getattr(vision, name) for name in _VISION_KEYS},
            },
        }
        if self.matryoshka_dimensions:
            config["matryoshka_dimensions"] = list(self.matryoshka_dimensions)
        return config


_VISION_KEYS = (
    "width",
    "layers",
    "head_width",
    "image_size",
    "patch_size",
    "mlp_ratio",
    "pt_hw_seq_len",
    "intp_freq",
    "qkv_bias",
)


def _text_config(given: object) -> TextConfig:
    other, where = _section(given, "text_config"), "text_config"
    named = str(
        _take(other, "hf_model_name_or_path", where)
    )  # a Hub id, or a local copy that ends like one
    backbone = next(
        (name for name in BACKBONES if named.rstrip("/").endswith(name.rpartition("/")[2])), None
    )
    if backbone is None:
        raise CheckpointError(
            f"{where}.hf_model_name_or_path is {named!r}; known are {', '.join(BACKBONES)}"
        )
    kwargs = dict(other.pop("hf_model_config_kwargs", None) or {})
    sizes = {**BACKBONES[backbone], **kwargs}
    for name in kwargs.keys() - BACKBONES[backbone].keys() - _INERT_KWARGS:
        if name not in _FIXED_KWARGS:
            raise CheckpointError(
                f"{where}.hf_model_config_kwargs.{name} is not known; remove it if it has no effect"
            )
    _refuse_other_values(sizes, _FIXED_KWARGS, f"{where}.hf_model_config_kwargs")
    _refuse_other_values(
        sizes, {k: BACKBONES[backbone][k] for k in ("position_embedding_type", "mlp_type")}, where
    )
    _refuse_other_values(other, _FIXED_TEXT, where)
    known = {
        name: sizes[name] for name in BACKBONES[backbone] if name in TextConfig.__dataclass_fields__
    }
    _refuse_odd_sizes(
        known, ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"), where
    )
    known |= {
        name: float(known[name])
        for name in ("lora_alpha", "rotary_emb_base", "layer_norm_eps")
        if name in known
    }
    known["lora_adaptations"] = tuple(sizes.get("lora_adaptations") or ())
    config = TextConfig(
        backbone=named,
        kwargs=kwargs,
        default_lora_task=other.pop("default_lora_task", None),
        default_instruction_task=other.pop("default_instruction_task", None),
        **known,
        other={name: value for name, value in other.items() if name != "embed_dim"},
    )
    if other.get("embed_dim", config.hidden_size) != config.hidden_size:
        raise CheckpointError(
            f"{where}.embed_dim is {other['embed_dim']}, but the backbone is {config.hidden_size} wide"
        )
    if (
        config.default_lora_task is not None
        and config.default_lora_task not in config.lora_adaptations
    ):
        raise CheckpointError(
            f"{where}.default_lora_task {config.default_lora_task!r} is not in {config.lora_adaptations}"
        )
    if config.hidden_size % config.num_attention_heads:
        raise CheckpointError(
            f"{where}: {config.num_attention_heads} heads do not divide hidden_size {config.hidden_size}"
        )
    return config


def _vision_config(given: object) -> VisionConfig:
    other, where = _section(given, "vision_config"), "vision_config"
    other = {**_VISION_DEFAULTS, **other}
    _refuse_other_values(other, FIXED_VISION, where)
    sizes = {name: _take(other, name, where) for name in _VISION_KEYS}
    _refuse_odd_sizes(
        sizes, ("width", "layers", "head_width", "image_size", "patch_size", "pt_hw_seq_len"), where
    )
    sizes["mlp_ratio"] = float(sizes["mlp_ratio"])
    if other.pop("embed_dim", sizes["width"]) != sizes["width"]:
        raise CheckpointError(
            f"{where}.embed_dim differs from width {sizes['width']}; there is no projection to bridge them"
        )
    config = VisionConfig(**sizes, other=other)
    if config.head_width % 4:
        raise CheckpointError(
            f"{where}.head_width is {config.head_width}; 2-D rotary positions need a multiple of 4"
        )
    if config.width % config.head_width:
        raise CheckpointError(
            f"{where}: heads of {config.head_width} do not divide width {config.width}"
        )
    if not config.intp_freq and config.pt_hw_seq_len != config.grid:
        raise CheckpointError(
            f"{where}: without intp_freq the rotary table has pt_hw_seq_len={config.pt_hw_seq_len} positions a side, "
            f"but the image has {config.grid}"
        )
    return config


def _stored_dtype(other: dict[str, Any]) -> str:
    newer = other.pop("dtype", None)  # what transformers 4.56 and later write
    dtype = other.pop("torch_dtype", None) or newer or "float32"
    if dtype not in ("float32", "bfloat16", "float16"):
        raise CheckpointError(
            f"config.json: torch_dtype is {dtype!r}, not float32, bfloat16 or float16"
        )
    return str(dtype)


def _section(given: object, where: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise CheckpointError(f"config.json: {where} is {given!r}, not an object")
    return dict(given)


def _take(section: dict[str, Any], name: str, where: str) -> Any:
    try:
        return section.pop(name)
    except KeyError:
        raise CheckpointError(f"{where}: {name} is missing") from None


def _refuse_odd_sizes(sizes: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for name in names:
        if type(sizes[name]) is not int or sizes[name] < 1:
            raise CheckpointError(
                f"{where}.{name} is {sizes[name]!r}, not a whole number of 1 or more"
            )


def _refuse_other_values(given: Mapping[str, Any], fixed: Mapping[str, Any], where: str) -> None:
    for name, value in fixed.items():
        found = given.get(name, value)
        if (list(found) if isinstance(found, tuple) else found) != value:
            raise CheckpointError(
                f"{where}.{name} is {found!r}; only {value!r} is a jina-clip model"
            )
