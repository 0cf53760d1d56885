"""Makes sides of what mteb hands over for encoding.

Texts are taken as they are. Images stay undecoded where the data set has their bytes, so that they
are found in the store by the hash of their file, as those of our own benchmarks are.
"""

import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from evals.data.images import Images, check_picture, content_hash, decode
from evals.data.sides import pixel_hash
from evals.schema import ConfigError, InvalidError, Role, Side

ORIENTATION = 0x0112  # a tag of EXIF
UPRIGHT = 1  # its value for an image that lies as it is seen
# mteb's ISO 639-3 codes of macro-languages, and what FLORES-200 has in their place: the encoders
# with a tokenizer per language know its codes.
FLORES = {
    "cmn": "zho",
    "ara": "arb",
    "swa": "swh",
    "est": "ekk",
    "lav": "lvs",
    "fas": "pes",
    "nor": "nob",
}


def sides_of(loader: Any, *, role: Role | None, language: str | None) -> list[Side]:
    """The texts and the images of a data loader of mteb, one side each.

    Raises InvalidError when it has neither, or sound or film.
    """
    dataset = loader.dataset
    columns = set(getattr(dataset, "column_names", None) or ())
    foreign = columns & {"audio", "video"}
    if foreign:
        raise InvalidError(
            f"the task needs {' and '.join(sorted(foreign))}; encoders here read texts and images."
        )
    if not columns:  # some other kind of data set, which holds what its batches hold
        return _sides_of_batches(loader, role, language)
    sides = []
    if "text" in columns:
        sides.append(text_side(list(dataset["text"]), role=role, language=language))
    if "image" in columns:
        sides.append(_image_side(dataset, role))
    if not sides:
        raise InvalidError(f"no text and no image among the columns {', '.join(sorted(columns))}.")
    return sides


def text_side(texts: list[Any], *, role: Role | None, language: str | None) -> Side:
    """Texts under the hash of their UTF-8, so that all tasks and benchmarks share their rows.

    Raises InvalidError for what is no string.
    """
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidError(f"text {index} is {type(text).__name__}, not a string.")
    # Data sets hold lone surrogates; mteb's models are given them.
    hashes = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
    return Side("text", texts, _numbers(texts), hashes, role, language)


def language_of(metadata: Any, hf_subset: str) -> str:
    """The FLORES-200 code of a subset, for encoders with a tokenizer per language.

    Raises ConfigError when the subset mixes languages.
    """
    codes = metadata.hf_subsets_to_langscripts.get(hf_subset, [])
    if len(set(codes)) != 1:
        raise ConfigError(
            f"{hf_subset} holds {', '.join(codes) or 'no known language'}: an encoder with a "
            "tokenizer for each language needs to know which text is in which. Choose another "
            "model, or other subsets with --subsets."
        )
    code, _, script = codes[0].partition("-")
    return f"{FLORES.get(code, code)}_{script}"


def _image_side(dataset: Any, role: Role | None) -> Side:
    from datasets import Image  # type: ignore[import-untyped]

    if not isinstance(dataset.features["image"], Image):
        return _decoded_side([row["image"] for row in dataset], role)
    # Undecoded: the hash of the file is enough to find its row, and most images are stored already.
    stored = dataset.select_columns(["image"]).cast_column("image", Image(decode=False))
    names = [f"image {index}" for index in range(len(stored))]
    # A function of the place rather than a list of bytes: images are read when they are decoded.
    items = _Upright(names, lambda index: _stored_bytes(stored[index]["image"]))
    hashes = [_file_hash(items.read(index)) for index in range(len(names))]
    return Side("image", items, _numbers(names), hashes, role)


class _Upright(Images):
    """Images turned as their EXIF orientation says: so `datasets` gives them to mteb's models."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return super().__getitem__(index)
        data = self.read(index)
        image = decode(data, self.names[index])
        if not _is_turned(data):
            return image
        from PIL import ImageOps

        return ImageOps.exif_transpose(image)


def _file_hash(data: bytes) -> str:
    """The hash of the file, as in our own benchmarks.

    An image that is turned here is another item there, where it is read as it lies.
    """
    return content_hash(b"upright:" + data) if _is_turned(data) else content_hash(data)


def _is_turned(data: bytes) -> bool:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(data)) as image:
            return bool(image.getexif().get(ORIENTATION, UPRIGHT) != UPRIGHT)
    except UnidentifiedImageError:  # decode() will say what is wrong, with the image's name
        return False


def _stored_bytes(cell: dict[str, Any] | None) -> bytes:
    if cell is None:
        raise InvalidError("an image is missing (null) in the data set.")
    if cell["bytes"] is None:
        return Path(cell["path"]).read_bytes()
    return bytes(cell["bytes"])


def _decoded_side(images: Sequence[Any], role: Role | None) -> Side:
    """Images that are decoded already: their hash is that of their pixels, mode and size."""
    hashes = []
    for index, image in enumerate(images):
        if not hasattr(image, "tobytes") or not hasattr(image, "mode"):
            raise InvalidError(f"image {index} is {type(image).__name__}, not a Pillow image.")
        check_picture(image, f"image {index}")
        hashes.append(pixel_hash(image))
    return Side("image", images, _numbers(images), hashes, role)


def _sides_of_batches(loader: Any, role: Role | None, language: str | None) -> list[Side]:
    columns: dict[str, list[Any]] = {}
    for batch in loader:
        for name, values in batch.items():
            columns.setdefault(name, []).extend(values)
    sides = []
    if "text" in columns:
        sides.append(text_side(columns["text"], role=role, language=language))
    if "image" in columns:
        sides.append(_decoded_side(columns["image"], role))
    if not sides:
        held = ", ".join(sorted(columns)) or "nothing"
        raise InvalidError(f"no text and no image in the batches, which hold {held}.")
    return sides


def _numbers(items: Sequence[Any]) -> list[str]:
    """Ids of items that have none in mteb's loaders."""
    return [str(index) for index in range(len(items))]
