"""Images to pixels: what happens before the image tower."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from jina_clip.geometry import centre, resize_bytes, resized
from jina_clip.images import read_image, to_rgb
from jina_clip.official_json import CheckpointError

__all__ = ["PREPROCESS_MODES", "Preprocess", "read_image"]

# Of the images that OpenAI's CLIP was trained on (Radford et al. 2021); both releases took them
# over.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
PREPROCESS_MODES = ("exact", "fast")
_FILE = "preprocessor_config.json"
_SETTINGS = ("size", "mean", "std", "resize_mode", "interpolation", "fill_color")
# Keys that say which class wrote the file, and nothing of what it does.
_INERT = frozenset(
    """_name_or_path _processor_class auto_map feature_extractor_type image_processor_type processor_class
    transformers_version""".split()
)
_RESIZE_MODES = ("shortest", "longest", "squash")
_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    # Upstream draws one in training, and takes bicubic otherwise.
    "random": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True)
class Preprocess:
    """The image pipeline of preprocessor_config.json, and its settings.

    `resize_mode` is "shortest" (both releases), "longest" or "squash". `extras` keeps keys without
    effect, for saving. CheckpointError for a value that this pipeline does not have.
    """

    size: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resize_mode: str = "shortest"
    interpolation: str = "bicubic"
    fill_color: int = 0
    extras: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.resize_mode not in _RESIZE_MODES:
            raise CheckpointError(f"{_FILE}: resize_mode {self.resize_mode!r} is not known")
        if self.interpolation not in _FILTERS:
            raise CheckpointError(f"{_FILE}: interpolation {self.interpolation!r} is not known")

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Preprocess":
        """Read preprocessor_config.json; CheckpointError names a key of another image processor."""
        strange = sorted(settings.keys() - set(_SETTINGS) - _INERT)
        if strange:
            raise CheckpointError(
                f"{_FILE}: {', '.join(strange)} not known: the file of another image processor. "
                f"That of jina-clip says {', '.join(_SETTINGS)}"
            )
        values = {name: settings[name] for name in _SETTINGS if name in settings}
        size = values.get("size")
        if isinstance(size, list) and size == size[:1] * 2:  # upstream stores an int or a square
            values["size"] = size[0]
        _check_types(values)
        for name in ("mean", "std"):
            if name in values:
                values[name] = tuple(float(value) for value in values[name])
        return cls(**values, extras={name: settings[name] for name in settings if name in _INERT})

    def to_dict(self) -> dict[str, Any]:
        """What preprocessor_config.json holds."""
        values = asdict(self)
        extras = values.pop("extras")
        return {**extras, **values, "mean": list(self.mean), "std": list(self.std)}

    def __call__(self, image: Image.Image) -> Float32[Tensor, "3 size size"]:
        """Normalised float32 pixels of one image, channels first: `normalize(pixels(image))`."""
        return self.normalize(self.pixels(image)[None])[0]

    def pixels(self, image: Image.Image, mode: str = "exact") -> UInt8[Tensor, "3 size size"]:
        """RGB, resized and cropped to the centre: what a decoding thread does.

        The values lie channels last in memory.

        "exact" resizes with Pillow, as the official processor does. "fast" resizes with torch's
        uint8 kernel, several times faster; it keeps its weights in 16 bits, and so a few values
        differ by up to 2 (`benchmarks/decode.py` counts them). They differ by more (10 was seen)
        where Pillow, since 13, resizes the height first: images over twice as tall as wide
        (https://github.com/python-pillow/Pillow/pull/9549). Fast always resizes the width first, as
        earlier Pillow did.

        The conversion to RGB comes first, as in the official `encode_image`; the official processor
        alone converts after the resize, which gives other pixels for palette and transparent
        images.

        ValueError for another mode, for an image of more than 8 bits a channel (see images.to_rgb),
        and for one that would have more than resize.MAX_PIXELS after the resize.
        """
        if mode not in PREPROCESS_MODES:
            raise ValueError(
                f"preprocess mode {mode!r} is not one of {', '.join(PREPROCESS_MODES)}"
            )
        # Resize(size), CenterCrop(size) of torchvision, which resizes PIL images by Pillow.
        size = resized(image.size, self.size, self.resize_mode)
        image = to_rgb(image)
        if size == image.size:
            values = np.asarray(image)
        elif mode == "exact":
            values = np.asarray(image.resize(size, _FILTERS[self.interpolation]))
        else:
            filter_name = "bilinear" if self.interpolation == "bilinear" else "bicubic"
            values = resize_bytes(np.array(image), size, filter_name)
        return torch.from_numpy(centre(values, self.size, self.fill_color)).permute(2, 0, 1)

    def normalize(self, batch: UInt8[Tensor, "b 3 p p"]) -> Float32[Tensor, "b 3 p p"]:
        """`(batch / 255 - mean) / std` in float32 and that order, on the device of the batch.

        The result is contiguous, whatever the batch is.

        The only memory taken is that of the result, and the host waits for nothing.
        """
        values = batch.to(torch.float32, memory_format=torch.contiguous_format)
        scale = _channels((255.0, 255.0, 255.0), batch.device)
        mean, std = _channels(self.mean, batch.device), _channels(self.std, batch.device)
        return values.div_(scale).sub_(mean).div_(std)


def _channels(values: tuple[float, float, float], device: torch.device) -> Float32[Tensor, "3 1 1"]:
    """One value per channel, as a tensor filled where it is.

    CUDA divides by a Python number as a product with its reciprocal, which is another value; a
    tensor copied from the host would make the host wait for the stream.
    """
    return torch.stack(
        [torch.full((1, 1), value, dtype=torch.float32, device=device) for value in values]
    )


def _check_types(values: Mapping[str, Any]) -> None:
    """CheckpointError for a value that means nothing to this pipeline."""
    size, fill = values.get("size"), values.get("fill_color", 0)
    if type(size) is not int or size < 1:
        raise CheckpointError(f"{_FILE}: size must be one integer, not {size!r}")
    if type(fill) is not int or not 0 <= fill <= 255:
        raise CheckpointError(f"{_FILE}: fill_color {fill!r} is not from 0 to 255")
    mean, std = values.get("mean", CLIP_MEAN), values.get("std", CLIP_STD)
    if not (_three_numbers(mean) and _three_numbers(std) and min(std) > 0):
        raise CheckpointError(
            f"{_FILE}: mean {mean} and std {std} must be three numbers each, those of std above 0"
        )


def _three_numbers(values: object) -> bool:
    if not isinstance(values, list | tuple) or len(values) != 3:
        return False
    # Neither NaN, nor infinity, nor an integer beyond all floats.
    return all(type(value) in (int, float) and abs(value) < 1e6 for value in values)
