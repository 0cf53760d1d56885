"""A sentence-transformers model, text only or text and image, as an Encoder: fingerprinted from its files, loaded when needed."""

import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from evals.encoders.devices import choose_device
from evals.schema import ConfigError, InvalidError, MissingError, Side

MATHS = "1"  # raise it when this file makes other rows from the same model
BATCH = 32  # items a pass unless given, as in the library
PROBE_SECONDS = 6

# Files that torch never reads, by fnmatch as on the Hub: they are neither fetched nor fingerprinted.
_FOREIGN = ("*.h5", "*.ot", "*.msgpack", "*.onnx", "*.md", "onnx/*", "openvino/*", ".*", "*/.*")
_AGAIN = "Copy the model again, whole."
_OWN_CODE = (
    "is code of the model's own (trust_remote_code), which is never run. Choose another model."
)


class SentenceTransformersEncoder:
    """The model of a local folder or a Hub id `org/name[@revision]`; code of the model's own is never run.

    MissingError: the library or the model is not here and cannot be fetched. InvalidError: not a whole sentence-transformers
    model. ConfigError: one that needs its own code, or is an adapter.
    """

    def __init__(
        self,
        *,
        name: str,
        spec: str,
        device: str | None = None,
        dtype: str | None = None,
        max_length: int = 512,
        batch_images: int | None = None,
    ) -> None:
        self.name, self.max_length = name, max_length
        self._batch = {"text": BATCH, "image": batch_images or BATCH}
        library = _version("sentence-transformers")
        self.folder, repo, revision = _located(spec)
        modules = _modules(self.folder)
        self.device = choose_device(device)
        saved = _json(self.folder / modules[0]["path"] / "config.json", dict)
        kept = saved.get("dtype") or saved.get("torch_dtype")
        self.dtype = dtype or (
            kept
            if self.device.startswith("cuda") and kept in ("bfloat16", "float16")
            else "float32"
        )
        self.fingerprint: Mapping[str, str] = {
            "maths": f"sentence_transformers-{MATHS}",
            "weights": _content_hash(self.folder),
            "dtype": self.dtype,
            "device": self.device.partition(":")[0],
            "torch": torch.__version__,
            "sentence-transformers": library,
            "transformers": _version("transformers"),
            "text.tokenizers": _version("tokenizers"),
            "text.max_length": str(max_length),
            "image.pillow": _version("pillow"),
            # where it is installed, transformers resizes with it and not with Pillow
            "image.torchvision": _version("torchvision")
            if importlib.util.find_spec("torchvision")
            else "none",
        }
        self.source = {"folder": str(self.folder.resolve()), "repo": repo, "revision": revision}
        self.dim: int = _width(self.folder, modules) or self.model.get_embedding_dimension()

    @cached_property
    def model(self) -> Any:
        """The loaded SentenceTransformer, of full width, that truncates texts at `max_length` or its own limit, the lower."""
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer

        wanted = getattr(torch, self.dtype)
        try:
            # transformers 5 takes the checkpoint's dtype unless told: half precision on a CPU, too
            told = {"dtype": wanted}
            with _missing_weights() as missing:
                model = SentenceTransformer(
                    str(self.folder), device=self.device, local_files_only=True, model_kwargs=told
                )
        except torch.OutOfMemoryError:
            raise
        except ImportError as error:
            raise MissingError(f"{self.name}: {_first_line(error)}. Install it.") from error
        except (
            AttributeError,
            LookupError,
            OSError,
            RuntimeError,
            SafetensorError,
            TypeError,
            ValueError,
        ) as error:
            if "trust_remote_code" in str(error):
                raise ConfigError(f"{self.folder}: its architecture {_OWN_CODE}") from error
            raise InvalidError(
                f"{self.folder}: sentence-transformers cannot load it: {_first_line(error)}. {_AGAIN}"
            ) from error
        if missing:
            raise InvalidError(
                f"{self.folder}: the checkpoint lacks {min(missing)} ({len(missing)} weights are missing). {_AGAIN}"
            )
        if model.dtype not in (
            None,
            wanted,
        ):  # models without a transformer do not heed model_kwargs
            model = model.to(wanted)
        model.truncate_dim = None
        own = model.max_seq_length
        if own is not None and math.isfinite(own) and own > self.max_length:
            model.max_seq_length = self.max_length
        return model

    @property
    def batches(self) -> dict[str, list[int]]:
        """The items of a pass, by kind; empty before the model is loaded."""
        return (
            {f"{kind}s": [size] for kind, size in self._batch.items()}
            if "model" in vars(self)
            else {}
        )

    def encode(self, side: Side) -> Float[np.ndarray, "n d"]:
        """Full-width L2-normalised float32 rows in the order of the items.

        A role picks the model's own prompt or route, as `encode_query` and `encode_document` do; without one its default prompt
        applies. ConfigError when the model has no tower for this kind, MissingError when memory does not suffice.
        """
        if not self.model.supports(side.kind):
            raise ConfigError(
                f"{self.name} has no {side.kind} tower. Choose another model, or a benchmark without {side.kind}s."
            )
        try:
            parts = [self._rows(items, side) for items in self._passes(side)]
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise MissingError(
                f"{self.name}: out of memory on {self.device} in a pass of {self._batch[side.kind]} {side.kind}s. "
                "Free memory, or choose another --device, --dtype, --max-length or --batch-images."
            ) from error
        rows = torch.cat(parts) if parts else torch.zeros(0, self.dim)
        if rows.shape[1] != self.dim:
            raise InvalidError(
                f"{self.folder}: the rows have {rows.shape[1]} values, its configs say {self.dim}. {_AGAIN}"
            )
        found: Float[np.ndarray, "n d"] = F.normalize(rows, dim=1).cpu().numpy()
        return found

    def _passes(self, side: Side) -> Iterator[list[Any]]:
        """Images in passes, so that few are decoded at a time; texts at once, which the library sorts by length."""
        if side.kind == "image":
            for start in range(0, len(side), self._batch["image"]):
                yield [
                    side.items[i].convert("RGB")
                    for i in range(start, min(start + self._batch["image"], len(side)))
                ]
        elif len(side):
            # a model of several kinds would open a text that looks like the path or address of an image
            named = set(self.model.modalities) != {"text"}
            yield [{"text": text} if named else text for text in side.items]

    def _rows(self, items: list[Any], side: Side) -> Float[Tensor, "n d"]:
        encode = {
            None: self.model.encode,
            "query": self.model.encode_query,
            "document": self.model.encode_document,
        }[side.role]
        rows: Tensor = encode(
            items,
            batch_size=self._batch[side.kind],
            convert_to_tensor=True,
            show_progress_bar=False,
        )
        return rows.float()


@contextmanager
def _missing_weights() -> Iterator[list[str]]:
    """The weights that transformers finds missing while it loads: it makes them up at random, and only logs a table of them.

    A pooler does not count: sentence-transformers has its own way of pooling, and many checkpoints come without one.
    """
    found: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", record.getMessage())  # a terminal gets colours
        names = re.findall(r"^(\S+) *\| MISSING", plain, re.MULTILINE)
        found.extend(name for name in names if "pooler." not in name)
        return True

    log = logging.getLogger("transformers.modeling_utils")
    level = log.level
    log.setLevel(logging.WARNING)  # whatever the user has silenced
    log.addFilter(note)
    try:
        yield found
    finally:
        log.removeFilter(note)
        log.setLevel(level)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise MissingError(
            f"{package} is not installed; st: models need it. pip install 'jina-clip-evals[rivals]'."
        ) from None


def _located(spec: str) -> tuple[Path, str | None, str | None]:
    """Folder, repo and revision of a spec; the last two are None for a local folder, which never touches the network."""
    path = Path(spec).expanduser()
    if path.is_dir():
        return path, None, None
    match = re.fullmatch(r"(\w[\w.-]*/[\w.-]+)(?:@([\w./-]+))?", spec)
    if match is None:
        raise MissingError(
            f"{spec}: no such folder, and no Hub id of the form org/name[@revision]. Correct what follows st:."
        )
    folder = _snapshot(match[1], match[2])
    return folder, match[1], folder.name


def _snapshot(repo: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # httpx's

    silent: Exception | None = None
    try:  # one call without retries, after which the cache serves or nothing does
        HfApi().model_info(repo, revision=revision, timeout=PROBE_SECONDS)
    except (OSError, HTTPError) as error:
        silent = error
    try:
        folder = snapshot_download(
            repo,
            revision=revision,
            ignore_patterns=list(_FOREIGN),
            local_files_only=silent is not None,
        )
    except (OSError, HTTPError) as error:
        raise MissingError(
            f"{repo} is not in the Hub's cache and cannot be fetched: {_first_line(silent or error)}. Provide it in one of three "
            "ways: a network connection to the Hub (and HF_TOKEN if the repo is gated); st: with a local folder; or a Hub cache "
            "filled elsewhere, through HF_HOME."
        ) from error
    return Path(folder)


def _modules(folder: Path) -> Sequence[Mapping[str, Any]]:
    """The entries of modules.json (https://www.sbert.net/docs/sentence_transformer/usage/custom_models.html), `type` and `path`
    each; refuses what the library would load as something else."""
    file = folder / "modules.json"
    if not file.is_file():
        raise InvalidError(
            f"{folder}: no modules.json, so no sentence-transformers model. Point at the folder that has one."
        )
    modules: list[Any] = _json(file, list)
    for module in modules or [{}]:
        if not isinstance(module, dict) or not all(
            isinstance(module.get(key), str) for key in ("type", "path")
        ):
            raise InvalidError(f"{file}: must list modules with `type` and `path`. {_AGAIN}")
        if not module["type"].startswith("sentence_transformers."):
            raise ConfigError(f"{folder}: {module['type']} {_OWN_CODE}")
    kind = _json(folder / "config_sentence_transformers.json", dict).get(
        "model_type", "SentenceTransformer"
    )
    if kind != "SentenceTransformer":
        raise ConfigError(
            f"{folder}: a {kind}, whose output is not one row an item. Choose a SentenceTransformer."
        )
    if (folder / modules[0]["path"] / "adapter_config.json").is_file():
        raise ConfigError(
            f"{folder}: an adapter, whose base model is elsewhere. Merge the two and save the whole model."
        )
    return modules


def _json(file: Path, kind: type) -> Any:
    """What the file holds, which is of that kind; empty when there is no such file."""
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else kind()
    except ValueError as error:  # JSON and UTF-8
        raise InvalidError(f"{file}: not JSON ({error}). {_AGAIN}") from error
    if not isinstance(found, kind):
        raise InvalidError(
            f"{file}: must be a {kind.__name__}, and is {type(found).__name__}. {_AGAIN}"
        )
    return found


def _width(folder: Path, modules: Sequence[Mapping[str, Any]]) -> int | None:
    """The width of the rows as the configs tell it; None where only the loaded model knows."""
    last = next(
        (
            m
            for m in reversed(modules)
            if not m["type"].endswith((".Normalize", ".Dropout", ".LayerNorm"))
        ),
        modules[0],
    )
    config = _json(folder / last["path"] / "config.json", dict)
    kind = last["type"].rpartition(".")[2]
    key = {
        "Dense": "out_features",
        "CLIPModel": "projection_dim",
        "Transformer": "projection_dim",
    }.get(kind)
    # several ways of pooling put their rows side by side; files of before version 5.4 hold a yes or no for each way
    old = [way for way, used in config.items() if way.startswith("pooling_mode_") and used]
    if kind == "Pooling" and (
        isinstance(config.get("pooling_mode"), str)
        or ("pooling_mode" not in config and len(old) == 1)
    ):
        key = (
            "embedding_dimension" if "embedding_dimension" in config else "word_embedding_dimension"
        )
    width = config.get(key)
    return width if isinstance(width, int) else None


def _content_hash(folder: Path) -> str:
    """sha256 over the names and contents of all files that can make a row."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(fnmatch(name, pattern) for pattern in _FOREIGN):
            with path.open("rb") as file:
                whole.update(
                    name.encode("utf-8", "surrogateescape")
                    + b"\0"
                    + hashlib.file_digest(file, "sha256").digest()
                )
    return whole.hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
