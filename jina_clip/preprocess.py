"""What happens before the towers: images to pixels with Pillow, texts to token ids with the checkpoint's tokenizer.json."""

import base64
import json
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from jina_clip.config import CheckpointError
from jina_clip.shapes import TokenIds

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_TRUNCATING = threading.Lock()
MAX_DOWNLOAD = 64 << 20  # bytes of an image behind a URL
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR, "random": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocess:
    """The image pipeline of preprocessor_config.json: RGB, resize, centre crop, scale to [0, 1], normalise.

    `resize_mode` is "shortest" (both releases), "longest" or "squash". `other` keeps keys without effect, for saving.
    """

    size: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resize_mode: str = "shortest"
    interpolation: str = "bicubic"
    fill_color: int = 0
    other: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.resize_mode not in ("shortest", "longest", "squash"):
            raise CheckpointError(f"preprocessor_config.json: resize_mode {self.resize_mode!r} is not known")
        if self.interpolation not in _FILTERS:
            raise CheckpointError(f"preprocessor_config.json: interpolation {self.interpolation!r} is not known")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise CheckpointError(f"preprocessor_config.json: mean {self.mean} and std {self.std} must be three numbers each")

    @classmethod
    def from_file(cls, path: Path) -> "Preprocess":
        """Read preprocessor_config.json. CheckpointError names what it does not describe."""
        given = read_json(path)
        size = given.pop("size", None)
        if isinstance(size, (list, tuple)):  # upstream stores an int or a square
            size = size[0] if len(set(size)) == 1 else None
        if not isinstance(size, int):
            raise CheckpointError(f"{path}: size must be one integer")
        known: dict[str, Any] = {name: tuple(given.pop(name) or ()) for name in ("mean", "std") if name in given}
        known |= {name: given.pop(name) for name in ("resize_mode", "interpolation", "fill_color") if name in given}
        return cls(size=size, **known, other=given)

    def to_dict(self) -> dict[str, Any]:
        """What preprocessor_config.json holds."""
        values = asdict(self)
        other = values.pop("other")
        return {**other, **values, "mean": list(self.mean), "std": list(self.std)}

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 size size"]:
        """Normalised float32 pixels, channels first.

        The conversion to RGB comes first, as in the official `encode_image`; the official processor alone converts after the
        resize, which gives other pixels for palette and transparent images.
        """
        image = _centre(_resize(image.convert("RGB"), self), self.size, self.fill_color)
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(self.size, self.size, 3)
        scaled = pixels.permute(2, 0, 1).to(torch.float32) / 255
        mean, std = (torch.tensor(v, dtype=torch.float32, device="cpu")[:, None, None] for v in (self.mean, self.std))
        return (scaled - mean) / std


def _resize(image: Image.Image, how: Preprocess) -> Image.Image:
    width, height = image.size
    if how.resize_mode == "squash":
        size = (how.size, how.size)
    elif how.resize_mode == "longest":
        ratio = max(width, height) / how.size
        size = (max(1, round(width / ratio)), max(1, round(height / ratio)))
    elif width <= height:
        size = (how.size, int(how.size * height / width))
    else:
        size = (int(how.size * width / height), how.size)
    return image if size == image.size else image.resize(size, _FILTERS[how.interpolation])


def _centre(image: Image.Image, size: int, fill: int) -> Image.Image:
    """The middle size x size pixels; a shorter side is first padded, the odd pixel right and below."""
    width, height = image.size
    if width < size or height < size:
        canvas = Image.new("RGB", (max(width, size), max(height, size)), (fill,) * 3)
        canvas.paste(image, (max(0, size - width) // 2, max(0, size - height) // 2))
        image, (width, height) = canvas, canvas.size
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def read_image(source: object) -> Image.Image:
    """An RGB image from a path, an http(s) URL, a data URI or a PIL image.

    ValueError for any other type; OSError (FileNotFoundError, PIL.UnidentifiedImageError, URLError) for what cannot be read.
    """
    if isinstance(source, Image.Image):
        return source.convert("RGB")
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        with urllib.request.urlopen(source, timeout=30) as response:  # noqa: S310 - the scheme is checked above
            data = response.read(MAX_DOWNLOAD + 1)
        if len(data) > MAX_DOWNLOAD:
            raise ValueError(f"{source}: more than {MAX_DOWNLOAD} bytes")
        return Image.open(BytesIO(data)).convert("RGB")
    if isinstance(source, str) and source.startswith("data:image/"):
        return Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB")
    if isinstance(source, (str, Path)):
        with Image.open(source) as image:
            return image.convert("RGB")
    raise ValueError(f"an image is a path, a URL, a data URI or a PIL image, not {type(source).__name__}")


def read_tokenizer(path: Path) -> Tokenizer:
    """The fast tokenizer of a checkpoint, without padding or truncation of its own."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises bare Exception
        raise CheckpointError(f"{path}: not a tokenizer.json: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def tokenize(tokenizer: Tokenizer, texts: list[str], max_length: int) -> list[list[int]]:
    """Token ids of each text with its special tokens, cut to max_length of them in all.

    The tokenizer is left without truncation, as it was. ValueError when max_length leaves no room for text.
    """
    if max_length <= tokenizer.num_special_tokens_to_add(False):
        raise ValueError(f"max_length {max_length} leaves no room for text beside the special tokens")
    with _TRUNCATING:  # a setting of the tokenizer, not of the call
        tokenizer.enable_truncation(max_length)
        try:
            return [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        finally:
            tokenizer.no_truncation()


def token_batch(ids: list[list[int]], pad: int, device: torch.device) -> TokenIds:
    """Token ids padded on the right to the longest."""
    batch = torch.full((len(ids), max(map(len, ids))), pad, dtype=torch.long, device="cpu")
    for row, tokens in zip(batch, ids, strict=True):
        row[: len(tokens)] = torch.tensor(tokens, dtype=torch.long, device="cpu")
    return batch.to(device)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a checkpoint."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: not a JSON object")
    return value


def batches_by_length(lengths: list[int], batch_size: int) -> list[list[int]]:
    """Indices in batches of similar length, longest first, so that little is padded and memory peaks at once."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
