"""Official safetensors to our modules and back: LoRA is merged on reading, and a key too many, too few or misshapen is refused.

An official checkpoint of v2 holds every weight of the text tower as original + LoRA pair (torch's `parametrizations`); the
official encoder adds the pair in every forward pass, for queries and documents alike. Here it is added once, in float32.
Layers of the image tower that take the same input are joined into one.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jina_clip.config import CheckpointError, ClipConfig

FILES = ("config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json")
# Tables that some exports carry although they are computed; everything else left over is refused.
_COMPUTED = re.compile(r"(rope\.freqs_(cos|sin)|inv_freq|alibi_slopes|linear_biases|position_ids)$")
# Layers of the image tower that are one in ours: the same input, so one matmul.
_JOINED = {
    ".attn.qkv.": (".attn.q_proj.", ".attn.k_proj.", ".attn.v_proj."),
    ".mlp.w12.": (".mlp.w1.", ".mlp.w2."),
}
PROBE_SECONDS = 6
_SHOWN = 8  # culprits named in one message


def fetch(path_or_hub_id: str | Path, revision: str | None = None) -> Path:
    """The folder of a checkpoint: the local one, or the snapshot of a Hub repo with the four FILES downloaded.

    A local folder never touches the network. When the Hub does not answer, its cache serves. FileNotFoundError when a file, the
    folder or the repo cannot be had.
    """
    folder = Path(path_or_hub_id)
    if not folder.is_dir():
        repo = str(path_or_hub_id)
        if not re.fullmatch(r"\w[\w.-]*/[\w.-]+", repo):
            raise FileNotFoundError(
                f"{repo} is neither a folder nor a Hub id such as jinaai/jina-clip-v2"
            )
        folder = _snapshot(repo, revision)
    for name in FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder / name} is missing; a checkpoint folder holds {', '.join(FILES)}"
            )
    return folder


def _snapshot(repo: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # httpx's

    silent = None
    try:  # one call without retries: snapshot_download alone asks for 23 s before it believes that there is no network
        HfApi().model_info(repo, revision=revision, timeout=PROBE_SECONDS)
    except (OSError, HTTPError) as error:
        silent = error
    try:
        return Path(
            snapshot_download(
                repo,
                revision=revision,
                allow_patterns=list(FILES),
                local_files_only=silent is not None,
            )
        )
    except (OSError, HTTPError) as error:
        why = str(silent or error).strip().splitlines()[0]
        raise FileNotFoundError(
            f"{repo} is not in the Hub's cache and cannot be fetched: {why}"
        ) from error


def expected_shapes(config: ClipConfig) -> dict[str, tuple[int, ...]]:
    """Every key of the official model.safetensors with its shape: 395 for v1, 999 for v2."""
    from jina_clip.model import JinaCLIP

    with torch.device("meta"):
        model = JinaCLIP(config)
    return {
        name: tuple(tensor.shape) for name, tensor in official_tensors(model.state_dict(), config)
    }


def parameter_count(config: ClipConfig) -> int:
    """Values in the official checkpoint, LoRA included: 222,647,041 for v1, 865,278,477 for v2."""
    return sum(torch.Size(shape).numel() for shape in expected_shapes(config).values())


def read_weights(
    path: Path, config: ClipConfig, *, device: torch.device, dtype: torch.dtype, align: int = 1
) -> dict[str, Tensor]:
    """Our state dict from an official model.safetensors, tensor by tensor; `align` as in layers.SwiGlu.

    CheckpointError when a key is missing, left over or misshapen (all are checked before any is read) or the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            _refuse_misfit(path, found, expected_shapes(config))
            return {
                name: tensor.to(device, torch.float32 if name == "logit_scale" else dtype)
                for name, tensor in _joined(_merged(file.get_tensor, sorted(found), config), align)
            }
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file: {error}") from error


def official_tensors(
    state: Mapping[str, Tensor], config: ClipConfig
) -> Iterator[tuple[str, Tensor]]:
    """Our state dict under the official names. What was LoRA is in the weights already, so the pairs written are zero."""
    for name, tensor in state.items():
        if not name.startswith("text_model."):
            yield from _split(name, tensor, config.vision.hidden)
            continue
        official = _prefix(config) + name.removeprefix("text_model.")
        if not _adapted(name, config):
            yield official, tensor
            continue
        base = official.removesuffix(".weight") + ".parametrizations.weight"
        adapters, rank, (rows, columns) = (
            len(config.text.lora_adaptations),
            config.text.lora_rank,
            tensor.shape,
        )
        a, b = (
            ((rows, rank), (rank, columns))
            if ".embeddings." in name
            else ((rank, columns), (rows, rank))
        )
        yield base + ".original", tensor
        yield base + ".0.lora_A", tensor.new_zeros(adapters, *a)
        yield base + ".0.lora_B", tensor.new_zeros(adapters, *b)


def write_weights(
    path: Path, state: Mapping[str, Tensor], config: ClipConfig, *, dtype: torch.dtype
) -> None:
    """Write an official model.safetensors, whole or not at all."""
    tensors = {
        # a copy: pieces of one of our tensors share its memory, which the format does not allow
        name: tensor.detach()
        .to("cpu", torch.float32 if name == "logit_scale" else dtype, copy=True)
        .contiguous()
        for name, tensor in official_tensors(state, config)
    }
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata={"format": "pt"})
    part.chmod(0o644)  # safetensors makes it readable to the owner alone
    part.replace(path)


def _split(name: str, tensor: Tensor, hidden: int) -> Iterator[tuple[str, Tensor]]:
    """A tensor of our image tower as the official ones: joined layers apart, without the padding of the hidden width."""
    for joined, parts in _JOINED.items():
        if joined in name:
            for part, piece in zip(parts, tensor.chunk(len(parts)), strict=True):
                yield name.replace(joined, part), piece[:hidden] if ".mlp." in joined else piece
            return
    yield name, tensor[:, :hidden] if name.endswith(".mlp.w3.weight") else tensor


def _joined(tensors: Iterator[tuple[str, Tensor]], align: int) -> Iterator[tuple[str, Tensor]]:
    """The inverse: official layers of the image tower joined and padded; everything else as it is."""
    waiting: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors:
        joined = next(
            (ours for ours, parts in _JOINED.items() if any(part in name for part in parts)), None
        )
        if joined is None:
            pad = -tensor.shape[-1] % align if name.endswith(".mlp.w3.weight") else 0
            yield name, F.pad(tensor, (0, pad)) if pad else tensor
            continue
        part = next(part for part in _JOINED[joined] if part in name)
        pieces = waiting.setdefault(name.replace(part, joined), {})
        pad = -len(tensor) % align if ".mlp." in joined else 0
        pieces[part] = F.pad(tensor, (0,) * (2 * tensor.ndim - 1) + (pad,)) if pad else tensor
        if len(pieces) == len(_JOINED[joined]):
            yield (
                name.replace(part, joined),
                torch.cat([pieces.pop(part) for part in _JOINED[joined]]),
            )


def _merged(
    read: Callable[[str], Tensor], names: list[str], config: ClipConfig
) -> Iterator[tuple[str, Tensor]]:
    for name in names:
        if _COMPUTED.search(name) or ".lora_" in name:
            continue
        ours = name.replace(_prefix(config), "text_model.")
        if not name.endswith(".parametrizations.weight.original"):
            yield ours, read(name)
            continue
        stem = name.removesuffix("original")
        weight = read(name)
        if config.text.adapter is not None:
            a, b = (read(f"{stem}0.lora_{letter}")[config.text.adapter].float() for letter in "AB")
            scale = config.text.lora_alpha / config.text.lora_rank
            delta = a @ b if ".embeddings." in name else b @ a
            weight = weight.float() + delta * scale
        yield ours.replace(".parametrizations.weight.original", ".weight"), weight


def _prefix(config: ClipConfig) -> str:
    rotary = config.text.position_embedding_type == "rotary"
    return "text_model.transformer.roberta." if rotary else "text_model.transformer."


def _adapted(name: str, config: ClipConfig) -> bool:
    """LoRA sits on every Linear and Embedding of the text tower: all weights that are matrices."""
    return (
        bool(config.text.lora_adaptations)
        and name.endswith(".weight")
        and "norm" not in name
        and "emb_ln" not in name
    )


def _refuse_misfit(
    path: Path, found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]
) -> None:
    missing = [name for name in expected if name not in found]
    left_over = [name for name in found if name not in expected and not _COMPUTED.search(name)]
    misshapen = [
        f"{name} is {list(found[name])}, the config asks for {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    problems = [
        f"{what}: {'; '.join(names[:_SHOWN])}{f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''}"
        for what, names in (
            ("missing", missing),
            ("not known", left_over),
            ("misshapen", misshapen),
        )
        if names
    ]
    if problems:
        raise CheckpointError(f"{path} does not fit its config.json. " + ". ".join(problems))
