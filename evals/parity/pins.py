"""Writes a small file of inputs and one model's rows for them, that any machine can be checked against.

It is one safetensors file of less than 1 MB: `text_rows` and `image_rows` (float32, or float16 where
that would be larger), `image_bytes` (PNG files one after the other) and `image_ends`; all else is
JSON in its metadata under `pins`: `about`, and a `sha256` over that and the tensors' bytes. The
inputs are made of the bundled Scenes: no data of anybody else is in it. pinned.py reads it.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from evals.data.scenes import LANGUAGES, load_scenes
from evals.embeddings.keys import canonical_json
from evals.files import write_atomically
from evals.parity.probe import Probe, Runner, parts_of
from evals.parity.shaped import shaped_sides
from evals.schema import ConfigError, ImageText, Side, Source

MOST_BYTES = 1_000_000
IMAGES = 12  # scenes, each with one caption in every language
# The tensors and what they may be kept in.
TENSORS: dict[str, tuple[str, ...]] = {
    "image_bytes": ("uint8",),
    "image_ends": ("int64",),
    "image_rows": ("float32", "float16"),
    "text_rows": ("float32", "float16"),
}
SCHEMA_VERSION: Literal[1] = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PinnedText(_Strict):
    """A text; `image` is the id of the one that it describes, None for one that is in no subset."""

    id: str
    text: str
    subset: str
    image: str | None


class About(_Strict):
    """What the file says beside its tensors. The images of a subset come before the others."""

    schema_version: Literal[1]
    made_by: str
    model: str
    role: Literal["query", "document"] | None
    settings: dict[str, str]
    fingerprint: dict[str, str]
    texts: list[PinnedText]
    images: list[str]
    images_of_subsets: int


def export_pins(path: Path, runner: Runner) -> str:
    """Embed the pinned inputs, write the file and return its sha256.

    ConfigError for rows so wide that the file would be too large.
    """
    probe = pinned_probe()
    texts: list[PinnedText] = []
    text_rows: list[np.ndarray] = []
    image_rows: list[np.ndarray] = []
    images: list[Any] = []
    image_ids: list[str] = []
    # Images that languages share are embedded once, and so stand once in the file.
    for part in parts_of(probe):
        rows = runner.rows(part.side)
        if part.side.kind == "image":
            image_ids += part.side.ids
            images += [part.side.items[place] for place in range(len(part.side))]
            image_rows.append(rows)
            continue
        text_rows.append(rows)
        texts += _texts_of(probe, part.subset, part.side)
    about = About(
        schema_version=SCHEMA_VERSION,
        made_by=f"jina-clip-evals {version('jina-clip-evals')}",
        model=runner.label,
        role=runner.role,
        settings=dict(runner.settings),
        fingerprint={name: str(value) for name, value in runner.encoder.fingerprint.items()},
        texts=texts,
        images=image_ids,
        images_of_subsets=IMAGES,
    )
    files = [_png(image) for image in images]
    tensors = {
        "image_bytes": np.frombuffer(b"".join(files), np.uint8),
        "image_ends": np.cumsum([len(file) for file in files]),
        "image_rows": np.concatenate(image_rows),
        "text_rows": np.concatenate(text_rows),
    }
    data = _serialised(about, tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def pinned_probe() -> Probe:
    """The inputs: some scenes with a caption in each language, and the shaped items."""
    subsets = load_scenes(Source(subsets=LANGUAGES, split="test"))
    parts: dict[str, Any] = {}
    for name, data in subsets.items():
        # 40 apart: neighbours are near twins of one family.
        chosen = [40 * place for place in range(IMAGES)]
        # The first caption of an image tells all that is in it.
        first = [int(np.flatnonzero(data.image_of_text == image)[0]) for image in chosen]
        parts[name] = ImageText(
            images=data.images.select(chosen),
            texts=data.texts.select(first),
            image_of_text=np.arange(IMAGES),
            origin=data.origin,
        )
    return Probe("the pinned inputs", "image_text", parts, shaped_sides())


def _texts_of(probe: Probe, subset: str, side: Side) -> list[PinnedText]:
    data: Any = probe.parts.get(subset)
    image_ids: Sequence[str | None] = [None] * len(side)
    if data is not None:
        image_ids = [data.images.ids[place] for place in data.image_of_text]
    return [
        PinnedText(id=side.ids[i], text=side.items[i], subset=subset, image=image_ids[i])
        for i in range(len(side))
    ]


def _png(image: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return data.getvalue()


def _serialised(about: About, tensors: dict[str, np.ndarray]) -> bytes:
    """The file's bytes, in float32 where they are few enough."""
    from safetensors.numpy import save

    for dtype in (np.float32, np.float16):
        for name in ("image_rows", "text_rows"):
            tensors[name] = tensors[name].astype(dtype)
        stated = about.model_dump()
        pins = {"about": stated, "sha256": digest_of(canonical_json(stated), tensors)}
        # One key: of several the library writes the order at random.
        data: bytes = save(tensors, {"pins": canonical_json(pins).decode()})
        if len(data) < MOST_BYTES:
            return data
    raise ConfigError(
        f"--export: the rows of {about.model} have {tensors['text_rows'].shape[1]:,} values, and "
        f"the file would have {len(data):,} bytes, more than {MOST_BYTES:,}."
    )


def digest_of(text: bytes, tensors: Mapping[str, np.ndarray]) -> str:
    """The sha256 over the JSON and the tensors, by which a file says that it is as it was written."""
    # Shapes and dtypes too: the same bytes in another shape are other rows.
    digest = hashlib.sha256(text)
    for name in TENSORS:
        array = tensors[name]
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
