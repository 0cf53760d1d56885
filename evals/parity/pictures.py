"""Images as other pipelines would make them, before the model's own pipeline sees them.

An image that comes with the model's size already is not resized again, so another resize can be
tried with any model whose size is known.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

Picture = Image.Image
Change = tuple[str, str, str, Callable[[Picture], Picture]]
FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
}


def picture_changes(size: int | None) -> list[Change]:
    """Name, cause, words and change; those of a resize only where the model's `size` is known."""
    changes: list[Change] = [
        ("bgr", "colour order", "with red and blue exchanged", _bgr),
        (
            "grey",
            "colour order",
            "with grey images",
            lambda image: image.convert("L").convert("RGB"),
        ),
    ]
    if size is None:
        return changes
    for name, kernel in FILTERS.items():
        changes += [
            (f"crop_{name}", "resize", f"with a {name} resize", _crop(size, kernel)),
            (
                f"squash_{name}",
                "resize",
                f"with images squashed to a square ({name})",
                _squash(size, kernel),
            ),
        ]
    changes += [
        ("letterbox_black", "resize", "with images fitted in and black bars", _fit(size, 0)),
        ("letterbox_white", "resize", "with images fitted in and white bars", _fit(size, 255)),
    ]
    # Without antialiasing a reduced image keeps only some of its pixels: torch's default, and cv2's
    # (Parmar et al., arXiv:2104.11222).
    for name in ("bicubic", "bilinear"):
        for antialias in (True, False):
            how = "with" if antialias else "without"
            suffix = "" if antialias else "_aliased"
            words = f"with torch's {name} resize {how} antialiasing"
            resize = _torch(size, name, antialias=antialias)
            changes.append((f"torch_{name}{suffix}", "resize", words, resize))
    return changes


def _bgr(image: Picture) -> Picture:
    return Image.fromarray(np.asarray(image.convert("RGB"))[:, :, ::-1].copy())


def _shortest(image: Picture, size: int) -> tuple[int, int]:
    # The shorter side to `size`, the longer one cut off to a whole pixel, as torchvision's Resize.
    width, height = image.size
    scale = size / min(width, height)
    return max(size, int(width * scale)), max(size, int(height * scale))


def _centre(image: Picture, size: int) -> Picture:
    x, y = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((x, y, x + size, y + size))


def _crop(size: int, kernel: Image.Resampling) -> Callable[[Picture], Picture]:
    return lambda image: _centre(image.convert("RGB").resize(_shortest(image, size), kernel), size)


def _squash(size: int, kernel: Image.Resampling) -> Callable[[Picture], Picture]:
    return lambda image: image.convert("RGB").resize((size, size), kernel)


def _fit(size: int, fill: int) -> Callable[[Picture], Picture]:
    # The longer side to `size`; what is missing is filled, as detectors' pipelines do.
    def change(image: Picture) -> Picture:
        scale = size / max(image.size)
        width, height = (max(1, round(length * scale)) for length in image.size)
        small = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
        canvas = Image.new("RGB", (size, size), (fill, fill, fill))
        canvas.paste(small, ((size - width) // 2, (size - height) // 2))
        return canvas

    return change


def _torch(size: int, name: str, *, antialias: bool) -> Callable[[Picture], Picture]:
    """On floats, rounded at the end, as torchvision resizes tensors of floats."""

    def change(image: Picture) -> Picture:
        import torch
        import torch.nn.functional as F

        width, height = _shortest(image, size)
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float()
        after = F.interpolate(
            pixels, size=(height, width), mode=name, antialias=antialias, align_corners=False
        )
        values = after.round().clamp(0, 255).byte()[0].permute(1, 2, 0).numpy()
        return _centre(Image.fromarray(values), size)

    return change
