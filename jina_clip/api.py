"""JinaCLIP: both towers behind the official API, from the official files alone.

model = JinaCLIP.from_pretrained("jinaai/jina-clip-v2")
model.encode_text("a cat on a sofa", task="retrieval.query") @ model.encode_image("cat.jpg")
"""

from pathlib import Path
from typing import SupportsIndex

import torch

from jina_clip.arguments import (
    Rows,
    at_position,
    chosen_batch,
    chosen_dim,
    chosen_form,
    finished,
    image_items,
    progress,
    text_items,
    whole,
)
from jina_clip.attention_backends import resolve_attention
from jina_clip.budget import counted_from
from jina_clip.checkpoint import WEIGHTS, Checkpoint, check_fit, write_settings
from jina_clip.config import ClipConfig
from jina_clip.embedder import Embedder
from jina_clip.float8 import float8_fault
from jina_clip.hub import fetch
from jina_clip.images import read_image
from jina_clip.model import official_shapes
from jina_clip.prefetch import WORKERS, prefetch
from jina_clip.shapes import Bytes
from jina_clip.weights import read_weights, write_weights

# Values: what tensor cores like the widths of matrices to be multiples of.
ALIGN = 64
# Texts that are tokenized and sorted at once: enough that neighbours by length are equally long.
TEXTS_AHEAD = 4_096
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FLOAT8 = "float8"  # products of 8 bits, in a model that is bfloat16 otherwise


class JinaCLIP(Embedder):
    """A jina-clip model that loads, embeds and saves. `JinaCLIP(config)` has random weights."""

    @classmethod
    def from_pretrained(
        cls,
        path_or_hub_id: str | Path,
        *,
        revision: str | None = None,
        adapter: str | Path | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        attention: str = "auto",
        compile: bool = False,
        cuda_graphs: bool = False,
    ) -> "JinaCLIP":
        """Read an official checkpoint from a local folder or the Hub, ready for inference.

        `adapter`: the folder of a PEFT adapter, a plain LoRA, that is merged into the weights.
        `device`: CUDA when there is one, else CPU. `dtype`: that of config.json (v1 float32, v2
        bfloat16) on CUDA, float32 on CPU; "float8" rounds weights and activations of the blocks to 8
        bits (float8.py), and all else to bfloat16. `attention`: "auto", or a kernel of
        attention_backends.py; ValueError with the reason when it, or float8, cannot run here.
        `compile` compiles the image tower, which pays for thousands of images; `cuda_graphs`
        replays its passes on a card (graphs.py). FileNotFoundError when a file is missing,
        CheckpointError when the files do not fit each other or change while they are read.
        """
        lora = None if adapter is None else Path(adapter)
        checkpoint = Checkpoint.in_folder(fetch(path_or_hub_id, revision), lora)
        model = cls.from_checkpoint(checkpoint, device=device, dtype=dtype, attention=attention)
        if compile:
            model.compile_images()
        if cuda_graphs:
            model.graph_images()
        return model

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        attention: str = "auto",
    ) -> "JinaCLIP":
        """`from_pretrained` of files at hand; bound ones must hold the bytes that were hashed."""
        config, tokenizer = checkpoint.config(), checkpoint.tokenizer()
        preprocess = checkpoint.preprocess()
        # The small files first: a mixed folder is refused before gigabytes of weights are read.
        check_fit(checkpoint.folder, config, tokenizer, preprocess)
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        kind = _dtype_on(place, dtype, config)
        if dtype == FLOAT8 and (fault := float8_fault(place)) is not None:
            raise ValueError(f"dtype {FLOAT8} cannot be computed on {place}: {fault}")
        backend = resolve_attention(attention, config.text, place, kind)
        align = ALIGN if place.type == "cuda" else 1
        with torch.device("meta"):  # no memory, no random numbers: every tensor is replaced below
            model = cls(
                config, tokenizer=tokenizer, preprocess=preprocess, attention=backend, align=align
            )
        shapes = official_shapes(model)
        lora = checkpoint.lora()
        with checkpoint.weight_files() as files:
            state = read_weights(
                files, config, shapes, device=place, dtype=kind, align=align, adapter=lora
            )
        # assign, since parameters on the meta device have no memory to copy into.
        model.load_state_dict(state, strict=True, assign=True)
        if dtype == FLOAT8:
            model.round_to_float8()
        return model.eval()

    def save_pretrained(
        self, folder: str | Path, *, dtype: torch.dtype | str | None = None
    ) -> Path:
        """Write the four official files.

        `dtype` is the one of the weights, and is written into config.json; unless named, it is that
        of the config.
        """
        if self.tokenizer is None:
            raise ValueError("the model has no tokenizer to save: pass tokenizer=... to JinaCLIP")
        if self.in_float8:
            raise ValueError(
                f"the weights are rounded to 8 bits: load the checkpoint without dtype={FLOAT8!r} "
                "to save it"
            )
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        kind = _torch_dtype(dtype or self.config.torch_dtype)
        write_weights(folder / WEIGHTS, self.state_dict(), self.config, dtype=kind)
        config = self.config.to_dict() | {"torch_dtype": str(kind).removeprefix("torch.")}
        write_settings(folder, config, self.tokenizer, self.preprocess)
        return folder

    # The parameters of both methods stand in the order of the official ones, so that calls by
    # position mean the same. Source: modeling_clip.py of jinaai/jina-clip-implementation at
    # 51f02de.
    def encode_text(
        self,
        sentences: object,
        task: str | None = None,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | torch.device | None = None,
        normalize_embeddings: bool = True,
        truncate_dim: SupportsIndex | None = None,
        *,
        max_length: SupportsIndex = 512,
        truncation: bool = True,
        padding: bool | str = True,
    ) -> Rows:
        """Embed texts: one float32 row each, in their order, on the host.

        `sentences` is a list, or anything with a length that gives texts in order (a tuple, array,
        pandas Series). `task="retrieval.query"` (v2) puts the query instruction before every text;
        v1 has no instructions and only warns. Texts are cut to `max_length` tokens, special ones
        included, unless `truncation` is False; the models take up to 8192. `truncate_dim` keeps the
        first values, before the normalisation. `convert_to_tensor` wins over `convert_to_numpy`;
        with neither the rows are a list of tensors. `device` moves the model, and it stays there.
        The bar is shown when the log is at INFO, unless `show_progress_bar` says otherwise.

        A pass takes as many texts as `budgets["tokens"]` allows, and no more than `batch_size`: the
        official 32 only bounds memory, and no row depends on it. Nor on `padding`: there is none.
        ValueError for what is no text (by its position), an empty one, and an unknown task or
        dimension.
        """
        items, dim = text_items(sentences), chosen_dim(self.config, truncate_dim)
        form = chosen_form(to_numpy=convert_to_numpy, to_tensor=convert_to_tensor)
        size = chosen_batch(batch_size)
        self.move(device)
        texts, prefix = items.values, self.instruction(task)
        parts = [list(texts[i : i + TEXTS_AHEAD]) for i in range(0, len(texts), TEXTS_AHEAD)]
        longest = whole(max_length, "max_length") if truncation else None
        tokenized = prefetch(
            lambda part: self.tokenize(part, prefix=prefix, max_length=longest),
            parts,
            workers=1 if len(parts) > 1 else 0,
            # One part is tokenized while the tower takes another; the tokenizer itself uses all
            # cores.
            ahead=2,
        )
        # No texts give no rows, but torch.cat refuses an empty list.
        rows = [torch.empty(0, self.config.dim, device=self.device)]
        with progress(len(texts), show_progress_bar) as done:
            for start, ids in zip(range(0, len(texts), TEXTS_AHEAD), tokenized, strict=True):
                with counted_from(start):
                    rows.append(self.text_rows(ids, batch_size=size, done=done))
        kept_values = torch.cat(rows)[:, :dim]
        return finished(kept_values, items, normalize=normalize_embeddings, form=form)

    def encode_image(
        self,
        images: object,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | torch.device | None = None,
        normalize_embeddings: bool = True,
        truncate_dim: SupportsIndex | None = None,
        *,
        preprocess: str = "exact",
        workers: int = WORKERS,
    ) -> Rows:
        """Embed images: one float32 row each, in their order, on the host.

        An image is a path, a PIL image, an http(s) URL or a data URI.

        A single image gives one vector. A sequence is indexed in `workers` threads ahead of the
        tower, so it may decode when indexed. Images become RGB before they are resized, by Pillow
        (`preprocess="exact"`) or by torch ("fast": see Preprocess.pixels). A pass takes
        `batch_size` images, else `budgets["images"]`. The other parameters are those of
        encode_text. ValueError for what is no image, or not one of 8 bits a channel; OSError for
        what cannot be read; both with its position.
        """
        items, dim = image_items(images), chosen_dim(self.config, truncate_dim)
        form = chosen_form(to_numpy=convert_to_numpy, to_tensor=convert_to_tensor)
        size = chosen_batch(batch_size)
        self.move(device)

        def pixels_of(index: int) -> Bytes:
            image = items.values[index]
            with at_position(index):
                return self.preprocess.pixels(read_image(image), preprocess)

        count = len(items.values)
        pixels = prefetch(
            pixels_of,
            range(count),
            workers=workers if count > 1 else 0,
            # Two batches: one in the tower, one being decoded.
            ahead=2 * (size or self.budgets["images"].size),
        )
        with progress(count, show_progress_bar) as done:
            rows = self.image_rows(pixels, batch_size=size, done=done)
        return finished(rows[:, :dim], items, normalize=normalize_embeddings, form=form)


def _dtype_on(
    device: torch.device, dtype: torch.dtype | str | None, config: ClipConfig
) -> torch.dtype:
    if dtype in (None, "auto"):
        return DTYPES[config.torch_dtype] if device.type == "cuda" else torch.float32
    return computed_in(dtype or "float32")


def computed_in(dtype: torch.dtype | str) -> torch.dtype:
    """The dtype of activations: bfloat16 of "float8"; ValueError for a name that is none."""
    return torch.bfloat16 if dtype == FLOAT8 else _torch_dtype(dtype)


def _torch_dtype(name: torch.dtype | str) -> torch.dtype:
    if isinstance(name, torch.dtype):
        return name
    if name not in DTYPES:
        raise ValueError(f"dtype {name!r} is not one of {', '.join((*DTYPES, FLOAT8))}")
    return DTYPES[name]
