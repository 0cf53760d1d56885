"""jina-clip v1 and v2 as an Encoder: fingerprinted from its files at once, loaded when the first row is wanted."""

import ast
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from itertools import islice, tee
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from evals.encoders.devices import choose_device
from evals.paths import as_recorded
from evals.schema import ConfigError, InvalidError, MissingError, Side
from jina_clip import ClipConfig, JinaCLIP
from jina_clip.attention import resolve_attention
from jina_clip.model import TEXTS_AHEAD
from jina_clip.passes import out_of_memory
from jina_clip.prefetch import prefetch
from jina_clip.tokens import count_longer, instruction, read_tokenizer
from jina_clip.weights import fetch

ROOT = Path(__file__).resolve().parents[2]


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
        attention: str = "auto",
        preprocess: str = "exact",
        compile: bool = False,
        max_length: int = 512,
        batch_tokens: int | None = None,
        batch_images: int | None = None,
    ) -> None:
        self.name = name
        self.max_length, self.preprocess, self.compile = max_length, preprocess, compile
        self._asked = {"tokens": batch_tokens, "images": batch_images}
        self.folder = _fetched(folder, repo, revision)
        self.device = choose_device(device)
        try:
            self.config = config = ClipConfig.from_dict(
                json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
            )
        except ValueError as error:  # CheckpointError, JSON and UTF-8 errors
            raise InvalidError(f"{self.folder}: {error}") from error
        self.dim = config.dim
        self.dtype = dtype or (config.torch_dtype if self.device.startswith("cuda") else "float32")
        try:
            self.attention = resolve_attention(
                attention, config.text, torch.device(self.device), getattr(torch, self.dtype)
            )
        except ValueError as error:
            raise ConfigError(f"--attention {attention}: {error}.") from error
        self.fingerprint: Mapping[str, str] = {
            "code": _code(),
            "weights": _sha256(self.folder / "model.safetensors"),
            "config": _sha256(self.folder / "config.json"),
            "dtype": self.dtype,
            "device": self.device.partition(":")[0],
            "kernels": _kernels(self.device),
            "torch": torch.__version__,
            "text.attention": self.attention,
            "text.tokenizer": _sha256(self.folder / "tokenizer.json"),
            "text.tokenizers": importlib.metadata.version("tokenizers"),
            "text.max_length": str(max_length),
            "image.preprocess": preprocess,
            "image.compiled": str(compile).lower(),
            "image.config": _sha256(self.folder / "preprocessor_config.json"),
            "image.pillow": importlib.metadata.version("pillow"),
        }
        self.source = {
            "folder": as_recorded(self.folder),
            "repo": repo,
            "revision": self.folder.name if repo else revision,
        }

    @cached_property
    def model(self) -> JinaCLIP:
        """The loaded model."""
        try:
            model = JinaCLIP.from_pretrained(
                self.folder,
                device=self.device,
                dtype=self.dtype,
                attention=self.attention,
                compile=self.compile,
            )
        except ValueError as error:  # CheckpointError is one
            raise InvalidError(str(error)) from error
        for unit, size in self._asked.items():
            model.set_budget(unit, size)
        return model

    @property
    def batches(self) -> dict[str, list[int]]:
        """The sizes of a pass that were used, in tokens and in images: more than one when memory ran out."""
        return (
            {unit: budget.used for unit, budget in self.model.budgets.items()}
            if "model" in vars(self)
            else {}
        )

    def truncated(self, side: Side) -> int:
        """How many texts of the side are cut to `max_length` tokens; the weights are not loaded for it."""
        tokenizer = read_tokenizer(self.folder / "tokenizer.json")
        prefix = instruction(self.config.text, self._task(side))
        starts = range(0, len(side), TEXTS_AHEAD)
        return sum(
            count_longer(
                tokenizer,
                [prefix + text for text in side.items[start : start + TEXTS_AHEAD]],
                self.max_length,
            )
            for start in starts
        )

    def _task(self, side: Side) -> str | None:
        return (
            "retrieval.query"
            if side.role == "query" and self.config.text.lora_adaptations
            else None
        )

    def encode(self, side: Side) -> Float[np.ndarray, "n d"]:
        """Full-width L2-normalised rows. Queries get the retrieval instruction of models that have one."""
        return next(self.stream([side]))

    def stream(self, sides: Iterable[Side]) -> Iterator[Float[np.ndarray, "n d"]]:
        """`encode` of each side; images are decoded and texts tokenized in threads while the rows before them are computed."""
        sides, first = tee(sides)
        kind = next((side.kind for side in first), "text")
        yield from self._images(sides) if kind == "image" else self._texts(sides)

    def _texts(self, sides: Iterable[Side]) -> Iterator[Float[np.ndarray, "n d"]]:
        def tokens(side: Side) -> list[Any]:
            prefix = self.model.instruction(self._task(side))
            return self.model.tokenize(list(side.items), prefix=prefix, max_length=self.max_length)

        with self._enough_memory("tokens"):
            for ids in prefetch(tokens, sides, workers=1, ahead=2):
                yield _normalised(self.model.text_rows(ids))

    def _images(self, sides: Iterable[Side]) -> Iterator[Float[np.ndarray, "n d"]]:
        sides, again = tee(sides)
        items = ((side.items, index) for side in again for index in range(len(side)))
        with self._enough_memory("images"):
            ahead = 2 * self.model.budgets["images"].size
            pixels = prefetch(
                lambda at: self.model.preprocess.pixels(at[0][at[1]], self.preprocess),
                items,
                ahead=ahead,
            )
            for side in sides:
                yield _normalised(self.model.image_rows(islice(pixels, len(side))))

    @contextmanager
    def _enough_memory(self, unit: str) -> Iterator[None]:
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise MissingError(
                f"{self.name}: out of memory on {self.device} even with a pass of a single item. "
                f"Free memory, or choose another --device, --dtype or --max-length ({unit})."
            ) from error


def _normalised(rows: Float[Tensor, "n d"]) -> Float[np.ndarray, "n d"]:
    found: Float[np.ndarray, "n d"] = F.normalize(rows, dim=1).cpu().numpy()
    return found


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


def _kernels(device: str) -> str:
    """What does the element-wise work: on CUDA the Triton kernels where Triton is, which round otherwise than torch in bf16."""
    if not device.startswith("cuda"):
        return "torch"
    try:
        return f"triton-{importlib.metadata.version('triton')}"
    except importlib.metadata.PackageNotFoundError:
        return "torch"


def _code() -> str:
    """A hash of what computes the rows: the syntax of jina_clip and of this file, without comments and docstrings.

    A change of the model's code must not be answered with rows that the code before it made.
    """
    digest = hashlib.sha256()
    for path in (*sorted((ROOT / "jina_clip").glob("*.py")), Path(__file__)):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
                and ast.get_docstring(node, clean=False) is not None
            ):
                node.body = node.body[1:]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
