"""jina-clip v1 and v2 as an Encoder: fingerprinted at once, loaded for the first row."""

import importlib
import importlib.metadata
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from itertools import islice, tee
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from numpy import ndarray
from tokenizers import Tokenizer
from torch import Tensor

import jina_clip
from evals.encoders.devices import choose_device, rounding
from evals.encoders.snapshots import snapshot
from evals.encoders.source_hash import hash_code
from evals.paths import as_recorded
from evals.schema import ConfigError, InvalidError, MissingError, Side
from jina_clip import Checkpoint, JinaCLIP
from jina_clip.api import FLOAT8, TEXTS_AHEAD, computed_in
from jina_clip.arrival import Arriving, one_behind, to_host
from jina_clip.attention_backends import recorded_attention, resolve_attention
from jina_clip.budget import ItemTooLargeError, out_of_memory
from jina_clip.float8 import float8_fault
from jina_clip.fused_trial import fused_fault
from jina_clip.hub import PATTERNS
from jina_clip.model import check_adapter
from jina_clip.packing import Ids
from jina_clip.prefetch import prefetch
from jina_clip.tokens import count_longer, instruction

MODEL_CODE = Path(jina_clip.__file__).parent


class _Place(NamedTuple):
    """Where an image is."""

    side: Side
    position: int


class JinaEncoder:
    """A jina-clip checkpoint from a local folder or the Hub, with a PEFT adapter where one is named.

    MissingError when the checkpoint is not here and cannot be fetched, InvalidError when it is not
    a whole jina-clip model, or a file of it changes between the fingerprint and its use.
    """

    def __init__(
        self,
        *,
        name: str,
        folder: Path | None,
        repo: str | None = None,
        revision: str | None = None,
        adapter: Path | None = None,
        device: str | None = None,
        dtype: str | None = None,
        attention: str = "auto",
        preprocess: str = "exact",
        compile: bool = False,
        cuda_graphs: bool = False,
        max_length: int = 512,
        batch_tokens: int | None = None,
        batch_images: int | None = None,
    ) -> None:
        self.name = name
        self.max_length, self.preprocess, self.compile = max_length, preprocess, compile
        self._sizes = {"tokens": batch_tokens, "images": batch_images}
        self.checkpoint = _checkpoint(folder, repo, revision, adapter)
        self.device = choose_device(device)
        self.cuda_graphs = cuda_graphs
        if cuda_graphs and not self.device.startswith("cuda"):
            raise ConfigError(
                f"--cuda-graphs: they run on a card, not on {self.device}. Leave it out."
            )
        with _as_invalid():
            self.config = self.checkpoint.config()
            check_adapter(self.checkpoint, self.config)
        self.dim = self.config.dim
        default = self.config.torch_dtype if self.device.startswith("cuda") else "float32"
        self.dtype = dtype or default
        self._refuse_float8()
        self.attention = self._attention(attention)
        with self._enough_memory():
            self.fingerprint: Mapping[str, str] = self._fingerprint()
        self.source = self._source(repo, revision)

    def _source(self, repo: str | None, revision: str | None) -> dict[str, str | None]:
        """Where the weights come from.

        Of a merged model that is the adapter's folder, and no repo: it is not what a repo publishes.
        """
        place = as_recorded(self.checkpoint.folder)
        commit = self.checkpoint.folder.name if repo else revision
        if self.checkpoint.adapter is None:
            return {"folder": place, "repo": repo, "revision": commit}
        base = f"{repo}@{commit}" if repo else place
        return {"folder": as_recorded(self.checkpoint.adapter), "base": base}

    def _attention(self, choice: str) -> str:
        place, dtype = torch.device(self.device), computed_in(self.dtype)
        try:
            with self._enough_memory():
                return resolve_attention(choice, self.config.text, place, dtype)
        except ValueError as error:
            raise ConfigError(f"--attention {choice}: {error}.") from error

    def _refuse_float8(self) -> None:
        """ConfigError where float8 is wanted and cannot be computed."""
        if self.dtype != FLOAT8:
            return
        with self._enough_memory():
            fault = float8_fault(torch.device(self.device))
        if fault is not None:
            raise ConfigError(f"--dtype {FLOAT8} on {self.device}: {fault}. Take bfloat16.")

    def _fingerprint(self) -> dict[str, str]:
        """Everything that can change a row; `text.` and `image.` concern one side only."""
        # Towers round differently by dtype, device, kernel and release of torch. The attention is
        # what "auto" came to. Where texts are cut, and by which tokenizer, is nothing to an image;
        # how pixels are made, and by which Pillow (13 resizes tall images otherwise than 12), is
        # nothing to a text.
        sha256 = self.checkpoint.sha256
        return {
            "code": _code(),
            "weights": self.checkpoint.weights_sha256,
            "config": sha256["config.json"],
            "dtype": self.dtype,
            "device": self.device.partition(":")[0],
            "kernels": _kernels(self.device, self.dtype),
            "torch": torch.__version__,
            **rounding(self.device),
            "text.attention": recorded_attention(self.attention),
            "text.tokenizer": sha256["tokenizer.json"],
            "text.tokenizers": importlib.metadata.version("tokenizers"),
            "text.max_length": str(self.max_length),
            "image.preprocess": self.preprocess,
            "image.compiled": str(self.compile).lower(),
            "image.config": sha256["preprocessor_config.json"],
            "image.pillow": importlib.metadata.version("pillow"),
        }

    @cached_property
    def model(self) -> JinaCLIP:
        """The model, loaded from the very bytes that were fingerprinted.

        InvalidError names a file that has changed.
        """
        with _as_invalid():
            model = JinaCLIP.from_checkpoint(
                self.checkpoint, device=self.device, dtype=self.dtype, attention=self.attention
            )
        if self.compile:
            model.compile_images()
        if self.cuda_graphs:
            model.graph_images()
        for unit, size in self._sizes.items():
            model.set_budget(unit, size)
        return model

    @property
    def batches(self) -> dict[str, list[int]]:
        """The sizes of a pass that were used, in tokens and images: several when memory ran out."""
        # cached_property: to ask for the model would load it
        if "model" not in vars(self):
            return {}
        return {unit: budget.used for unit, budget in self.model.budgets.items()}

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        with _as_invalid():
            return self.checkpoint.tokenizer()

    def truncated(self, side: Side) -> int:
        """How many texts are cut to `max_length` tokens; the weights are not loaded for it."""
        prefix = instruction(self.config.text, self._task(side))
        count = 0
        for start in range(0, len(side), TEXTS_AHEAD):
            texts = [prefix + text for text in side.items[start : start + TEXTS_AHEAD]]
            count += count_longer(self._tokenizer, texts, self.max_length)
        return count

    def encode(self, side: Side) -> Float[ndarray, "n d"]:
        """Full-width L2-normalised rows; queries get the instruction of models that have one.

        InvalidError names an image that is not one of 8 bits a channel, or too long and thin.
        """
        return next(self.stream([side]))

    def stream(self, sides: Iterable[Side]) -> Iterator[Float[ndarray, "n d"]]:
        """`encode` of each side.

        Images are decoded and texts tokenized in threads while the rows before them are computed.
        On a card rows come when those of the next side are queued: it computes them while the
        caller has its turn. An error of a side comes after the rows of those before it.
        """
        # All sides are of one kind; the first one tells, and is not lost by looking at it.
        sides, first = tee(sides)
        kind = next((side.kind for side in first), "text")
        yield from one_behind(self._images(sides) if kind == "image" else self._texts(sides))

    def _task(self, side: Side) -> str | None:
        has_instruction = side.role == "query" and self.config.text.lora_adaptations
        return "retrieval.query" if has_instruction else None

    def _texts(self, sides: Iterable[Side]) -> Generator[Arriving, None, None]:
        def tokens(side: Side) -> list[Ids]:
            prefix = self.model.instruction(self._task(side))
            return self.model.tokenize(list(side.items), prefix=prefix, max_length=self.max_length)

        sides, again = tee(sides)
        # Closed here, not when it is let go of: an interrupt that comes while the threads end would
        # be lost in a finalizer.
        # one worker: the tokenizer uses all cores by itself
        with (
            self._enough_memory(),
            closing(prefetch(tokens, sides, workers=1, ahead=2)) as tokenized,
        ):
            for side, ids in zip(again, tokenized, strict=True):
                with self._enough_memory(side):
                    arriving = to_host(F.normalize(self.model.text_rows(ids), dim=1))
                yield arriving

    def _images(self, sides: Iterable[Side]) -> Generator[Arriving, None, None]:
        sides, again = tee(sides)
        places = (_Place(side, position) for side in again for position in range(len(side)))
        # two passes: the threads go on while the tower is busy with one
        ahead = 2 * self.model.budgets["images"].size
        with (
            self._enough_memory(),
            closing(prefetch(self._pixels, places, ahead=ahead)) as pixels,
        ):
            for side in sides:
                with self._enough_memory(side):
                    rows = self.model.image_rows(islice(pixels, len(side)))
                    arriving = to_host(F.normalize(rows, dim=1))
                yield arriving

    def _pixels(self, place: _Place) -> UInt8[Tensor, "3 size size"]:
        image = place.side.items[place.position]
        try:
            return self.model.preprocess.pixels(image, self.preprocess)
        except ValueError as error:
            raise InvalidError(f"image {place.side.ids[place.position]}: {error}.") from error

    @contextmanager
    def _enough_memory(self, side: Side | None = None) -> Iterator[None]:
        """Out of memory as MissingError, with the id of the item of a side that was too much."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if side is None or not isinstance(error, ItemTooLargeError):
                raise MissingError(
                    f"{self.name}: out of memory on {self.device}, not by the size of a pass: "
                    f"{error}. Free memory, or choose another --device or --dtype."
                ) from error
            raise MissingError(
                f"{self.name}: out of memory on {self.device} even with a pass of a single item, "
                f"{side.kind} {side.ids[error.position]} ({error.cost:,} {error.unit}). Free "
                "memory, or choose another --device, --dtype or --max-length."
            ) from error


def _checkpoint(
    folder: Path | None, repo: str | None, revision: str | None, adapter: Path | None
) -> Checkpoint:
    """The checkpoint in a folder or of a repo, bound to the bytes that its files hold now."""
    if folder is None:
        folder = snapshot(
            str(repo),
            revision,
            only=PATTERNS,
            local_way="MODEL= or --model with a local folder that holds config.json, "
            "model.safetensors, tokenizer.json and preprocessor_config.json",
        )
    try:
        with _as_invalid():
            return Checkpoint.in_folder(folder, adapter).bound()
    except FileNotFoundError as error:
        raise MissingError(f"{str(error).rstrip('.')}.") from error


@contextmanager
def _as_invalid() -> Iterator[None]:
    """What is wrong with a checkpoint, as an error of evals; CheckpointError is a ValueError."""
    try:
        yield
    except ValueError as error:
        raise InvalidError(f"{error}.") from error


def _kernels(device: str, dtype: str) -> str:
    """What does the element-wise work: torch, or on CUDA Triton, which rounds otherwise."""
    if not device.startswith("cuda"):
        return "torch"
    if fused_fault(torch.device(device), computed_in(dtype)) is not None:
        return "torch"
    return f"triton-{importlib.import_module('triton').__version__}"


def _code() -> str:
    """The hash of the code that computes the rows: jina_clip and this file."""
    paths = [*sorted(MODEL_CODE.glob("*.py")), Path(__file__)]
    return hash_code(paths, package="jina_clip")
