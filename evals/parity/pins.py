"""A small file of inputs and one model's rows for them, that any machine can be checked against.

It is one safetensors file of less than 1 MB: `text_rows` and `image_rows` (float32, or float16 where
that would be larger), `image_bytes` (PNG files one after the other) and `image_ends`; all else is
JSON in its metadata under `pins`: `about`, and a `sha256` over that and the tensors' bytes. The
inputs are made of the bundled Scenes: no data of anybody else is in it.
"""

import hashlib
import io
import itertools
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from evals.data.scenes import LANGUAGES, load_scenes
from evals.data.sides import text_side
from evals.embeddings.keys import canonical_json
from evals.encoders.objects import ArrayEncoder
from evals.files import write_atomically
from evals.parity.probe import Probe, Runner, parts_of
from evals.parity.shaped import shaped_sides
from evals.reading import parse_json, read_bytes
from evals.schema import ConfigError, ImageText, InvalidError, Role, Side, Source

MOST_BYTES = 1_000_000
IMAGES = 12  # scenes, each with one caption in every language
MOST_PIXELS = 1_000_000  # of an image in the file: ours have a third of it
TENSORS = ("image_bytes", "image_ends", "image_rows", "text_rows")
COPY_AGAIN = "Copy it again, or have it exported again."


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Text(_Strict):
    """A text; `image` is the id of the one that it describes, None for one that is in no subset."""

    id: str
    text: str
    subset: str
    image: str | None


class _About(_Strict):
    """What the file says beside its tensors. The images of a subset come before the others."""

    schema_version: Literal[1]
    made_by: str
    model: str
    role: Literal["query", "document"] | None
    settings: dict[str, str]
    fingerprint: dict[str, str]
    texts: list[_Text]
    images: list[str]
    images_of_subsets: int


class Pins(NamedTuple):
    """A file's inputs, its rows as a model that looks them up, and its sha256."""

    probe: Probe
    runner: Runner
    sha256: str


def export_pins(path: Path, runner: Runner) -> str:
    """Embed the pinned inputs, write the file and return its sha256.

    ConfigError for rows so wide that the file would be too large.
    """
    probe = pinned_probe()
    texts: list[_Text] = []
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
    about = _About(
        schema_version=1,
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


def read_pins(path: Path) -> Pins:
    """The file, every part of it checked.

    MissingError when it cannot be read; InvalidError for one that is larger, damaged, changed, or
    not of this form.
    """
    data = read_bytes(path, most_bytes=MOST_BYTES)
    about, tensors = _parsed(data, str(path))
    images = _images(path, about, tensors)
    probe = _probe(path, about, images)
    rows = {"text": tensors["text_rows"], "image": tensors["image_rows"]}
    ids = {"text": [text.id for text in about.texts], "image": about.images}
    for kind, array in rows.items():
        if array.ndim != 2 or len(array) != len(ids[kind]) or not np.isfinite(array).all():
            raise InvalidError(
                f"{path}: {kind}_rows of shape {array.shape} are no {len(ids[kind])} finite rows. "
                f"{COPY_AGAIN}"
            )
    # Whatever the file keeps them in, rows are float32 to everyone who compares them.
    wide = {kind: array.astype(np.float32) for kind, array in rows.items()}
    encoder = ArrayEncoder(wide, ids, name=about.model, source={"spec": str(path)})
    encoder.fingerprint = about.fingerprint
    runner = Runner(f"{about.model} (pinned)", encoder, settings=about.settings)
    return Pins(probe, runner, hashlib.sha256(data).hexdigest())


def role_of(path: Path) -> Role | None:
    """The role that texts had when the file was made."""
    return _parsed(read_bytes(path, most_bytes=MOST_BYTES), str(path))[0].role


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


def _texts_of(probe: Probe, subset: str, side: Side) -> list[_Text]:
    data: Any = probe.parts.get(subset)
    image_ids: Sequence[str | None] = [None] * len(side)
    if data is not None:
        image_ids = [data.images.ids[place] for place in data.image_of_text]
    return [
        _Text(id=side.ids[i], text=side.items[i], subset=subset, image=image_ids[i])
        for i in range(len(side))
    ]


def _png(image: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return data.getvalue()


def _serialised(about: _About, tensors: dict[str, np.ndarray]) -> bytes:
    """The file's bytes, in float32 where they are few enough."""
    from safetensors.numpy import save

    for dtype in (np.float32, np.float16):
        for name in ("image_rows", "text_rows"):
            tensors[name] = tensors[name].astype(dtype)
        stated = about.model_dump()
        pins = {"about": stated, "sha256": _digest(canonical_json(stated), tensors)}
        # One key: of several the library writes the order at random.
        data: bytes = save(tensors, {"pins": canonical_json(pins).decode()})
        if len(data) < MOST_BYTES:
            return data
    raise ConfigError(
        f"--export: the rows of {about.model} have {tensors['text_rows'].shape[1]:,} values, and "
        f"the file would have {len(data):,} bytes, more than {MOST_BYTES:,}."
    )


def _digest(text: bytes, tensors: Mapping[str, np.ndarray]) -> str:
    # Shapes and dtypes too: the same bytes in another shape are other rows.
    digest = hashlib.sha256(text)
    for name in TENSORS:
        array = tensors[name]
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _parsed(data: bytes, where: str) -> tuple[_About, dict[str, np.ndarray]]:
    """What a file holds, once its hash is right."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
        # The header is JSON behind its length, 8 bytes little endian (safetensors' format).
        length = int.from_bytes(data[:8], "little")
        header = parse_json(data[8 : 8 + length].decode(), f"{where}, header", error=InvalidError)
    except (SafetensorError, UnicodeDecodeError, KeyError, ValueError, TypeError) as error:
        raise InvalidError(f"{where}: no file of pins: {error}. {COPY_AGAIN}") from error
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if set(tensors) != set(TENSORS) or set(metadata) != {"pins"}:
        raise InvalidError(f"{where}: not a file that `evals.parity --export` wrote.")
    # Strict JSON: a key that comes twice, NaN and deep nesting are refused.
    pins = parse_json(metadata["pins"], f"{where}, metadata", error=InvalidError)
    if not isinstance(pins, dict) or set(pins) != {"about", "sha256"}:
        raise InvalidError(f"{where}: not a file that `evals.parity --export` wrote.")
    if pins["sha256"] != _digest(canonical_json(pins["about"]), tensors):
        raise InvalidError(
            f"{where}: is not as it was written: its sha256 is another. {COPY_AGAIN}"
        )
    try:
        about = _About.model_validate(pins["about"])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidError(f"{where}, metadata: {place}: {first['msg']}.") from None
    return about, tensors


def _images(path: Path, about: _About, tensors: Mapping[str, np.ndarray]) -> list[Any]:
    from PIL import Image, UnidentifiedImageError

    ends = [0, *tensors["image_ends"].tolist()]
    data = tensors["image_bytes"].tobytes()
    if len(ends) != len(about.images) + 1 or ends != sorted(ends) or ends[-1] != len(data):
        raise InvalidError(f"{path}: image_ends do not fit the images. {COPY_AGAIN}")
    images = []
    for name, (start, end) in zip(about.images, itertools.pairwise(ends), strict=True):
        try:
            # PNG alone: Pillow would try every format that it knows on a stranger's bytes.
            image = Image.open(io.BytesIO(data[start:end]), formats=["PNG"])
            # Before it is decoded: a few bytes can stand for gigabytes of pixels.
            if image.width * image.height > MOST_PIXELS:
                raise InvalidError(f"{path}: image {name!r} is larger than any of ours.")
            image.load()
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise InvalidError(f"{path}: image {name!r}: {error}. {COPY_AGAIN}") from error
        images.append(image)
    return images


def _probe(path: Path, about: _About, images: Sequence[Any]) -> Probe:
    """The inputs as they were embedded."""
    from evals.data.scenes import image_hash

    for kind, ids in (("text", [text.id for text in about.texts]), ("image", about.images)):
        if len(set(ids)) < len(ids):
            raise InvalidError(f"{path}: a {kind} is there twice. {COPY_AGAIN}")
    # Of the pixels: the bytes of a PNG depend on the zlib that wrote it.
    hashes = [image_hash(image) for image in images]
    everything = Side("image", images, about.images, hashes)
    count = about.images_of_subsets
    if not 0 <= count <= len(images):
        raise InvalidError(f"{path}: {count} of {len(images)} images are of subsets. {COPY_AGAIN}")
    shared = everything.select(range(count))
    by_subset: dict[str, list[_Text]] = {}
    loose: list[_Text] = []
    for text in about.texts:
        if text.image is None:
            loose.append(text)
        elif text.image in shared.ids:
            by_subset.setdefault(text.subset, []).append(text)
        else:
            raise InvalidError(f"{path}: text {text.id!r} is of no image here. {COPY_AGAIN}")
    parts = {}
    for subset, texts in by_subset.items():
        side = text_side([text.text for text in texts], [text.id for text in texts], subset)
        places = np.array([shared.ids.index(str(text.image)) for text in texts])
        parts[subset] = ImageText(shared, side, places, {"layout": "pins"})
    shaped: dict[Any, Side] = {
        "text": text_side([text.text for text in loose], [text.id for text in loose]),
        "image": everything.select(range(count, len(images))),
    }
    return Probe("the pinned inputs", "image_text", parts, shaped)
