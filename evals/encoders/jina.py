"""jina-clip v1 and v2 as an Encoder: fingerprinted from its files at once, loaded when the first row is wanted."""

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from evals.schema import ConfigError, InvalidError, MissingError, Side
from jina_clip import ClipConfig, JinaCLIP
from jina_clip.weights import fetch

MATHS = "1"  # raise it when jina_clip computes other rows from the same files


class JinaEncoder:
    """A jina-clip checkpoint from a local folder or the Hub.

    MissingError when the checkpoint is not here and cannot be fetched, InvalidError when it is not a whole jina-clip model.
    """

    def __init__(
        self,
        *,
        name: str,
        folder: Path | None,
        repo: str | None = None,
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        max_length: int = 512,
        batch_size: int = 32,
    ) -> None:
        self.name = name
        self.batch_size, self.max_length = batch_size, max_length
        self.folder = _fetched(folder, repo, revision)
        self.device = _device(device)
        try:
            config = ClipConfig.from_dict(json.loads((self.folder / "config.json").read_text(encoding="utf-8")))
        except ValueError as error:  # CheckpointError, JSON and UTF-8 errors
            raise InvalidError(f"{self.folder}: {error}") from error
        self.dim = config.dim
        self.dtype = dtype or (config.torch_dtype if self.device.startswith("cuda") else "float32")
        self.fingerprint: Mapping[str, str] = {
            "maths": f"jina_clip-{MATHS}",
            "weights": _sha256(self.folder / "model.safetensors"),
            "config": _sha256(self.folder / "config.json"),
            "dtype": self.dtype,
            "device": self.device.partition(":")[0],
            "attention": "sdpa",
            "torch": torch.__version__,
            "text.tokenizer": _sha256(self.folder / "tokenizer.json"),
            "text.tokenizers": importlib.metadata.version("tokenizers"),
            "text.max_length": str(max_length),
            "image.preprocess": _sha256(self.folder / "preprocessor_config.json"),
            "image.pillow": importlib.metadata.version("pillow"),
        }
        self.source = {"folder": str(self.folder.resolve()), "repo": repo, "revision": self.folder.name if repo else revision}

    @cached_property
    def model(self) -> JinaCLIP:
        """The loaded model."""
        try:
            return JinaCLIP.from_pretrained(self.folder, device=self.device, dtype=self.dtype)
        except ValueError as error:  # CheckpointError is one
            raise InvalidError(str(error)) from error

    def encode(self, side: Side) -> Float[np.ndarray, "n d"]:
        """Full-width L2-normalised rows. Queries get the retrieval instruction of models that have one."""
        try:
            return self._encode(side)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise MissingError(
                f"{self.name}: out of memory on {self.device} with batches of {self.batch_size}; give a smaller --batch-size."
            ) from error

    def _encode(self, side: Side) -> Float[np.ndarray, "n d"]:
        options: dict[str, Any] = {"batch_size": self.batch_size, "show_progress_bar": False}
        if side.kind == "image":
            return np.asarray(self.model.encode_image(side.items, truncate_dim=self.dim, **options))
        task = "retrieval.query" if side.role == "query" and self.model.config.text.lora_adaptations else None
        texts = list(side.items)
        return np.asarray(self.model.encode_text(texts, task=task, max_length=self.max_length, truncate_dim=self.dim, **options))


def _fetched(folder: Path | None, repo: str | None, revision: str | None) -> Path:
    try:
        return fetch(folder or str(repo), revision)
    except FileNotFoundError as error:
        if folder is not None:
            raise MissingError(f"{str(error).rstrip('.')}.") from error
        raise MissingError(
            f"{str(error).rstrip('.')}. Provide the weights in one of three ways: a network connection to the Hub (and HF_TOKEN "
            "if the repo is gated); MODEL= or --model with a local folder that holds config.json, model.safetensors, "
            "tokenizer.json and preprocessor_config.json; or a Hub cache filled elsewhere, through HF_HOME."
        ) from error


def _device(asked: str | None) -> str:
    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"--device {asked}: this machine has no CUDA device that torch can use.")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", asked):
        raise ConfigError(f"--device {asked}: give cpu, cuda or cuda:N.")
    if asked.startswith("cuda:") and int(asked[5:]) >= torch.cuda.device_count():
        raise ConfigError(f"--device {asked}: this machine has {torch.cuda.device_count()} CUDA devices.")
    return asked


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
