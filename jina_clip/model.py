"""JinaCLIP: both towers behind the official API, from the official files alone.

model = JinaCLIP.from_pretrained("jinaai/jina-clip-v2")
model.encode_text("a cat on a sofa", task="retrieval.query") @ model.encode_image("cat.jpg")
"""

import json
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor, nn
from tqdm import tqdm

from jina_clip.config import CheckpointError, ClipConfig
from jina_clip.preprocess import (
    Preprocess,
    batches_by_length,
    read_image,
    read_json,
    read_tokenizer,
    token_batch,
    tokenize,
)
from jina_clip.shapes import Features, Pixels, TokenIds
from jina_clip.text import TextTower
from jina_clip.vision import VisionTower
from jina_clip.weights import fetch, read_weights, write_weights

log = logging.getLogger(__name__)
ImageSource = str | Path | Image.Image
Rows = Float[np.ndarray, "n d"] | Float[np.ndarray, " d"] | Float[Tensor, "n d"] | Float[Tensor, " d"]


class ClipOutput(NamedTuple):
    """What `forward` returns; both embeddings are L2-normalised, `loss` is None unless it was asked for."""

    loss: Float[Tensor, ""] | None
    logits_per_image: Float[Tensor, "images texts"]
    logits_per_text: Float[Tensor, "texts images"]
    text_embeds: Features
    image_embeds: Features


class JinaCLIP(nn.Module):
    """A jina-clip model. `JinaCLIP(config)` has random weights; `from_pretrained` reads a checkpoint."""

    def __init__(self, config: ClipConfig, *, tokenizer: Tokenizer | None = None, preprocess: Preprocess | None = None) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.preprocess = preprocess or Preprocess(size=config.vision.image_size)
        self.text_model = TextTower(config.text)
        self.vision_model = VisionTower(config.vision)
        self.logit_scale = nn.Parameter(torch.tensor(config.logit_scale_init_value, dtype=torch.float32))

    @classmethod
    def from_pretrained(
        cls,
        path_or_hub_id: str | Path,
        *,
        revision: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> "JinaCLIP":
        """Read a checkpoint in the official layout from a local folder or the Hub, ready for inference.

        `device`: CUDA when there is one, else CPU. `dtype`: that of config.json (v1 float32, v2 bfloat16) on CUDA, float32 on
        CPU. FileNotFoundError when a file is missing, CheckpointError when config and weights do not fit.
        """
        folder = fetch(path_or_hub_id, revision)
        config = ClipConfig.from_dict(read_json(folder / "config.json"))
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        tokenizer = read_tokenizer(folder / "tokenizer.json")
        preprocess = Preprocess.from_file(folder / "preprocessor_config.json")
        _check_fit(folder, config, tokenizer, preprocess)
        with torch.device("meta"):  # no memory, no random numbers: every tensor is replaced below
            model = cls(config, tokenizer=tokenizer, preprocess=preprocess)
        state = read_weights(folder / "model.safetensors", config, device=where, dtype=_dtype(dtype, config, where))
        model.load_state_dict(state, strict=True, assign=True)
        return model.eval()

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | str | None = None) -> Path:
        """Write the four official files; `dtype` is that of config.json unless given, and is written there."""
        if self.tokenizer is None:
            raise ValueError("the model has no tokenizer to save: pass tokenizer=... to JinaCLIP")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        stored = _torch_dtype(dtype or self.config.torch_dtype)
        write_weights(folder / "model.safetensors", self.state_dict(), self.config, dtype=stored)
        _write(folder / "tokenizer.json", self.tokenizer.to_str(pretty=False))
        _write(folder / "preprocessor_config.json", json.dumps(self.preprocess.to_dict(), indent=2) + "\n")
        config = self.config.to_dict() | {"torch_dtype": str(stored).removeprefix("torch.")}
        _write(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        return folder

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.logit_scale.device

    def get_text_features(self, input_ids: TokenIds) -> Features:
        """Unnormalised float32 features; the padding is where input_ids equal the pad id, and must be on the right."""
        return self.text_model(input_ids.to(self.device))  # type: ignore[no-any-return]

    def get_image_features(self, pixel_values: Pixels) -> Features:
        """Unnormalised float32 features of preprocessed images."""
        return self.vision_model(pixel_values.to(self.device))  # type: ignore[no-any-return]

    def forward(
        self, input_ids: TokenIds, pixel_values: Pixels, return_dict: bool | None = None, return_loss: bool | None = None
    ) -> ClipOutput:
        """Similarities of all texts and images, scaled by exp(logit_scale); the loss is CLIP's, over matching rows.

        `return_dict` is taken for the official signature: what comes back has names and is a tuple, either way.
        """
        texts = F.normalize(self.get_text_features(input_ids), dim=1)
        images = F.normalize(self.get_image_features(pixel_values), dim=1)
        logits = texts @ images.T * self.logit_scale.exp()
        loss = None
        if return_loss:
            target = torch.arange(len(logits), device=logits.device)
            loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        return ClipOutput(loss, logits.T, logits, texts, images)

    def encode_text(
        self,
        texts: str | Sequence[str],
        *,
        task: str | None = None,
        batch_size: int = 32,
        max_length: int = 512,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = True,
        convert_to_tensor: bool = False,
        show_progress_bar: bool | None = None,
    ) -> Rows:
        """Embed texts: one row each in their order, float32; a single string gives one vector.

        `task="retrieval.query"` (v2) puts the query instruction before every text; v1 has no instructions and only warns. Texts
        are cut to `max_length` tokens, special ones included; the models take up to 8192.
        `truncate_dim` keeps the first values, before the normalisation. ValueError for an unknown task or dimension.
        """
        if self.tokenizer is None:
            raise ValueError("the model has no tokenizer: pass tokenizer=... to JinaCLIP")
        dim = self._checked_dim(truncate_dim)
        single = isinstance(texts, str)
        prefix = self._instruction(task)
        sentences = [prefix + text for text in ([texts] if isinstance(texts, str) else texts)]
        ids = tokenize(self.tokenizer, sentences, max_length)
        pad = self.config.text.pad_token_id

        def features(batch: list[int]) -> Features:
            return self.get_text_features(token_batch([ids[i] for i in batch], pad, self.device))

        rows = self._encode(features, [len(tokens) for tokens in ids], batch_size, dim, normalize_embeddings, show_progress_bar)
        return _returned(rows, single, convert_to_tensor)

    def encode_image(
        self,
        images: ImageSource | Sequence[ImageSource],
        *,
        batch_size: int = 32,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = True,
        convert_to_tensor: bool = False,
        show_progress_bar: bool | None = None,
    ) -> Rows:
        """Embed images given as path, PIL image, http(s) URL or data URI: one row each in their order, float32.

        A single image gives one vector. Images become RGB before they are resized. ValueError for other types of input;
        OSError for what cannot be read.
        """
        dim = self._checked_dim(truncate_dim)
        single = isinstance(images, (str, Path, Image.Image))
        sources: Sequence[ImageSource] = [images] if isinstance(images, (str, Path, Image.Image)) else images

        def features(batch: list[int]) -> Features:
            return self.get_image_features(torch.stack([self.preprocess(read_image(sources[i])) for i in batch]))

        rows = self._encode(features, [0] * len(sources), batch_size, dim, normalize_embeddings, show_progress_bar)
        return _returned(rows, single, convert_to_tensor)

    def _encode(
        self,
        features: Callable[[list[int]], Features],
        lengths: list[int],
        batch_size: int,
        dim: int,
        normalize: bool,
        progress: bool | None,
    ) -> Float[Tensor, "n d"]:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        shown = progress if progress is not None else log.isEnabledFor(logging.INFO)
        rows = torch.empty(len(lengths), dim, dtype=torch.float32, device="cpu")
        try:
            with torch.inference_mode():
                for batch in tqdm(batches_by_length(lengths, batch_size), disable=not shown, desc="encoding", unit="batch"):
                    found = features(batch)[:, :dim]
                    rows[batch] = (F.normalize(found, dim=1) if normalize else found).cpu()
        finally:
            for module, training in modes:
                module.training = training
        return rows

    def _instruction(self, task: str | None) -> str:
        text = self.config.text
        known = {name: text.task_instructions[name] for name in text.lora_adaptations if name in text.task_instructions}
        if not known:
            if task is not None:
                warnings.warn(f"this model has no instructions; task={task!r} changes nothing", stacklevel=3)
            return ""
        task = task or text.default_instruction_task
        if task is None:
            return ""
        if task not in known:
            raise ValueError(f"task {task!r} is not known; this model has {', '.join(known)}")
        return known[task]

    def _checked_dim(self, truncate_dim: int | None) -> int:
        config = self.config
        dim = truncate_dim if truncate_dim is not None else (config.truncate_dim or config.dim)
        if not 1 <= dim <= config.dim:
            raise ValueError(f"truncate_dim must be between 1 and {config.dim}, not {dim}")
        if dim != config.dim and dim not in config.matryoshka_dimensions:
            trained = ", ".join(map(str, config.matryoshka_dimensions)) or f"{config.dim} only"
            warnings.warn(f"{dim} dimensions: this checkpoint was trained for {trained}", stacklevel=3)
        return dim


def _check_fit(folder: Path, config: ClipConfig, tokenizer: Tokenizer, preprocess: Preprocess) -> None:
    made, taken = preprocess.size, config.vision.image_size
    if made != taken:
        raise CheckpointError(f"{folder}: preprocessor_config.json makes images of {made} pixels, config.json takes {taken}")
    highest, entries = max(tokenizer.get_vocab().values(), default=0), config.text.vocab_size
    if highest >= entries:
        raise CheckpointError(f"{folder}: tokenizer.json has the id {highest}, config.json a vocabulary of {entries}")


def _returned(rows: Float[Tensor, "n d"], single: bool, as_tensor: bool) -> Rows:
    values = rows[0] if single else rows
    return values if as_tensor else values.numpy()


def _dtype(asked: torch.dtype | str | None, config: ClipConfig, device: torch.device) -> torch.dtype:
    if asked in (None, "auto"):
        return _torch_dtype(config.torch_dtype) if device.type == "cuda" else torch.float32
    return _torch_dtype(asked or "float32")


def _torch_dtype(name: torch.dtype | str) -> torch.dtype:
    if isinstance(name, torch.dtype):
        return name
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ValueError(f"dtype {name!r} is not one of {', '.join(known)}")
    return known[name]


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
