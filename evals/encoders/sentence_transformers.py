"""A sentence-transformers model, of texts or of texts and images, as an Encoder.

It is fingerprinted from its files at once and loaded when the first row is wanted. A
MultiVectorEncoder (ColBERT, PyLate, ColPali) gives several vectors per item; its files say so.

Shapes: n rows, d dimensions.
"""

import importlib.metadata
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from evals.encoders.devices import choose_device, rounding, whole_dtype
from evals.encoders.hashed_files import check_unchanged, content_hash, hash_folder
from evals.encoders.st_folder import (
    COPY_AGAIN,
    COSINE,
    FOREIGN,
    MAXSIM,
    gives_several,
    is_cosine,
    locate,
    read_config,
    read_modules,
    read_similarity,
    read_spec,
    read_width,
)
from evals.encoders.st_lengths import count_cut
from evals.encoders.st_loading import load_whole
from evals.encoders.st_several import cap_lengths, check_kind, check_side, vectors_of
from evals.schema import (
    LAYOUT,
    MULTI_VECTOR,
    ConfigError,
    InvalidError,
    MissingError,
    Side,
    Vectors,
)

MATHS = "1"  # raise it when this file makes other rows from the same model
BATCH = 32  # items per pass unless set, as in the library
HALF = ("bfloat16", "float16")
Encoded = TypeVar("Encoded")


class SentenceTransformersEncoder:
    """The model of a local folder or a Hub id `org/name[@revision]`.

    Code of the model's own is never run. Rows are compared by cosine, so a model that is made for
    another similarity is refused when its rows or their width are wanted, unless `spec` ends in
    `;similarity=cosine`; several vectors per item by MaxSim, and `;similarity=maxsim`.
    `source["similarity"]` records what it is made for.

    MissingError: the library or the model is not here and cannot be fetched. InvalidError: not a
    whole sentence-transformers model. ConfigError: one that needs its own code, or is an adapter.
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
        library = _version("sentence-transformers")
        place, self._similarity = read_spec(spec)
        self.name, self.max_length = name, max_length
        self._batch = {"text": BATCH, "image": batch_images or BATCH}
        self.folder, repo, revision = locate(place)
        # All files that may be read: which of them the library takes depends on its release.
        self._files = hash_folder(self.folder, ignore=FOREIGN)
        self._modules = read_modules(self.folder)
        self._gives_several = gives_several(self.folder)
        self.device = choose_device(device)
        self.dtype = whole_dtype(dtype, "sentence-transformers") or self._saved_dtype()
        self.fingerprint: Mapping[str, str] = {
            "maths": f"sentence_transformers-{MATHS}",
            "weights": content_hash(self.folder, self._files),
            "dtype": self.dtype,
            "device": self.device.partition(":")[0],
            "torch": torch.__version__,
            **rounding(self.device),
            "sentence-transformers": library,
            "transformers": _version("transformers"),
            "text.tokenizers": _version("tokenizers"),
            "text.max_length": str(max_length),
            "image.pillow": _version("pillow"),
            "image.torchvision": _torchvision(),
            **({LAYOUT: MULTI_VECTOR} if self._gives_several else {}),
        }
        self.source: dict[str, str | None] = {
            "folder": str(self.folder.resolve()),
            "repo": repo,
            "revision": revision,
            "similarity": read_similarity(self.folder),
        }

    def _saved_dtype(self) -> str:
        """On a GPU the half precision that the checkpoint is saved in, else float32."""
        config = read_config(self.folder / self._modules[0]["path"] / "config.json", dict)
        saved = config.get("dtype") or config.get("torch_dtype")
        return saved if self.device.startswith("cuda") and saved in HALF else "float32"

    @cached_property
    def dim(self) -> int:
        """The full width of the rows, as the configs tell it or else the loaded model.

        ConfigError for a model that is made for another similarity than the cosine.
        """
        self._check_similarity()
        return read_width(self.folder, self._modules) or self.model.get_embedding_dimension()

    @cached_property
    def model(self) -> Any:
        """The loaded SentenceTransformer, of full width, that cuts texts at the lower limit.

        The limits are `max_length` and the model's own. InvalidError for weights that are missing,
        and for files that are not those that were hashed.
        """
        try:
            model = load_whole(self.folder, device=self.device, dtype=getattr(torch, self.dtype))
        finally:  # of a file that was half written the library says less than this
            check_unchanged(self._files)
        if self._gives_several:
            cap_lengths(model, self.max_length)
        else:
            # A model may come cut to fewer values; here the sweep cuts, and stores full rows.
            model.truncate_dim = None
        limit = model.max_seq_length
        if limit is not None and math.isfinite(limit) and limit > self.max_length:
            model.max_seq_length = self.max_length
        return model

    @property
    def batches(self) -> dict[str, list[int]]:
        """The items of a pass, by kind; empty before the model is loaded."""
        if "model" not in vars(self):
            return {}
        return {f"{kind}s": [size] for kind, size in self._batch.items()}

    def truncated(self, side: Side) -> int:
        """How many texts are cut.

        MissingError for a model of several vectors, and where its first folder has no tokenizer
        that can be loaded.
        """
        if self._gives_several:
            raise MissingError("queries and documents of a multi-vector model have limits apart")
        return count_cut(self.folder, self._modules, side.items, side.role, self.max_length)

    def encode(self, side: Side) -> Float[np.ndarray, "n d"] | Vectors:
        """Full-width L2-normalised float32 rows in the order of the items.

        Of a multi-vector model the vectors of each item, as it gives them.

        A role picks the model's own prompt or route, as `encode_query` and `encode_document` do;
        without one its default prompt applies. ConfigError when the model has no tower for this
        kind or is made for another similarity, MissingError when memory does not suffice,
        InvalidError when its files were changed since they were hashed.
        """
        self._check_similarity()
        check_kind(self.model, self.name, side)
        rows = self._vectors(side) if self._gives_several else self._unit_rows(side)
        check_unchanged(self._files)
        return rows

    def _unit_rows(self, side: Side) -> Float[np.ndarray, "n d"]:
        encoders: dict[str | None, Callable[..., Tensor]] = {
            None: self.model.encode,
            "query": self.model.encode_query,
            "document": self.model.encode_document,
        }

        def rows_of(items: list[Any]) -> Float[Tensor, "n d"]:
            rows = encoders[side.role](
                items,
                batch_size=self._batch_of(side),
                convert_to_tensor=True,
                show_progress_bar=False,
            )
            return rows.float()

        passes = self._in_passes(rows_of, side)
        rows = torch.cat(passes) if passes else torch.zeros(0, self.dim)
        self._check_width(rows.shape[1])
        unit_rows: Float[np.ndarray, "n d"] = F.normalize(rows, dim=1).cpu().numpy()
        return unit_rows

    def _vectors(self, side: Side) -> Vectors:
        check_side(self.model, self.name, side)
        batch = self._batch_of(side)
        passes = self._in_passes(lambda items: vectors_of(self.model, items, side, batch), side)
        items = [vectors for part in passes for vectors in part]
        for vectors in items[:1]:
            self._check_width(vectors.shape[1])
        return Vectors.of(items, self.dim)

    def _in_passes(self, encode: Callable[[list[Any]], Encoded], side: Side) -> list[Encoded]:
        """What is made of each pass. MissingError when memory does not suffice."""
        try:
            return [encode(items) for items in self._passes(side)]
        except (MemoryError, torch.OutOfMemoryError) as error:
            size = self._batch_of(side)
            raise MissingError(
                f"{self.name}: out of memory on {self.device} in a pass of {size} {side.kind}s. "
                "Free memory, or choose another --device, --dtype, --max-length or --batch-images."
            ) from error

    def _check_width(self, width: int) -> None:
        # It was promised by the configs alone, before anything was loaded.
        if width != self.dim:
            raise InvalidError(
                f"{self.folder}: the rows have {width} values, its configs say {self.dim}. "
                f"{COPY_AGAIN}"
            )

    def _check_similarity(self) -> None:
        similarity = str(self.source["similarity"])
        usual = MAXSIM if self._gives_several else COSINE
        fits = similarity == MAXSIM if self._gives_several else is_cosine(similarity, self._modules)
        if self._similarity not in (None, usual):
            raise ConfigError(
                f"{self.name} cannot be compared by {self._similarity}: what it gives is compared "
                f"by {usual}. Leave ;similarity={self._similarity} out."
            )
        if self._similarity is None and not fits:
            raise ConfigError(
                f"{self.name} is made to be compared by {similarity}, and is compared by {usual} "
                f"here. To measure it by {usual}, write ;similarity={usual} behind its path."
            )

    def _batch_of(self, side: Side) -> int:
        """The items of a pass; what has an image is as large as one."""
        return self._batch["text" if side.kind == "text" else "image"]

    def _passes(self, side: Side) -> Iterator[list[Any]]:
        """Images in passes, so that few are decoded at a time; all texts in one.

        The library sorts the texts of a pass by length before it batches them.
        """
        if side.kind != "text":
            size = self._batch_of(side)
            for start in range(0, len(side), size):
                places = range(start, min(start + size, len(side)))
                yield [_in_rgb(side.items[place]) for place in places]
        elif len(side):
            # a model of several kinds would open a text that looks like the path of an image
            if set(self.model.modalities) == {"text"}:
                yield list(side.items)
            else:
                yield [{"text": text} for text in side.items]


def _in_rgb(item: Any) -> Any:
    """An image, or an item of a text and an image, with the image as RGB."""
    if isinstance(item, dict):
        # In the order of its keys, which is that in which a model reads the two.
        return {
            name: value.convert("RGB") if name == "image" else value for name, value in item.items()
        }
    return item.convert("RGB")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise MissingError(
            f"{package} is not installed; st: models need it. "
            "Run: pip install 'jina-clip-evals[rivals]'."
        ) from None


def _torchvision() -> str:
    """Its version where it is installed: transformers then resizes with it and not with Pillow."""
    return _version("torchvision") if importlib.util.find_spec("torchvision") else "none"
