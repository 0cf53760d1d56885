"""Small copies of images for pages that load nothing: a JPEG inside the page."""

import base64
import io
from typing import Any

SIDE = 128  # pixels of the longer side


def thumbnail(image: Any) -> str:
    """A PIL image as a `data:` URI, transparent parts on white."""
    from PIL import Image

    # JPEG has no transparency: what is left out of a canvas would come out black.
    small = image.convert("RGBA")
    small.thumbnail((SIDE, SIDE))
    canvas = Image.new("RGB", small.size, "white")
    canvas.paste(small, mask=small)
    data = io.BytesIO()
    canvas.save(data, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
