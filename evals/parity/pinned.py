"""Reads a file of pins (pins.py): every part is checked, and the rows become a model that looks them up."""

import hashlib
import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from evals.data.sides import text_side
from evals.embeddings.keys import canonical_json
from evals.encoders.objects import ArrayEncoder
from evals.parity.pins import MOST_BYTES, SCHEMA_VERSION, TENSORS, About, PinnedText, digest_of
from evals.parity.probe import Probe, Runner
from evals.reading import parse_json, read_bytes
from evals.schema import ImageText, InvalidError, Role, Side

MOST_PIXELS = 1_000_000  # of an image in the file: ours have a third of it
COPY_AGAIN = "Copy it again, or have it exported again."


class Pins(NamedTuple):
    """A file's inputs, its rows as a model that looks them up, and its sha256."""

    probe: Probe
    runner: Runner
    sha256: str


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
    widths = {kind: array.shape[-1] for kind, array in rows.items()}
    if not all(widths.values()) or len(set(widths.values())) > 1:
        raise InvalidError(
            f"{path}: its texts have {widths['text']} values, its images {widths['image']}. A model "
            f"gives both the same number, 1 or more. {COPY_AGAIN}"
        )
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


def _parsed(data: bytes, where: str) -> tuple[About, dict[str, np.ndarray]]:
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
    if pins["sha256"] != digest_of(canonical_json(pins["about"]), tensors):
        raise InvalidError(
            f"{where}: is not as it was written: its sha256 is another. {COPY_AGAIN}"
        )
    _check_form(pins["about"], tensors, where)
    try:
        about = About.model_validate(pins["about"])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidError(f"{where}, metadata: {place}: {first['msg']}. {COPY_AGAIN}") from None
    return about, tensors


def _check_form(about: Any, tensors: Mapping[str, np.ndarray], where: str) -> None:
    """Refuse a newer form, and tensors kept in what this form does not have. InvalidError."""
    version = about.get("schema_version") if isinstance(about, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InvalidError(
            f"{where}: written by a newer version: schema version {version}, this is "
            f"{SCHEMA_VERSION}. Upgrade jina-clip-evals to read it."
        )
    for name, dtypes in TENSORS.items():
        if str(tensors[name].dtype) not in dtypes:
            raise InvalidError(
                f"{where}: {name} is {tensors[name].dtype}, and {' or '.join(dtypes)} is expected. "
                f"{COPY_AGAIN}"
            )


def _images(path: Path, about: About, tensors: Mapping[str, np.ndarray]) -> list[Any]:
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


def _probe(path: Path, about: About, images: Sequence[Any]) -> Probe:
    """The inputs as they were embedded."""
    from evals.data.scene_drawing import image_hash

    for kind, ids in (("text", [text.id for text in about.texts]), ("image", about.images)):
        if not ids:
            raise InvalidError(f"{path}: holds no {kind}. {COPY_AGAIN}")
        if len(set(ids)) < len(ids):
            raise InvalidError(f"{path}: a {kind} is there twice. {COPY_AGAIN}")
    # Of the pixels: the bytes of a PNG depend on the zlib that wrote it.
    hashes = [image_hash(image) for image in images]
    everything = Side("image", images, about.images, hashes)
    count = about.images_of_subsets
    if not 0 <= count <= len(images):
        raise InvalidError(f"{path}: {count} of {len(images)} images are of subsets. {COPY_AGAIN}")
    shared = everything.select(range(count))
    by_subset: dict[str, list[PinnedText]] = {}
    loose: list[PinnedText] = []
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
