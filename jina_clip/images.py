"""An RGB image from whatever a caller has: a path, a URL, a data URI or a Pillow image."""

import base64
import struct
import urllib.request
from http.client import HTTPException
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

MAX_DOWNLOAD = 64 << 20  # bytes of an image behind a URL
_SECONDS = 30
_SHOWN = 100  # characters of a source in a message: a data URI has millions
# Modes whose channels have 8 bits. Pillow takes others (I;16, I, F) to RGB by clipping at 255: a
# 16-bit picture becomes a white square, a float one from 0 to 1 a black one. Which value is white
# is not told by the mode, nor by a TIFF's header.
_EIGHT_BITS = frozenset("1 L P LA PA La RGB RGBA RGBX RGBa CMYK YCbCr HSV".split())
# What Pillow's plugins raise on bytes that are not what they claim to be.
_BROKEN = (ArithmeticError, EOFError, LookupError, SyntaxError, struct.error)


def to_rgb(image: Image.Image) -> Image.Image:
    """The loaded image itself where it is RGB (`convert` would copy it), else a converted copy.

    ValueError for an image of more than 8 bits a channel.
    """
    if image.mode not in _EIGHT_BITS:
        raise ValueError(
            f"an image of Pillow's mode {image.mode}, which has not 8 bits a channel; "
            "it does not say which values are black and white. Save it with 8 bits"
        )
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def read_image(source: object) -> Image.Image:
    """An RGB image from a path, an http(s) URL, a data URI or a PIL image.

    ValueError for any other type, for more than 8 bits a channel and for an image or download that
    is too large; OSError (FileNotFoundError, PIL.UnidentifiedImageError) for what cannot be read.
    Messages name the source.
    """
    if not isinstance(source, str | Path | Image.Image) or source == "":
        raise ValueError(
            f"an image is a path, a URL, a data URI or a PIL image, not {shown(source)}"
        )
    name = shown(source)
    try:
        if isinstance(source, Image.Image):  # one from a file decodes now
            return to_rgb(source)
        with Image.open(_file(source)) as image:
            return to_rgb(image)
    except UnidentifiedImageError:
        raise UnidentifiedImageError(f"{name}: its bytes are no image that Pillow knows") from None
    except OSError as error:
        if error.errno is None:  # Pillow's and urllib's
            raise OSError(f"{name}: {error}") from error
        raise OSError(error.errno, error.strerror, name) from error  # FileNotFoundError stays one
    except (HTTPException, *_BROKEN) as error:
        raise OSError(f"{name}: {type(error).__name__}: {error}") from error
    except (ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: {error}") from error


def shown(source: object) -> str:
    """A source as messages name it: short, on one line, and with its type where it is no text."""
    if isinstance(source, Image.Image):
        return f"a PIL image of {source.width} x {source.height}"
    is_text = isinstance(source, str | Path) and str(source)
    text = str(source) if is_text else f"{type(source).__name__} {source!r}"
    text = " ".join(text.split())
    return f"{text[:_SHOWN]}… ({len(text):,} characters)" if len(text) > _SHOWN else text


def _file(source: str | Path) -> Path | BytesIO:
    """What Pillow opens: a path as it is, the bytes of everything else."""
    text = str(source)
    if text.startswith(("http://", "https://")):
        # ruff fears file:// here, and the scheme was just looked at
        with urllib.request.urlopen(text, timeout=_SECONDS) as response:  # noqa: S310
            # One byte more than allowed gives a larger file away, whatever its header says.
            data = response.read(MAX_DOWNLOAD + 1)
        if len(data) > MAX_DOWNLOAD:
            raise ValueError(f"more than {MAX_DOWNLOAD:,} bytes")
        return BytesIO(data)
    if text.startswith("data:"):
        header, _, payload = text.partition(",")
        if not header.startswith("data:image/") or not header.endswith(";base64"):
            raise ValueError("the data URI of an image is data:image/…;base64,…")
        return BytesIO(base64.b64decode("".join(payload.split()), validate=True))
    return Path(source)
