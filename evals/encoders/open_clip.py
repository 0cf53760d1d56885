"""Any model of open_clip as an Encoder: an architecture, and a registered tag or a checkpoint file.

Shapes: n rows, d dimensions, b items of a pass, t tokens of a text, p pixels a side.
"""

import os
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cached_property
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor

from evals.encoders.devices import choose_device, rounding, whole_dtype
from evals.encoders.flores import flores
from evals.encoders.hashed_files import HashedFile, check_unchanged, hash_file
from evals.encoders.open_clip_models import (
    PREPARATION,
    Spec,
    find_tag,
    hash_json,
    image_entries,
    image_preparation,
    import_open_clip,
    read_spec,
    registered_name,
    text_entries,
    tokenizer_files,
)
from evals.schema import ConfigError, InvalidError, MissingError, Side

# A text takes 77 tokens in most models, an image 50 to 729.
TEXTS, IMAGES = 256, 32  # of a pass
LONGER = 2  # contexts that a text is tokenized to when it is asked whether one cuts it
WORKERS = min(8, os.cpu_count() or 1)
# pure: every weight, and no autocast
PRECISION = {"float32": "fp32", "float16": "pure_fp16", "bfloat16": "pure_bf16"}
# What torch, safetensors and open_clip raise on a file that is no checkpoint of the model.
BROKEN = (
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    EOFError,
    UnpicklingError,
    SafetensorError,
)
NETWORK = (
    "Connect to the network (and set HF_TOKEN if the repo is gated), "
    "or set HF_HOME to a Hub cache filled elsewhere."
)


class Loaded(NamedTuple):
    """A model, and what makes an image its input."""

    model: Any
    preprocess: Any


class OpenClipEncoder:
    """The model of ARCH/PRETRAINED, as `ViT-B-16/webli` or `ViT-B-32//folder/weights.pt`.

    ARCH is a name of `open_clip.list_models()` or a JSON file like those in its `model_configs`,
    PRETRAINED a tag of that model in the registry or a file. Nothing is downloaded before the first
    row is wanted. Models named nllb have a tokenizer per language.

    ConfigError: there is no such model, tag, device or language. MissingError: open_clip, the
    weights or what they build on are not here and cannot be fetched. InvalidError: a file is not
    what it should be, or changes while it is used.
    """

    def __init__(
        self,
        *,
        name: str,
        spec: str,
        device: str | None = None,
        dtype: str | None = None,
        batch_images: int | None = None,
    ) -> None:
        self._library = open_clip = import_open_clip()
        arch, self.pretrained = read_spec(spec)
        self.name, self.arch = name, registered_name(open_clip, arch)
        self.device = choose_device(device)
        self.dtype = whole_dtype(dtype, "open_clip") or "float32"
        self.batch_images = batch_images or IMAGES
        config = open_clip.get_model_config(self.arch)
        text_config = config["text_cfg"]
        self._tag = find_tag(open_clip, Spec(self.arch, self.pretrained), config)
        self._preparation = image_preparation(open_clip, self.arch, self._tag)
        self.dim: int = config["embed_dim"]
        self.by_language = "nllb" in self.arch.lower() and "hf_tokenizer_name" in text_config
        self._files = tokens = tokenizer_files(text_config)
        weights = f"tag {self.pretrained}"
        if not self._tag:
            file = hash_file(Path(self.pretrained))
            self._files, weights = [file, *tokens], file.sha256.hex()
        self.fingerprint: Mapping[str, str] = {
            "library": f"open_clip-{open_clip.__version__}",
            "arch": self.arch,
            "config": hash_json(config),
            "weights": weights,
            "dtype": self.dtype,
            "device": self.device.partition(":")[0],
            "torch": torch.__version__,
            **rounding(self.device),
            **text_entries(self.arch, text_config, tokens, by_language=self.by_language),
            **image_entries(open_clip.transform, config["vision_cfg"], self._preparation),
        }
        self.source: dict[str, str | None] = {
            "spec": spec,
            "repo": self._tag.get("hf_hub"),
            "url": self._tag.get("url"),
        }

    @cached_property
    def _loaded(self) -> Loaded:
        # Not at the start: a run whose rows are all in the store downloads nothing.
        file = self._fetched()
        # a tag does not say which bytes it was
        self.source |= {"file": str(file.path.resolve()), "sha256": file.sha256.hex()}
        try:
            model, _, preprocess = self._library.create_model_and_transforms(
                self.arch,
                self.pretrained,
                precision=PRECISION[self.dtype],
                device=self.device,
                weights_only=True,
                # Said for a file as well, for which open_clip would take its default.
                **{f"image_{name}": self._preparation[name] for name in PREPARATION},
            )
        except torch.OutOfMemoryError as error:
            raise self._out_of_memory() from error
        except BROKEN as error:
            check_unchanged([file])
            # transformers has no config for the text tower
            if isinstance(error, OSError) and error.errno is None:
                raise MissingError(
                    f"{self.arch}: cannot be built ({_brief(error)}). {NETWORK}"
                ) from error
            raise InvalidError(
                f"{file.path}: no checkpoint of {self.arch} ({_brief(error)}). Get the file again."
            ) from error
        check_unchanged([file])
        return Loaded(model.eval(), preprocess)

    @cached_property
    def tokenizer(self) -> Any:
        """What turns a list of texts into token ids."""
        try:
            tokenizer = self._library.get_tokenizer(self.arch)
        except OSError as error:
            check_unchanged(self._files)
            raise MissingError(f"{self.arch}: no tokenizer ({_brief(error)}). {NETWORK}") from error
        check_unchanged(self._files)
        return tokenizer

    @property
    def batches(self) -> dict[str, list[int]]:
        """The most texts and images of a pass."""
        return {"texts": [TEXTS], "images": [self.batch_images]} if "_loaded" in vars(self) else {}

    def truncated(self, side: Side) -> int:
        """How many texts are cut to the context of the model.

        MissingError where its tokenizer is not at hand; ConfigError for an unknown language.
        """
        tokenizer = self.tokenizer
        if self.by_language:
            self._speak(flores(side.language))
        context = tokenizer.context_length
        # Most of what a long context makes of no text is padding, whatever kind of tokenizer it is.
        padding = tokenizer([""], context_length=LONGER * context).mode().values
        # A text of so many words is cut, so it is as long as any text that the model reads.
        longest = _extents(tokenizer(["a " * context]), padding)
        count = 0
        for start in range(0, len(side), TEXTS):
            tokens = tokenizer(
                list(side.items[start : start + TEXTS]), context_length=LONGER * context
            )
            count += int((_extents(tokens, padding) > longest).sum())
        return count

    def encode(self, side: Side) -> Float[np.ndarray, "n d"]:
        """Full-width L2-normalised float32 rows; images are decoded ahead of the model.

        The role makes no difference.
        """
        if side.kind == "text" and self.by_language:
            self._speak(flores(side.language))
        passes = self._passes(self._loaded, side)
        # No items give no rows of the right width: concatenate takes no empty list.
        rows = [np.zeros((0, self.dim), np.float32)]
        try:
            with torch.inference_mode():
                rows += [F.normalize(part.float(), dim=1).cpu().numpy() for part in passes]
        except torch.OutOfMemoryError as error:
            raise self._out_of_memory() from error
        return np.concatenate(rows)

    def _passes(self, loaded: Loaded, side: Side) -> Iterator[Float[Tensor, "b d"]]:
        if side.kind == "text":
            return self._texts(loaded.model, side)
        return self._images(loaded.model, loaded.preprocess, side)

    def _texts(self, model: Any, side: Side) -> Iterator[Float[Tensor, "b d"]]:
        for start in range(0, len(side), TEXTS):
            tokens = self.tokenizer(list(side.items[start : start + TEXTS]))
            yield model.encode_text(tokens.to(self.device))

    def _images(self, model: Any, preprocess: Any, side: Side) -> Iterator[Float[Tensor, "b d"]]:
        dtype = getattr(torch, self.dtype)
        # closing: an error in the model ends the threads that decode ahead of it.
        with closing(_ahead(preprocess, side.items, 2 * self.batch_images)) as pixels:
            for _ in range(0, len(side), self.batch_images):
                batch = list(islice(pixels, self.batch_images))
                yield model.encode_image(torch.stack(batch).to(self.device, dtype))

    def _speak(self, code: str) -> None:
        """Make the tokenizer put this language before the texts."""
        words = self.tokenizer.tokenizer
        token = words.convert_tokens_to_ids(code)
        if token in (None, words.unk_token_id):
            raise ConfigError(
                f"{self.arch}: its tokenizer does not know the language {code!r}. "
                "Choose others with --subsets."
            )
        # not open_clip's set_language: transformers goes back to src_lang at each call
        words.src_lang = code
        if token not in self.tokenizer([""])[0]:
            raise InvalidError(
                f"{self.arch}: its tokenizer {type(words).__name__} has no languages. "
                "Use that of NLLB."
            )

    def _fetched(self) -> HashedFile:
        """The checkpoint, as it was hashed; that of a tag is downloaded and hashed now."""
        if not self._tag:
            return self._files[0]
        try:
            return hash_file(Path(self._library.download_pretrained(self._tag)))
        except (OSError, RuntimeError) as error:  # RuntimeError: a wrong checksum
            raise MissingError(
                f"{self.arch}/{self.pretrained}: cannot be downloaded ({_brief(error)}). {NETWORK} "
                f"Or give a file you have: {self.arch}//folder/weights.pt."
            ) from error

    def _out_of_memory(self) -> MissingError:
        return MissingError(
            f"{self.name}: out of memory on {self.device}. "
            "Free memory, or choose a smaller --batch-images."
        )


def _extents(tokens: Int[Tensor, "b t"], padding: Int[Tensor, " 1"]) -> Int[Tensor, " b"]:
    """From the first to the last token that is none of the padding; tokens between may equal it."""
    is_text = (tokens != padding).int()
    # The place of the first 1, from either end.
    before, behind = is_text.argmax(1), is_text.flip(1).argmax(1)
    return torch.where(is_text.any(1), tokens.shape[1] - before - behind, 0)


def _ahead(
    preprocess: Any, images: Sequence[Any], ahead: int
) -> Generator[Float[Tensor, "3 p p"], None, None]:
    """The pixels of each image in order, made by threads; at most `ahead` are made in advance."""
    pool = ThreadPoolExecutor(WORKERS)
    waiting: deque[Future[Any]] = deque()
    try:
        for index in range(len(images)):
            # palettes and transparency go before the resize, as in the loaders of CLIP_benchmark
            waiting.append(pool.submit(lambda n: preprocess(images[n].convert("RGB")), index))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
