"""Any model of open_clip as an Encoder: an architecture, and a tag of open_clip's registry or a checkpoint file.

Shapes: n rows, d dimensions, b items of a pass, p pixels a side.
"""

import hashlib
import importlib
import importlib.metadata
import json
import os
import re
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from difflib import get_close_matches
from functools import cached_property
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from evals.encoders.devices import choose_device
from evals.encoders.flores import FLORES, flores
from evals.schema import ConfigError, InvalidError, MissingError, Side

TEXTS, IMAGES = 256, 32  # of a pass
WORKERS = min(8, os.cpu_count() or 1)
PRECISION = {
    "float32": "fp32",
    "float16": "pure_fp16",
    "bfloat16": "pure_bf16",
}  # pure: every weight, and no autocast
PREPARATION = ("mean", "std", "interpolation", "resize_mode")  # of an image

# What torch, safetensors and open_clip raise on a file that is no checkpoint of the model.
_BROKEN = (
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
_NETWORK = "Connect to the network (and set HF_TOKEN if the repo is gated), or set HF_HOME to a Hub cache filled elsewhere."


class OpenClipEncoder:
    """The model `spec` says: ARCH/PRETRAINED, as `ViT-B-16/datacomp_xl_s13b_b90k` or `ViT-B-32//folder/weights.pt`.

    ARCH is a name of `open_clip.list_models()` or a JSON file like those in its `model_configs`, PRETRAINED a tag of that model
    in the registry or a file. Nothing is downloaded before the first row is wanted. Models named nllb have a tokenizer a
    language. ConfigError: there is no such model, tag, device or language. MissingError: open_clip, the weights or what they
    build on are not here and cannot be fetched. InvalidError: a file is not what it should be.
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
        self._library = _library()
        arch, self.pretrained = _parts(spec)
        self.name, self.arch = name, _registered(self._library, arch)
        self.device, self.dtype, self.batch_images = (
            choose_device(device),
            dtype or "float32",
            batch_images or IMAGES,
        )
        config = self._library.get_model_config(self.arch)
        self._tag = _tag(self._library, self.arch, config, self.pretrained)
        self._preparation = _preparation(self._library, self.arch, self._tag)
        self.dim: int = config["embed_dim"]
        self.by_language = "nllb" in self.arch.lower() and "hf_tokenizer_name" in config["text_cfg"]
        self.fingerprint: Mapping[str, str] = {
            "library": f"open_clip-{self._library.__version__}",
            "arch": self.arch,
            "config": _hash(config),
            "weights": f"tag {self.pretrained}" if self._tag else _sha256(Path(self.pretrained)),
            "dtype": self.dtype,
            "device": self.device.partition(":")[0],
            "torch": torch.__version__,
            **_text_entries(self.arch, config["text_cfg"], self.by_language),
            **_image_entries(self._library.transform, config["vision_cfg"], self._preparation),
        }
        self.source = {"spec": spec, "repo": self._tag.get("hf_hub"), "url": self._tag.get("url")}

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The model and its preprocessing of an image."""
        file = self._fetched()
        self.source |= {
            "file": str(file.resolve()),
            "sha256": _sha256(file),
        }  # a tag does not say which bytes it was
        try:
            model, _, preprocess = self._library.create_model_and_transforms(
                self.arch,
                self.pretrained,
                precision=PRECISION[self.dtype],
                device=self.device,
                weights_only=True,
                **{f"image_{name}": self._preparation[name] for name in PREPARATION},
            )
        except torch.OutOfMemoryError as error:
            raise self._memory() from error
        except _BROKEN as error:
            if (
                isinstance(error, OSError) and error.errno is None
            ):  # transformers has no config for the text tower
                raise MissingError(
                    f"{self.arch}: cannot be built ({_brief(error)}). {_NETWORK}"
                ) from error
            raise InvalidError(
                f"{file}: no checkpoint of {self.arch} ({_brief(error)}). Get the file again."
            ) from error
        return model.eval(), preprocess

    @cached_property
    def tokenizer(self) -> Any:
        """What turns a list of texts into token ids."""
        try:
            return self._library.get_tokenizer(self.arch)
        except OSError as error:
            raise MissingError(
                f"{self.arch}: no tokenizer ({_brief(error)}). {_NETWORK}"
            ) from error

    @property
    def batches(self) -> dict[str, list[int]]:
        """The most texts and images of a pass."""
        return {"texts": [TEXTS], "images": [self.batch_images]} if "_loaded" in vars(self) else {}

    def encode(self, side: Side) -> Float[np.ndarray, "n d"]:
        """Full-width L2-normalised float32 rows; images are decoded ahead of the model. The role makes no difference."""
        if side.kind == "text" and self.by_language:
            self._speak(flores(side.language))
        model, preprocess = self._loaded
        passes = (
            self._texts(model, side)
            if side.kind == "text"
            else self._images(model, preprocess, side)
        )
        rows = [np.zeros((0, self.dim), np.float32)]
        try:
            with torch.inference_mode():
                rows += [F.normalize(part.float(), dim=1).cpu().numpy() for part in passes]
        except torch.OutOfMemoryError as error:
            raise self._memory() from error
        return np.concatenate(rows)

    def _texts(self, model: Any, side: Side) -> Iterator[Float[Tensor, "b d"]]:
        for start in range(0, len(side), TEXTS):
            yield model.encode_text(
                self.tokenizer(list(side.items[start : start + TEXTS])).to(self.device)
            )

    def _images(self, model: Any, preprocess: Any, side: Side) -> Iterator[Float[Tensor, "b d"]]:
        with closing(_ahead(preprocess, side.items, 2 * self.batch_images)) as pixels:
            while batch := list(islice(pixels, self.batch_images)):
                yield model.encode_image(
                    torch.stack(batch).to(self.device, getattr(torch, self.dtype))
                )

    def _speak(self, code: str) -> None:
        words = self.tokenizer.tokenizer
        token = words.convert_tokens_to_ids(code)
        if token in (None, words.unk_token_id):
            raise ConfigError(
                f"{self.arch}: its tokenizer does not know the language {code!r}. Choose others with --subsets."
            )
        words.src_lang = (
            code  # not open_clip's set_language: transformers goes back to src_lang at each call
        )
        if token not in self.tokenizer([""])[0]:
            raise InvalidError(
                f"{self.arch}: its tokenizer {type(words).__name__} has no languages. Use that of NLLB."
            )

    def _fetched(self) -> Path:
        if not self._tag:
            return Path(self.pretrained)
        try:
            return Path(self._library.download_pretrained(self._tag))
        except (OSError, RuntimeError) as error:  # RuntimeError: a wrong checksum
            raise MissingError(
                f"{self.arch}/{self.pretrained}: cannot be downloaded ({_brief(error)}). {_NETWORK} "
                f"Or give a file you have: {self.arch}//folder/weights.pt."
            ) from error

    def _memory(self) -> MissingError:
        return MissingError(
            f"{self.name}: out of memory on {self.device}. Free memory, or choose a smaller --batch-images."
        )


def _ahead(
    preprocess: Any, images: Sequence[Any], ahead: int
) -> Generator[Float[Tensor, "3 p p"], None, None]:
    """The pixels of each image in order, made by threads; at most `ahead` wait or are being made."""
    # Palettes and transparency go before the resize, as in the loaders of CLIP_benchmark.
    pool = ThreadPoolExecutor(WORKERS)
    waiting: deque[Future[Any]] = deque()
    try:
        for index in range(len(images)):
            waiting.append(pool.submit(lambda n: preprocess(images[n].convert("RGB")), index))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _library() -> Any:
    try:
        return importlib.import_module("open_clip")
    except ModuleNotFoundError as error:
        raise MissingError(
            f"open_clip cannot be imported ({error}). Run: pip install 'jina-clip-evals[rivals]'."
        ) from error


def _parts(spec: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+?\.json|[^/]+)/(.+)", spec)
    if match is None:
        raise ConfigError(
            f"open_clip:{spec}: give ARCH/PRETRAINED, as open_clip:ViT-B-16/datacomp_xl_s13b_b90k."
        )
    return match[1], match[2]


def _registered(library: Any, arch: str) -> str:
    """The name under which open_clip knows the architecture; a JSON file is made known by its stem."""
    if not arch.endswith(".json"):
        if arch not in library.list_models():
            raise ConfigError(
                f"open_clip has no model {arch!r}.{_near(arch, library.list_models())}"
            )
        return arch
    path = Path(arch)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingError(
            f"{path}: cannot be read ({error.strerror}). Check the file and its permissions."
        ) from error
    except ValueError as error:
        raise InvalidError(f"{path}: not JSON ({error}). Correct it.") from error
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
        raise InvalidError(
            f"{path}: not a model config of open_clip. It needs `embed_dim`, `vision_cfg` and `text_cfg`."
        )
    known = library.get_model_config(path.stem)
    if known is None:
        library.add_model_config(path)
    elif known != config:
        raise ConfigError(f"{path}: open_clip knows another model as {path.stem}. Rename the file.")
    return path.stem


def _tag(library: Any, arch: str, config: Mapping[str, Any], pretrained: str) -> dict[str, Any]:
    """What the registry says of a tag; {} for a file that is there."""
    if found := library.get_pretrained_cfg(arch, pretrained):
        if found.get("quick_gelu") and not config.get(
            "quick_gelu"
        ):  # open_clip only warns, and its rows are wrong
            raise ConfigError(
                f"{arch}/{pretrained}: the weights are for QuickGELU. Give {arch}-quickgelu/{pretrained}."
            )
        return dict(found)
    if Path(pretrained).is_file():
        return {}
    if "/" in pretrained or "." in pretrained:
        raise MissingError(
            f"{pretrained}: no such file. Give a checkpoint of {arch}, or a tag of open_clip's registry."
        )
    tags = library.list_pretrained_tags_by_model(arch)
    raise ConfigError(
        f"open_clip has no weights {pretrained!r} of {arch}.{_near(pretrained, tags)}"
    )


def _text_entries(arch: str, config: Mapping[str, Any], by_language: bool) -> dict[str, str]:
    name, siglip = config.get("hf_tokenizer_name"), "siglip" in arch.lower()
    found = {
        "text.tokenizer": f"HFTokenizer {name}"
        if name
        else "SigLipTokenizer"
        if siglip
        else "SimpleTokenizer",
        "text.context_length": str(config.get("context_length", 77)),
        "text.ftfy": importlib.metadata.version("ftfy"),
    }
    if name or siglip or "hf_model_name" in config:
        found["text.transformers"] = importlib.metadata.version("transformers")
    return found | ({"text.languages": _hash(FLORES)} if by_language else {})


def _preparation(library: Any, arch: str, tag: Mapping[str, Any]) -> dict[str, Any]:
    """How the tag prepares images; for a file as all tags of the architecture do, where open_clip takes what suits ViT-B-32."""
    tags = (
        [tag]
        if tag
        else [
            library.get_pretrained_cfg(arch, name)
            for name in library.list_pretrained_tags_by_model(arch)
        ]
    )
    default = library.transform.PreprocessCfg()
    first, *others = [
        library.transform.merge_preprocess_dict(default, known) for known in tags or [{}]
    ]
    if any(first[name] != other[name] for other in others for name in PREPARATION):
        raise ConfigError(
            f"The tags of {arch} prepare images in several ways, and a file does not say which is its own. Give a tag, or for "
            "open_clip's default a copy of the model's JSON config under another name."
        )
    return dict(first)


def _image_entries(
    transform: Any, config: Mapping[str, Any], preparation: Mapping[str, Any]
) -> dict[str, str]:
    given = transform.PreprocessCfg(**{**preparation, "size": config.get("image_size", 224)})
    found = {
        "image.preprocess": repr(transform.image_transform_v2(given, is_train=False)),
        "image.pillow": importlib.metadata.version("pillow"),
        "image.torchvision": importlib.metadata.version("torchvision"),
    }
    return found | (
        {"image.timm": importlib.metadata.version("timm")} if "timm_model_name" in config else {}
    )


def _near(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=5, cutoff=0.4) or list(known)[:5]
    return f" Near names: {', '.join(near)}." if near else " It has none: give a checkpoint file."


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")


def _hash(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
