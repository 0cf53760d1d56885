"""Official safetensors to our modules and back; what does not fit the config is refused by name.

LoRA is merged on reading.

An official checkpoint of v2 holds every weight of the text tower as original + LoRA pair (torch's
`parametrizations`); the official encoder adds the pair in every forward pass, for queries and
documents alike. Here it is added once, in float32. Layers of the image tower that take the same
input are joined into one.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jina_clip.adapter import Adapter, Shapes
from jina_clip.config import ClipConfig
from jina_clip.files import part_of, put_in_place
from jina_clip.official_json import CheckpointError

# Tables that some exports carry although they are computed; everything else that no module takes is
# refused.
_COMPUTED = re.compile(r"(rope\.freqs_(cos|sin)|inv_freq|alibi_slopes|linear_biases|position_ids)$")
# Layers of the image tower that are one in ours: the same input, so one matmul.
_JOINED = {
    ".attn.qkv.": (".attn.q_proj.", ".attn.k_proj.", ".attn.v_proj."),
    ".mlp.w12.": (".mlp.w1.", ".mlp.w2."),
}
_ORIGINAL = ".parametrizations.weight.original"
_DTYPES = ("F16", "BF16", "F32", "F64")  # quantised values mean nothing without their scales
_LARGEST_HALF = torch.finfo(torch.float16).max
_SHOWN = 8  # culprits named in one message


class _Stored(NamedTuple):
    """A tensor in a file that is open."""

    file: Any
    shape: tuple[int, ...]
    dtype: str


def read_weights(
    paths: Sequence[Path],
    config: ClipConfig,
    official: Shapes,
    *,
    device: torch.device,
    dtype: torch.dtype,
    align: int = 1,
    adapter: Adapter | None = None,
) -> dict[str, Tensor]:
    """Our state dict from official safetensors files, tensor by tensor.

    `align`: see layers.SwiGlu. `adapter` is merged, too, after the pairs of the checkpoint itself.

    `official` holds the keys and shapes that the config asks for. Files that hold no LoRA pair at
    all are taken for weights in which it was merged. CheckpointError when a key is missing, unknown
    or misshapen (all are checked before any is read), a tensor is quantised, a weight does not fit
    float16 where that is the dtype, or a file is damaged.
    """
    with ExitStack() as stack:
        tensors = _open(paths, stack)
        if adapter is not None:
            adapter.check_fit(after_merging(official))
        # torch's remove_parametrizations leaves the sums, and the config as it was.
        merged = not any(name.endswith(_ORIGINAL) for name in tensors)
        _check_fit(paths[0], tensors, after_merging(official) if merged else official)

        def read(name: str) -> Tensor:
            return tensors[name].file.get_tensor(name)  # type: ignore[no-any-return]

        state = {}
        # Sorted, the parts of a joined layer follow each other closely, and few wait in memory.
        official_weights = _merged(read, sorted(tensors), config, adapter)
        for name, tensor in _joined(official_weights, align):
            kind = torch.float32 if name == "logit_scale" else dtype
            # Always a copy. What safetensors gives is a view of the mapped file, whose values
            # change with the file: a checkpoint that a training run overwrites would change a model
            # that was loaded long ago.
            state[name] = tensor.to(device, kind, copy=True)
            if kind == torch.float16:
                _check_range(paths[0], name, tensor, state[name])
        return state


def _check_range(path: Path, name: str, tensor: Tensor, half: Tensor) -> None:
    """CheckpointError for a weight that is finite and is not so in float16."""
    if half.isfinite().all() or not tensor.isfinite().all():
        return
    largest = tensor.abs().max().item()
    raise CheckpointError(
        f"{path}: {name} holds {largest:.4g}, and float16 no more than {_LARGEST_HALF:,.0f}. Take "
        "bfloat16 or float32"
    )


def official_tensors(
    state: Mapping[str, Tensor], config: ClipConfig
) -> Iterator[tuple[str, Tensor]]:
    """Our state dict under the official names.

    What was LoRA is in the weights already, so the pairs written are zero.
    """
    adapters, rank = len(config.text.lora_adaptations), config.text.lora_rank
    for name, tensor in state.items():
        if not name.startswith("text_model."):
            yield from _split(name, tensor, config.vision.hidden)
            continue
        official = _prefix(config) + name.removeprefix("text_model.")
        if not _adapted(name, config):
            yield official, tensor
            continue
        base = official.removesuffix(".weight") + ".parametrizations.weight"
        rows, columns = tensor.shape
        # A Linear adds B A, an Embedding A B: the official code adapts the transposed table.
        embedding = ".embeddings." in name
        a = (rows, rank) if embedding else (rank, columns)
        b = (rank, columns) if embedding else (rows, rank)
        yield base + ".original", tensor
        yield base + ".0.lora_A", tensor.new_zeros(adapters, *a)
        yield base + ".0.lora_B", tensor.new_zeros(adapters, *b)


def write_weights(
    path: Path, state: Mapping[str, Tensor], config: ClipConfig, *, dtype: torch.dtype
) -> None:
    """Write an official model.safetensors, complete or not at all."""
    tensors = {}
    for name, tensor in official_tensors(state, config):
        kind = torch.float32 if name == "logit_scale" else dtype
        # a copy: pieces of one of our tensors share its memory, which the format does not allow
        tensors[name] = tensor.detach().to("cpu", kind, copy=True).contiguous()
    part = part_of(path)
    save_file(tensors, part, metadata={"format": "pt"})
    part.chmod(0o644)  # safetensors makes it readable to the owner alone
    put_in_place(path)


def _open(paths: Sequence[Path], stack: ExitStack) -> dict[str, _Stored]:
    """All tensors of some files, which are open as long as the stack is.

    CheckpointError when a name is in two of them.
    """
    tensors: dict[str, _Stored] = {}
    for path in paths:
        try:
            file = stack.enter_context(safe_open(path, framework="pt"))
            names = list(file.keys())
            slices = [file.get_slice(name) for name in names]
        except SafetensorError as error:
            raise CheckpointError(f"{path}: not a whole safetensors file: {error}") from error
        for name, part in zip(names, slices, strict=True):
            if name in tensors:
                raise CheckpointError(f"{path}: {name} is in another shard, too")
            tensors[name] = _Stored(file, tuple(part.get_shape()), part.get_dtype())
    return tensors


def _split(name: str, tensor: Tensor, hidden: int) -> Iterator[tuple[str, Tensor]]:
    """A tensor of our image tower as the official ones: apart, and without padding."""
    for joined, parts in _JOINED.items():
        if joined in name:
            for part, piece in zip(parts, tensor.chunk(len(parts)), strict=True):
                yield name.replace(joined, part), piece[:hidden] if ".mlp." in joined else piece
            return
    yield name, tensor[:, :hidden] if name.endswith(".mlp.w3.weight") else tensor


def _joined(tensors: Iterator[tuple[str, Tensor]], align: int) -> Iterator[tuple[str, Tensor]]:
    """The inverse: official layers of the image tower joined and padded, the rest as it is."""
    ours_of = {part: ours for ours, parts in _JOINED.items() for part in parts}
    waiting: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors:
        part = next((part for part in ours_of if part in name), None)
        if part is None:
            pad = -tensor.shape[-1] % align if name.endswith(".mlp.w3.weight") else 0
            yield name, F.pad(tensor, (0, pad)) if pad else tensor
            continue
        ours = ours_of[part]
        pad = -len(tensor) % align if ".mlp." in ours else 0
        below = (0,) * (2 * tensor.ndim - 1) + (pad,)  # F.pad counts from the last dimension
        pieces = waiting.setdefault(name.replace(part, ours), {})
        pieces[part] = F.pad(tensor, below) if pad else tensor
        if len(pieces) == len(_JOINED[ours]):
            yield name.replace(part, ours), torch.cat([pieces.pop(p) for p in _JOINED[ours]])


def _merged(
    read: Callable[[str], Tensor],
    names: Sequence[str],
    config: ClipConfig,
    adapter: Adapter | None,
) -> Iterator[tuple[str, Tensor]]:
    """The tensors under our names, each LoRA pair added to its original: W + B A alpha / rank."""
    for name in names:
        if _COMPUTED.search(name) or ".lora_" in name:
            continue
        weight = read(name)
        task = config.text.adapter
        if name.endswith(_ORIGINAL) and task is not None:
            stem = name.removesuffix("original")
            a = read(f"{stem}0.lora_A")[task].float()
            b = read(f"{stem}0.lora_B")[task].float()
            # Hu et al., arXiv:2106.09685, in float32: bf16 would round the pair and then the sum.
            delta = a @ b if ".embeddings." in name else b @ a
            weight = weight.float() + delta * (config.text.lora_alpha / config.text.lora_rank)
        name_when_merged = name.replace(_ORIGINAL, ".weight")
        if adapter is not None:
            weight = adapter.merged(name_when_merged, weight)
        yield name_when_merged.replace(_prefix(config), "text_model."), weight


def _prefix(config: ClipConfig) -> str:
    rotary = config.text.position_embedding_type == "rotary"
    return "text_model.transformer.roberta." if rotary else "text_model.transformer."


def _adapted(name: str, config: ClipConfig) -> bool:
    """LoRA sits on every Linear and Embedding of the text tower: all weights that are matrices."""
    is_norm = "norm" in name or "emb_ln" in name
    return bool(config.text.lora_adaptations) and name.endswith(".weight") and not is_norm


def after_merging(official: Shapes) -> dict[str, tuple[int, ...]]:
    """The keys and shapes of an official checkpoint in which LoRA was merged."""
    return {
        name.replace(_ORIGINAL, ".weight"): shape
        for name, shape in official.items()
        if ".lora_" not in name
    }


def _check_fit(path: Path, tensors: Mapping[str, _Stored], expected: Shapes) -> None:
    """CheckpointError names the first tensors of each kind that do not fit."""
    stray = [name for name in tensors if name not in expected and not _COMPUTED.search(name)]
    misshapen, quantised = [], []
    for name in expected.keys() & tensors.keys():
        if tensors[name].shape != expected[name]:
            shapes = f"{list(tensors[name].shape)}, the config asks for {list(expected[name])}"
            misshapen.append(f"{name} is {shapes}")
        if tensors[name].dtype not in _DTYPES:
            quantised.append(f"{name} is {tensors[name].dtype}")
    culprits = {
        "missing": [name for name in expected if name not in tensors],
        "not known": stray,
        "misshapen": sorted(misshapen),
        "quantised": sorted(quantised),
    }
    problems = [f"{what}: {_listed(names)}" for what, names in culprits.items() if names]
    if problems:
        raise CheckpointError(f"{path} does not fit its config.json. " + ". ".join(problems))


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return "; ".join(names[:_SHOWN]) + rest
