"""Images to pixels: what happens before the image tower."""

import base64
import json
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from jina_clip.config import CheckpointError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
MAX_DOWNLOAD = 64 << 20  # bytes of an image behind a URL
PREPROCESS_MODES = ("exact", "fast")
_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "random": Image.Resampling.BICUBIC,
}


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
            raise CheckpointError(
                f"preprocessor_config.json: resize_mode {self.resize_mode!r} is not known"
            )
        if self.interpolation not in _FILTERS:
            raise CheckpointError(
                f"preprocessor_config.json: interpolation {self.interpolation!r} is not known"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise CheckpointError(
                f"preprocessor_config.json: mean {self.mean} and std {self.std} must be three numbers each"
            )

    @classmethod
    def from_file(cls, path: Path) -> "Preprocess":
        """Read preprocessor_config.json. CheckpointError names what it does not describe."""
        given = read_json(path)
        size = given.pop("size", None)
        if isinstance(size, (list, tuple)):  # upstream stores an int or a square
            size = size[0] if len(set(size)) == 1 else None
        if not isinstance(size, int):
            raise CheckpointError(f"{path}: size must be one integer")
        known: dict[str, Any] = {
            name: tuple(given.pop(name) or ()) for name in ("mean", "std") if name in given
        }
        known |= {
            name: given.pop(name)
            for name in ("resize_mode", "interpolation", "fill_color")
            if name in given
        }
        return cls(size=size, **known, other=given)

    def to_dict(self) -> dict[str, Any]:
        """What preprocessor_config.json holds."""
        values = asdict(self)
        other = values.pop("other")
        return {**other, **values, "mean": list(self.mean), "std": list(self.std)}

    def __call__(self, image: Image.Image) -> Float32[Tensor, "3 size size"]:
        """Normalised float32 pixels of one image, channels first: `normalize(pixels(image))`."""
        return self.normalize(self.pixels(image)[None])[0]

    def pixels(self, image: Image.Image, mode: str = "exact") -> UInt8[Tensor, "3 size size"]:
        """RGB, resized and cropped to the centre: what a decoding thread does. The values lie channels last in memory.

        "exact" resizes with Pillow, as the official processor does. "fast" resizes with torch's uint8 kernel, several times
        faster; it keeps its weights in 16 bits, and so a few values differ by up to 2 (`benchmarks/decode.py` counts them).
        They differ by more (10 was seen) where Pillow, since 13, resizes the height first: images over twice as tall as wide
        (https://github.com/python-pillow/Pillow/pull/9549). Fast always resizes the width first, as earlier Pillow did.
        ValueError for another mode.

        The conversion to RGB comes first, as in the official `encode_image`; the official processor alone converts after the
        resize, which gives other pixels for palette and transparent images.
        """
        if mode not in PREPROCESS_MODES:
            raise ValueError(
                f"preprocess mode {mode!r} is not one of {', '.join(PREPROCESS_MODES)}"
            )
        image = _rgb(image)
        size = _resized(image.size, self)
        if size == image.size:
            values = np.asarray(image)
        elif mode == "exact":
            values = np.asarray(image.resize(size, _FILTERS[self.interpolation]))
        else:
            values = _resize_uint8(
                np.array(image), size, "bilinear" if self.interpolation == "bilinear" else "bicubic"
            )
        return torch.from_numpy(_centre(values, self.size, self.fill_color)).permute(2, 0, 1)

    def normalize(self, batch: UInt8[Tensor, "b 3 p p"]) -> Float32[Tensor, "b 3 p p"]:
        """`(batch / 255 - mean) / std` in float32 and that order, on the device of the batch; contiguous whatever the batch is.

        The only memory taken is that of the result, and the host waits for nothing.
        """
        values = batch.to(torch.float32, memory_format=torch.contiguous_format)
        scale, mean, std = (
            _channels(of, batch.device) for of in ((255.0,) * 3, self.mean, self.std)
        )
        return values.div_(scale).sub_(mean).div_(std)


def _channels(values: tuple[float, float, float], device: torch.device) -> Float32[Tensor, "3 1 1"]:
    """One value a channel, as a tensor filled where it is.

    CUDA divides by a Python number as a product with its reciprocal, which is another value; a tensor copied from the host
    would make the host wait for the stream.
    """
    return torch.stack(
        [torch.full((1, 1), value, dtype=torch.float32, device=device) for value in values]
    )


def _resized(size: tuple[int, int], how: Preprocess) -> tuple[int, int]:
    """Width and height after the resize, before the crop."""
    width, height = size
    if how.resize_mode == "squash":
        return how.size, how.size
    if how.resize_mode == "longest":
        ratio = max(width, height) / how.size
        return max(1, round(width / ratio)), max(1, round(height / ratio))
    if width <= height:
        return how.size, int(how.size * height / width)
    return int(how.size * width / height), how.size


def _resize_uint8(
    values: UInt8[np.ndarray, "h w 3"], size: tuple[int, int], filter_name: str
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Torch's antialiasing resize of uint8 pixels to `size` (width, height); its weights are Pillow's, rounded to 16 bits."""
    height, width, _ = values.shape
    # As one image of a channels-last batch: with the strides of a plain view torch allocates the result channels first and
    # packs it, a third of the time of a photo (https://github.com/pytorch/pytorch/issues/68430).
    strides = (height * width * 3, 1, width * 3, 3)
    batch = torch.from_numpy(values).as_strided((1, 3, height, width), strides)
    resized = F.interpolate(
        batch, size=(size[1], size[0]), mode=filter_name, antialias=True, align_corners=False
    )
    found: UInt8[np.ndarray, "h2 w2 3"] = resized[0].permute(1, 2, 0).numpy()
    return found


def _centre(
    values: UInt8[np.ndarray, "h w 3"], size: int, fill: int
) -> UInt8[np.ndarray, "size size 3"]:
    """A copy of the middle size x size pixels; a shorter side is first padded, the odd pixel right and below.

    In numpy, because torch's copies start a team of threads from each decoding thread.
    """
    height, width, _ = values.shape
    if width < size or height < size:
        canvas = np.full((max(height, size), max(width, size), 3), fill, dtype=np.uint8)
        top, left = (canvas.shape[0] - height) // 2, (canvas.shape[1] - width) // 2
        canvas[top : top + height, left : left + width] = values
        values, (height, width, _) = canvas, canvas.shape
    top, left = round((height - size) / 2), round((width - size) / 2)
    return np.array(values[top : top + size, left : left + size], order="C")


def _rgb(image: Image.Image) -> Image.Image:
    """The loaded image itself where it is RGB (`convert` would copy it), else a converted copy."""
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def read_image(source: object) -> Image.Image:
    """An RGB image from a path, an http(s) URL, a data URI or a PIL image.

    ValueError for any other type; OSError (FileNotFoundError, PIL.UnidentifiedImageError, URLError) for what cannot be read.
    """
    if isinstance(source, Image.Image):
        return _rgb(source)
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        with urllib.request.urlopen(source, timeout=30) as response:  # noqa: S310 - the scheme is checked above
            data = response.read(MAX_DOWNLOAD + 1)
        if len(data) > MAX_DOWNLOAD:
            raise ValueError(f"{source}: more than {MAX_DOWNLOAD} bytes")
        return _rgb(Image.open(BytesIO(data)))
    if isinstance(source, str) and source.startswith("data:image/"):
        return _rgb(Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))))
    if isinstance(source, (str, Path)):
        with Image.open(source) as image:
            return _rgb(image)
    raise ValueError(
        f"an image is a path, a URL, a data URI or a PIL image, not {type(source).__name__}"
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a checkpoint."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: not a JSON object")
    return value
