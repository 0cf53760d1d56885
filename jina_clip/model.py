"""JinaCLIP: both towers behind the official API, from the official files alone.

model = JinaCLIP.from_pretrained("jinaai/jina-clip-v2")
model.encode_text("a cat on a sofa", task="retrieval.query") @ model.encode_image("cat.jpg")
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
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

from jina_clip.attention import kernels, resolve_attention
from jina_clip.config import CheckpointError, ClipConfig
from jina_clip.packing import Ids
from jina_clip.passes import Budget, passes, text_rows
from jina_clip.prefetch import WORKERS, batches, prefetch
from jina_clip.preprocess import Preprocess, read_image, read_json
from jina_clip.shapes import Bytes, Features, Pixels, TokenIds
from jina_clip.text import TextTower
from jina_clip.tokens import instruction, read_tokenizer, tokenize
from jina_clip.vision import VisionTower
from jina_clip.weights import fetch, read_weights, write_weights

log = logging.getLogger(__name__)
ImageSource = str | Path | Image.Image
Rows = (
    Float[np.ndarray, "n d"] | Float[np.ndarray, " d"] | Float[Tensor, "n d"] | Float[Tensor, " d"]
)

ALIGN = 64  # values: what tensor cores like the widths of matrices to be multiples of
# Tokens a pass. On a GPU enough to keep it busy; on a CPU more is not faster and only takes memory.
PASS_TOKENS = {"cuda": 32_768, "cpu": 1_024}
TEXTS_AHEAD = 4_096  # texts that are tokenized and sorted at once


class ClipOutput(NamedTuple):
    """What `forward` returns; both embeddings are L2-normalised, `loss` is None unless it was asked for."""

    loss: Float[Tensor, ""] | None
    logits_per_image: Float[Tensor, "images texts"]
    logits_per_text: Float[Tensor, "texts images"]
    text_embeds: Features
    image_embeds: Features


class JinaCLIP(nn.Module):
    """A jina-clip model. `JinaCLIP(config)` has random weights; `from_pretrained` reads a checkpoint."""

    def __init__(
        self,
        config: ClipConfig,
        *,
        tokenizer: Tokenizer | None = None,
        preprocess: Preprocess | None = None,
        attention: str = "sdpa",
        align: int = 1,
    ) -> None:
        """`attention` is the text tower's backend as `resolve_attention` names it; `align` see layers.SwiGlu."""
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.preprocess = preprocess or Preprocess(size=config.vision.image_size)
        self.text_model = TextTower(config.text, attention)
        self.vision_model = VisionTower(config.vision, align)
        self.logit_scale = nn.Parameter(
            torch.tensor(config.logit_scale_init_value, dtype=torch.float32)
        )
        self.compiled = False
        self._budgets: dict[str, Budget] = {}

    @classmethod
    def from_pretrained(
        cls,
        path_or_hub_id: str | Path,
        *,
        revision: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        attention: str = "auto",
        compile: bool = False,
    ) -> "JinaCLIP":
        """Read a checkpoint in the official layout from a local folder or the Hub, ready for inference.

        `device`: CUDA when there is one, else CPU. `dtype`: that of config.json (v1 float32, v2 bfloat16) on CUDA, float32 on
        CPU. `attention`: "auto", "sdpa", "varlen" or "flash_attn"; ValueError with the reason when it cannot run here.
        `compile` compiles the image tower, which pays for thousands of images. FileNotFoundError when a file is missing,
        CheckpointError when config and weights do not fit.
        """
        folder = fetch(path_or_hub_id, revision)
        config = ClipConfig.from_dict(read_json(folder / "config.json"))
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        kind = _dtype(dtype, config, where)
        backend = resolve_attention(attention, config.text, where, kind)
        tokenizer = read_tokenizer(folder / "tokenizer.json")
        preprocess = Preprocess.from_file(folder / "preprocessor_config.json")
        _check_fit(folder, config, tokenizer, preprocess)
        align = ALIGN if where.type == "cuda" else 1
        with torch.device("meta"):  # no memory, no random numbers: every tensor is replaced below
            model = cls(
                config, tokenizer=tokenizer, preprocess=preprocess, attention=backend, align=align
            )
        state = read_weights(
            folder / "model.safetensors", config, device=where, dtype=kind, align=align
        )
        model.load_state_dict(state, strict=True, assign=True)
        if compile:
            model.compile_images()
        return model.eval()

    def compile_images(self) -> None:
        """Compile the image tower for batches of one size; the first one takes up to a minute."""
        self.vision_model.compile(dynamic=False)
        self.compiled = True

    def save_pretrained(
        self, folder: str | Path, *, dtype: torch.dtype | str | None = None
    ) -> Path:
        """Write the four official files; `dtype` is that of config.json unless given, and is written there."""
        if self.tokenizer is None:
            raise ValueError("the model has no tokenizer to save: pass tokenizer=... to JinaCLIP")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        stored = _torch_dtype(dtype or self.config.torch_dtype)
        write_weights(folder / "model.safetensors", self.state_dict(), self.config, dtype=stored)
        _write(folder / "tokenizer.json", self.tokenizer.to_str(pretty=False))
        _write(
            folder / "preprocessor_config.json",
            json.dumps(self.preprocess.to_dict(), indent=2) + "\n",
        )
        config = self.config.to_dict() | {"torch_dtype": str(stored).removeprefix("torch.")}
        _write(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        return folder

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.logit_scale.device

    @property
    def budgets(self) -> dict[str, Budget]:
        """What a pass may hold: "tokens" of texts, "images". A budget halves itself when memory runs out."""
        for unit in ("tokens", "images"):
            if unit not in self._budgets:
                self.set_budget(unit, None)
        return self._budgets

    def set_budget(self, unit: str, size: int | None) -> None:
        """Allow `size` "tokens" or "images" a pass; None: what suits the device."""
        tokens = PASS_TOKENS.get(self.device.type, PASS_TOKENS["cpu"])
        suits = tokens if unit == "tokens" else max(1, tokens // (self.config.vision.grid**2 + 1))
        self._budgets[unit] = Budget(suits if size is None else size, unit)

    def get_text_features(self, input_ids: TokenIds) -> Features:
        """Unnormalised float32 features; the padding is where input_ids equal the pad id."""
        return self.text_model(input_ids)  # type: ignore[no-any-return]

    def get_image_features(self, pixel_values: Pixels) -> Features:
        """Unnormalised float32 features of preprocessed images."""
        # batches of a job have one shape, so cuDNN plans once; it is the fastest where it runs
        with kernels(
            "CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH", device=self.device
        ):
            return self.vision_model(pixel_values.to(self.device))  # type: ignore[no-any-return]

    def forward(
        self,
        input_ids: TokenIds,
        pixel_values: Pixels,
        return_dict: bool | None = None,
        return_loss: bool | None = None,
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
        batch_size: int | None = None,
        max_length: int = 512,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = True,
        convert_to_tensor: bool = False,
        show_progress_bar: bool | None = None,
    ) -> Rows:
        """Embed texts: one row each in their order, float32; a single string gives one vector.

        `task="retrieval.query"` (v2) puts the query instruction before every text; v1 has no instructions and only warns. Texts
        are cut to `max_length` tokens, special ones included; the models take up to 8192. A pass takes as many texts as
        `budgets["tokens"]` allows, and no more than `batch_size`.
        `truncate_dim` keeps the first values, before the normalisation. ValueError for an unknown task or dimension.
        """
        dim, batch_size = self._checked_dim(truncate_dim), _checked_batch(batch_size)
        single = isinstance(texts, str)
        sentences = [texts] if isinstance(texts, str) else texts
        parts = [
            range(i, min(i + TEXTS_AHEAD, len(sentences)))
            for i in range(0, len(sentences), TEXTS_AHEAD)
        ]
        prefix = self.instruction(task)
        tokenized = prefetch(
            lambda part: self.tokenize(
                [sentences[i] for i in part], prefix=prefix, max_length=max_length
            ),
            parts,
            workers=1 if len(parts) > 1 else 0,
            ahead=2,
        )
        with self._progress(len(sentences), show_progress_bar) as done:
            found = [self.text_rows(ids, batch_size=batch_size, done=done) for ids in tokenized]
        return _returned(_cut(found, dim, normalize_embeddings), single, convert_to_tensor)

    def encode_image(
        self,
        images: ImageSource | Sequence[ImageSource],
        *,
        batch_size: int | None = None,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = True,
        convert_to_tensor: bool = False,
        show_progress_bar: bool | None = None,
        preprocess: str = "exact",
        workers: int = WORKERS,
    ) -> Rows:
        """Embed images given as path, PIL image, http(s) URL or data URI: one row each in their order, float32.

        A single image gives one vector. Images become RGB before they are resized, by Pillow (`preprocess="exact"`) or by
        torch ("fast": see Preprocess.pixels), in `workers` threads ahead of the tower. A pass takes `batch_size` images, else
        `budgets["images"]`. ValueError for other types of input; OSError for what cannot be read.
        """
        dim, batch_size = self._checked_dim(truncate_dim), _checked_batch(batch_size)
        single = isinstance(images, (str, Path, Image.Image))
        sources: Sequence[ImageSource] = (
            [images] if isinstance(images, (str, Path, Image.Image)) else images
        )
        pixels = prefetch(
            lambda index: self.preprocess.pixels(read_image(sources[index]), preprocess),
            range(len(sources)),
            workers=workers if len(sources) > 1 else 0,
            ahead=2 * (batch_size or self.budgets["images"].size),
        )
        with self._progress(len(sources), show_progress_bar) as done:
            found = self.image_rows(pixels, batch_size=batch_size, done=done)
        return _returned(_cut([found], dim, normalize_embeddings), single, convert_to_tensor)

    def tokenize(self, texts: list[str], *, prefix: str = "", max_length: int = 512) -> list[Ids]:
        """Token ids of the texts, each with the prefix before it; ValueError when the model has no tokenizer."""
        if self.tokenizer is None:
            raise ValueError("the model has no tokenizer: pass tokenizer=... to JinaCLIP")
        return tokenize(self.tokenizer, [prefix + text for text in texts], max_length)

    def text_rows(
        self,
        ids: Sequence[Ids],
        *,
        batch_size: int | None = None,
        done: Callable[[int], object] = lambda n: None,
    ) -> Features:
        """Unnormalised rows of tokenized texts, in their order, on the model's device. `done(n)` hears of every n finished."""
        with self._inference():
            return text_rows(
                self.text_model, ids, self.budgets["tokens"], most=batch_size, done=done
            )

    def image_rows(
        self,
        pixels: Iterable[Bytes],
        *,
        batch_size: int | None = None,
        done: Callable[[int], object] = lambda n: None,
    ) -> Features:
        """Unnormalised rows of images as `preprocess.pixels` gives them, in their order, on the model's device."""
        budget = self.budgets["images"]
        full = budget.size if self.compiled else 0

        def features(every: Bytes, part: slice) -> Features:
            """A compiled tower gets batches of one size only: for another size it would be compiled anew."""
            batch = every[part]
            missing = max(0, full - len(batch))
            whole = torch.cat([batch, batch[:1].expand(missing, -1, -1, -1)]) if missing else batch
            on_device = whole.to(self.device, non_blocking=True)
            return self.get_image_features(self.preprocess.normalize(on_device))[: len(batch)]

        rows = [torch.empty(0, self.config.dim, device=self.device)]
        with self._inference():
            for batch in batches(pixels, batch_size or budget.size, pin=self.device.type == "cuda"):
                for _, found in passes([1] * len(batch), budget, partial(features, batch)):
                    rows.append(found)
                    done(len(found))
            return torch.cat(rows)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            for module, training in modes:
                module.training = training

    @staticmethod
    @contextmanager
    def _progress(total: int, shown: bool | None) -> Iterator[Callable[[int], object]]:
        on = shown if shown is not None else log.isEnabledFor(logging.INFO)
        with tqdm(total=total, disable=not on, desc="encoding") as bar:
            yield bar.update

    def instruction(self, task: str | None) -> str:
        """What `task` puts before a text; ValueError names the known tasks."""
        return instruction(self.config.text, task)

    def _checked_dim(self, truncate_dim: int | None) -> int:
        config = self.config
        dim = truncate_dim if truncate_dim is not None else (config.truncate_dim or config.dim)
        if not 1 <= dim <= config.dim:
            raise ValueError(f"truncate_dim must be between 1 and {config.dim}, not {dim}")
        if dim != config.dim and dim not in config.matryoshka_dimensions:
            trained = ", ".join(map(str, config.matryoshka_dimensions)) or f"{config.dim} only"
            warnings.warn(
                f"{dim} dimensions: this checkpoint was trained for {trained}", stacklevel=3
            )
        return dim


def _check_fit(
    folder: Path, config: ClipConfig, tokenizer: Tokenizer, preprocess: Preprocess
) -> None:
    made, taken = preprocess.size, config.vision.image_size
    if made != taken:
        raise CheckpointError(
            f"{folder}: preprocessor_config.json makes images of {made} pixels, config.json takes {taken}"
        )
    highest, entries = max(tokenizer.get_vocab().values(), default=0), config.text.vocab_size
    if highest >= entries:
        raise CheckpointError(
            f"{folder}: tokenizer.json has the id {highest}, config.json a vocabulary of {entries}"
        )


def _checked_batch(size: int | None) -> int | None:
    if size is not None and size < 1:
        raise ValueError(f"batch_size must be at least 1, not {size}")
    return size


def _cut(found: list[Float[Tensor, "_ _"]], dim: int, normalize: bool) -> Float[Tensor, "n {dim}"]:
    """The first `dim` values of all rows, normalised if wanted, on the host."""
    rows = torch.cat(found)[:, :dim] if found else torch.empty(0, dim)
    return (F.normalize(rows, dim=1) if normalize else rows).cpu().contiguous()


def _returned(rows: Float[Tensor, "n d"], single: bool, as_tensor: bool) -> Rows:
    values = rows[0] if single else rows
    return values if as_tensor else values.numpy()


def _dtype(
    asked: torch.dtype | str | None, config: ClipConfig, device: torch.device
) -> torch.dtype:
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
