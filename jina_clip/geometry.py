"""The arithmetic of the image pipeline: sizes, torch's resize of bytes, the cut to the centre.

Shapes: h, w, h2, w2 heights and widths before and after.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8

# Of an image after the resize, before the crop. 150 MB of bytes: photographs stay far below, and a
# strip of 1 x 65,000 pixels, harmless as a file, would become 512 x 33,280,000.
MAX_PIXELS = 50_000_000


def resized(size: tuple[int, int], target: int, resize_mode: str) -> tuple[int, int]:
    """Width and height after the resize, before the crop.

    ValueError for an image without pixels, and above MAX_PIXELS.
    """
    width, height = size
    if not width or not height:
        raise ValueError(f"an image of {width} x {height} pixels has none. Leave it out")
    if resize_mode == "squash":
        return target, target
    if resize_mode == "longest":  # fits the square, and never exceeds it
        ratio = max(width, height) / target
        return max(1, round(width / ratio)), max(1, round(height / ratio))
    # int cuts off, as torchvision's Resize does, where round would be nearer.
    long = int(target * max(size) / min(size))
    after = (target, long) if width <= height else (long, target)
    if after[0] * after[1] > MAX_PIXELS:
        raise ValueError(
            f"an image of {width:,} x {height:,} pixels would be {after[0]:,} x {after[1]:,} "
            f"after the resize, and more than {MAX_PIXELS:,} are refused. "
            "Crop it to a shape nearer to a square"
        )
    return after


def resize_bytes(
    values: UInt8[np.ndarray, "h w 3"], size: tuple[int, int], filter_name: str
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Torch's antialiasing resize of uint8 pixels to `size` (width, height).

    Its weights are Pillow's, rounded to 16 bits.
    """
    height, width, _ = values.shape
    # As one image of a channels-last batch: with the strides of a plain view torch allocates the
    # result channels first and packs it, a third of the time of a photo
    # (https://github.com/pytorch/pytorch/issues/68430).
    strides = (height * width * 3, 1, width * 3, 3)
    batch = torch.from_numpy(values).as_strided((1, 3, height, width), strides)
    after = F.interpolate(
        batch, size=(size[1], size[0]), mode=filter_name, antialias=True, align_corners=False
    )
    pixels: UInt8[np.ndarray, "h2 w2 3"] = after[0].permute(1, 2, 0).numpy()
    return pixels


def centre(
    values: UInt8[np.ndarray, "h w 3"], size: int, fill: int
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """A copy of the middle size x size pixels.

    A shorter side is first padded, the odd pixel right and below.

    In numpy, because torch's copies start a team of threads from each decoding thread.
    """
    height, width, _ = values.shape
    if width < size or height < size:
        canvas = np.full((max(height, size), max(width, size), 3), fill, dtype=np.uint8)
        top, start = (canvas.shape[0] - height) // 2, (canvas.shape[1] - width) // 2
        canvas[top : top + height, start : start + width] = values
        values, (height, width, _) = canvas, canvas.shape
    # round is torchvision's, half to even; a copy, or a cut would keep all of a panorama alive
    top, start = round((height - size) / 2), round((width - size) / 2)
    return np.array(values[top : top + size, start : start + size], order="C")
