"""What mteb hands over to be encoded, as sides: texts as they are, images undecoded where the data set has their bytes."""

import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from evals.data.images import Images, content_hash, decode
from evals.schema import ConfigError, InvalidError, Role, Side

ORIENTATION = 0x0112  # EXIF
# mteb's ISO 639-3 codes of macro-languages that FLORES-200, whose codes the encoders with a tokenizer a language know, narrows
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
    """The texts and the images of a data loader of mteb, one side each; InvalidError when it has neither, or other kinds too."""
    dataset = loader.dataset
    columns = set(getattr(dataset, "column_names", None) or ())
    if foreign := columns & {"audio", "video"}:
        raise InvalidError(
            f"the task needs {' and '.join(sorted(foreign))}; encoders here read texts and images."
        )
    if not columns:  # any other kind of data set: what it holds is what its batches hold
        return _from_batches(loader, role, language)
    sides = []
    if "text" in columns:
        sides.append(text_side(list(dataset["text"]), role=role, language=language))
    if "image" in columns:
        sides.append(_image_side(dataset, role))
    if not sides:
        raise InvalidError(f"no text and no image among the columns {', '.join(sorted(columns))}.")
    return sides


def text_side(texts: list[Any], *, role: Role | None, language: str | None) -> Side:
    """Texts under the hash of their UTF-8, so that every task and benchmark shares their rows."""
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidError(f"text {index} is {type(text).__name__}, not a string.")
    hashes = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
    return Side("text", texts, [str(index) for index in range(len(texts))], hashes, role, language)


def language_of(metadata: Any, hf_subset: str) -> str:
    """The FLORES-200 code of a subset, for encoders with a tokenizer a language; ConfigError when it mixes languages."""
    codes = metadata.hf_subsets_to_langscripts.get(hf_subset, [])
    if len(set(codes)) != 1:
        raise ConfigError(
            f"{hf_subset} holds {', '.join(codes) or 'no known language'}: an encoder with a tokenizer for each language "
            "needs to know which text is in which. Choose another model, or other subsets with --subsets."
        )
    code, _, script = codes[0].partition("-")
    return f"{FLORES.get(code, code)}_{script}"


def _image_side(dataset: Any, role: Role | None) -> Side:
    from datasets import Image  # type: ignore[import-untyped]

    if not isinstance(dataset.features["image"], Image):
        return _decoded([row["image"] for row in dataset], role)
    stored = dataset.select_columns(["image"]).cast_column("image", Image(decode=False))
    names = [f"image {index}" for index in range(len(stored))]
    items = _Upright(names, lambda index: _stored_bytes(stored[index]["image"]))
    hashes = [_hash(items.read(index)) for index in range(len(names))]
    return Side("image", items, [str(index) for index in range(len(names))], hashes, role)


class _Upright(Images):
    """Images turned as their EXIF orientation says: `datasets` gives them to mteb's models so."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return super().__getitem__(index)
        data = self.read(index)
        image = decode(data, self.names[index])
        if not _turned(data):
            return image
        from PIL import ImageOps

        return ImageOps.exif_transpose(image)


def _hash(data: bytes) -> str:
    """The hash of the file, as in our own benchmarks; a turned image is another item there, where it is read as it lies."""
    return content_hash(b"upright:" + data) if _turned(data) else content_hash(data)


def _turned(data: bytes) -> bool:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(data)) as image:
            return bool(image.getexif().get(ORIENTATION, 1) != 1)
    except UnidentifiedImageError:  # decode() will tell what is wrong, with the image's name
        return False


def _stored_bytes(cell: dict[str, Any] | None) -> bytes:
    if cell is None:
        raise InvalidError("an image is missing (null) in the data set.")
    return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()


def _decoded(images: Sequence[Any], role: Role | None) -> Side:
    """Images that are decoded already: their hash is that of their pixels, mode and size."""
    for index, image in enumerate(images):
        if not hasattr(image, "tobytes") or not hasattr(image, "mode"):
            raise InvalidError(f"image {index} is {type(image).__name__}, not a Pillow image.")
    hashes = [
        content_hash(f"{image.mode} {image.size} ".encode() + image.tobytes()) for image in images
    ]
    return Side("image", images, [str(index) for index in range(len(images))], hashes, role)


def _from_batches(loader: Any, role: Role | None, language: str | None) -> list[Side]:
    columns: dict[str, list[Any]] = {}
    for batch in loader:
        for name, values in batch.items():
            columns.setdefault(name, []).extend(values)
    sides = [text_side(columns["text"], role=role, language=language)] if "text" in columns else []
    sides += [_decoded(columns["image"], role)] if "image" in columns else []
    if not sides:
        raise InvalidError(
            f"no text and no image in the batches, which hold {', '.join(sorted(columns)) or 'nothing'}."
        )
    return sides
