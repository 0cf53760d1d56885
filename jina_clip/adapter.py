"""A LoRA adapter that PEFT trained: read strictly, and merged into the weights of its base model.

For a Linear with the weight W, PEFT computes (W + s B A) x, and for an Embedding it takes the rows
of W + s (B A)^T, where s is alpha / r, or alpha / sqrt(r) with `use_rslora`. The sum is a matrix of
the shape of W, so it can stand in its place. Whatever else an adapter may ask for is refused by its
key, since a merge without it would be another model.

Sources: LoRA (Hu et al., arXiv:2106.09685), rsLoRA (Kalajdzievski, arXiv:2312.03732), and the names
in the files of PEFT (its guide "PEFT checkpoint format"). Shapes: r rank, o out, i in.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from jina_clip.official_json import (
    CheckpointError,
    check_counts,
    check_flags,
    check_numbers,
    parse_object,
    take,
)

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_WRAPPED = "base_model.model."  # the model that PEFT wrapped
# Of the two matrices: for a Linear they are modules, for an Embedding parameters.
_ENDS = ((".lora_A.weight", ".lora_B.weight"), (".lora_embedding_A", ".lora_embedding_B"))
OTHER_BASE = "Name the base model that the adapter was trained on"
_DTYPES = ("float16", "bfloat16", "float32", "float64")
# Says who made the adapter, or matters while it is trained: nothing of it is in the merged weights.
_INERT = frozenset(
    "auto_mapping base_model_name_or_path eva_config inference_mode lora_dropout megatron_core "
    "peft_version qalora_group_size revision task_type".split()
)
# Changes what is added, or where: each with the value that leaves it off. Null does that, too.
_OFF: Mapping[str, Any] = {
    "alora_invocation_tokens": None,
    "alpha_pattern": {},
    "arrow_config": None,
    "bias": "none",
    "corda_config": None,
    "ensure_weight_tying": False,
    "exclude_modules": None,
    "fan_in_fan_out": False,
    "layer_replication": None,
    "layers_pattern": None,
    "layers_to_transform": None,
    "loftq_config": {},
    "lora_bias": False,
    "megatron_config": None,
    "rank_pattern": {},
    "target_parameters": None,
    "trainable_token_indices": None,
    "use_dora": False,
    "use_qalora": False,
}
# How A and B began. PiSSA, OLoRA, CorDA and LoftQ take something out of W when training begins: the
# adapter then belongs to weights that are no longer those of the published base model.
_STARTS = (None, "gaussian", "eva", "orthogonal")

Shapes = Mapping[str, tuple[int, ...]]


class _Settings(NamedTuple):
    """What adapter_config.json says.

    `targets` and `saved` are endings of module names; without targets the pairs tell by themselves.
    """

    rank: int
    scale: float
    targets: tuple[str, ...]
    saved: tuple[str, ...]


class _Pair(NamedTuple):
    """The two matrices of a module, which is a Linear or an Embedding."""

    a: Float[Tensor, "r i"]
    b: Float[Tensor, "o r"]
    embedding: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight that their product is added to."""
        out, into = self.b.shape[0], self.a.shape[1]
        return (into, out) if self.embedding else (out, into)


@dataclass(frozen=True)
class Adapter:
    """A plain LoRA: pairs of matrices, and tensors that were trained whole (`modules_to_save`).

    Both have the official names of the weights of the base model, whose own LoRA is merged.
    """

    settings: _Settings
    pairs: Mapping[str, _Pair]
    saved: Mapping[str, Tensor]

    @classmethod
    def from_bytes(cls, config: bytes, weights: bytes) -> "Adapter":
        """Read the contents of adapter_config.json and adapter_model.safetensors.

        CheckpointError names the key or the tensor that is no part of a plain LoRA.
        """
        settings = _settings(parse_object(config, CONFIG))
        try:
            tensors = load(weights)
        except SafetensorError as error:
            raise CheckpointError(f"{WEIGHTS}: not a whole safetensors file: {error}") from error
        saved = dict(_unwrapped(tensors))
        matrices = {name: saved.pop(name) for name in [*saved] if ".lora_" in name}
        return cls(settings, _pairs(matrices, settings.rank), saved)

    def check_fit(self, base: Shapes) -> None:
        """CheckpointError names what the base model lacks or has in another shape.

        It also names what the config announces and the files do not hold, or hold unannounced.
        """
        shapes = {name: pair.shape for name, pair in self.pairs.items()}
        shapes |= {name: tuple(tensor.shape) for name, tensor in self.saved.items()}
        for name, shape in shapes.items():
            if name not in base:
                raise CheckpointError(
                    f"{WEIGHTS}: {name} is no weight of the base model. {OTHER_BASE}"
                )
            if shape != base[name]:
                raise CheckpointError(
                    f"{WEIGHTS}: {name} is {list(shape)}, in the base model {list(base[name])}. "
                    f"{OTHER_BASE}"
                )
        targets, saved = self.settings.targets, self.settings.saved
        if targets:
            modules = {name: name.removesuffix(".weight") for name in base if len(base[name]) == 2}
            adapted = {target: _of_target(modules, target) for target in targets}
            _check_announced("target_modules", adapted, self.pairs)
        trained = {module: [name for name in base if _lies_in(name, module)] for module in saved}
        _check_announced("modules_to_save", trained, self.saved)

    def merged(self, name: str, weight: Tensor) -> Tensor:
        """The weight of this name after training, summed in float32; others as they are."""
        if name in self.saved:
            return self.saved[name]
        pair = self.pairs.get(name)
        if pair is None:
            return weight
        product = pair.b.float() @ pair.a.float()
        change = product.T if pair.embedding else product
        return weight.float() + change * self.settings.scale


def _settings(config: dict[str, Any]) -> _Settings:
    """CheckpointError names the key that asks for more than a plain LoRA, or is not known."""
    kind = take(config, "peft_type", CONFIG)
    if kind != "LORA":
        raise CheckpointError(f"{CONFIG}: peft_type is {kind!r}; only LORA can be merged")
    numbers = {name: take(config, name, CONFIG) for name in ("r", "lora_alpha")}
    check_counts(numbers, ["r"], CONFIG)
    check_numbers(numbers, ["lora_alpha"], CONFIG)
    flags = {"use_rslora": config.pop("use_rslora", None) or False}
    check_flags(flags, flags, CONFIG)
    start = config.pop("init_lora_weights", True)
    if type(start) is not bool and start not in _STARTS:
        raise CheckpointError(
            f"{CONFIG}: init_lora_weights is {start!r}, which changes the base model before training"
        )
    targets = take(config, "target_modules", CONFIG)
    settings = _Settings(
        rank=numbers["r"],
        scale=numbers["lora_alpha"] / numbers["r"] ** (0.5 if flags["use_rslora"] else 1),
        # A string is a pattern (or `all-linear`). It is not run: a hostile one never ends.
        targets=() if isinstance(targets, str) else _names("target_modules", targets),
        saved=_names("modules_to_save", config.pop("modules_to_save", None) or []),
    )
    for name, value in config.items():
        is_off = value is None or (name in _OFF and value == _OFF[name])
        if name not in _INERT and not is_off:
            raise CheckpointError(
                f"{CONFIG}: {name} is {value!r}, which is no plain LoRA. "
                "Merge it with PEFT (merge_and_unload), and save the model"
            )
    return settings


def _names(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise CheckpointError(f"{CONFIG}: {key} is {value!r}, not a list of names of modules")
    return tuple(value)


def _unwrapped(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The tensors under the names that they have in the base model."""
    for name, tensor in tensors.items():
        if not name.startswith(_WRAPPED):
            raise CheckpointError(f"{WEIGHTS}: {name} does not begin with {_WRAPPED}")
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype not in _DTYPES:
            raise CheckpointError(f"{WEIGHTS}: {name} is {dtype}, which is no float")
        yield name.removeprefix(_WRAPPED), tensor


def _pairs(matrices: Mapping[str, Tensor], rank: int) -> dict[str, _Pair]:
    """The pairs by the weight that they change. CheckpointError names a matrix that makes none."""
    pairs = {}
    waiting = dict(matrices)
    for a_end, b_end in _ENDS:
        for name in [name for name in matrices if name.endswith(a_end)]:
            stem = name.removesuffix(a_end)
            a, b = waiting.pop(name), waiting.pop(stem + b_end, None)
            if b is None:
                raise CheckpointError(f"{WEIGHTS}: {stem}{b_end} is missing")
            if a.ndim != 2 or b.ndim != 2 or not len(a) == rank == b.shape[1]:
                shapes = f"{list(a.shape)} and {list(b.shape)}"
                raise CheckpointError(
                    f"{WEIGHTS}: the matrices of {stem} are {shapes}, where r is {rank}"
                )
            if f"{stem}.weight" in pairs:
                raise CheckpointError(f"{WEIGHTS}: {stem} has two pairs")
            pairs[f"{stem}.weight"] = _Pair(a, b, "embedding" in a_end)
    if waiting:
        raise CheckpointError(f"{WEIGHTS}: {min(waiting)} is no matrix of a plain LoRA pair")
    if not pairs:
        raise CheckpointError(f"{WEIGHTS}: holds no LoRA pair")
    return pairs


def _of_target(modules: Mapping[str, str], target: str) -> list[str]:
    """The weights of the modules that an entry of target_modules means, as PEFT looks for them."""
    return [
        name
        for name, module in modules.items()
        if module == target or module.endswith(f".{target}")
    ]


def _lies_in(name: str, saved: str) -> bool:
    """Whether a weight is of a module whose name ends in `saved`, as PEFT looks for it."""
    *path, _ = name.split(".")
    return any(".".join(path[: depth + 1]).endswith(saved) for depth in range(len(path)))


def _check_announced(
    key: str, announced: Mapping[str, list[str]], held: Mapping[str, object]
) -> None:
    """CheckpointError for what a key of the config names and the file lacks, or the reverse."""
    for module, names in announced.items():
        if not names:
            raise CheckpointError(f"{CONFIG}: {key} has {module!r}, which the base model has not")
        # PEFT wraps all modules that the key means, so all of them are in the file.
        missing = [name for name in names if name not in held]
        if missing:
            raise CheckpointError(
                f"{WEIGHTS}: nothing for {missing[0]}, which {module!r} of {key} means, too"
            )
    stray = set(held).difference(*announced.values())
    if stray:
        raise CheckpointError(f"{WEIGHTS}: {min(stray)} is not of {key} in {CONFIG}")
