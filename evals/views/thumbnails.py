"""Small copies of images for pages: a JPEG inside the page, or a file beside it."""

import base64
import io
from typing import Any

SIDE = 128  # pixels of the longer side


def thumbnail(image: Any) -> str:
    """The small copy as a `data:` URI."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(image)).decode()}"


def jpeg(image: Any) -> bytes:
    """A PIL image as a small JPEG, transparent parts on white."""
    from PIL import Image

    # JPEG has no transparency: what is left out of a canvas would come out black.
    small = image.convert("RGBA")
    small.thumbnail((SIDE, SIDE))
    canvas = Image.new("RGB", small.size, "white")
    canvas.paste(small, mask=small)
    data = io.BytesIO()
    canvas.save(data, "JPEG", quality=80)
    return data.getvalue()
