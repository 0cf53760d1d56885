"""What the name and the first bytes of an image say before it is decoded: its format, and whether it moves."""

import struct
import warnings
from io import BytesIO
from pathlib import PurePath

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
# Photographs of phones and browsers, by the ending of their file: Pillow reads no HEIC by itself.
UNREAD = {".heic": "HEIC", ".heif": "HEIC", ".avif": "AVIF"}
CONVERT = (
    "Save it as JPEG or PNG under a name of that ending "
    "(those of a folder: magick mogrify -format jpg FILES)"
)
# What Pillow's plugins raise on bytes that are not what they claim to be.
BROKEN = (ArithmeticError, EOFError, LookupError, OSError, SyntaxError, ValueError, struct.error)

# The brand stands behind the box `ftyp` (ISO/IEC 14496-12, 4.3; those of images: 23008-12).
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}
# The chunk `acTL` of an animated PNG lies before the pixels
# (https://www.w3.org/TR/png-3/#5ChunkOrdering).
_PNG_HEAD = 4096
# The bit of an animation in the flags of an extended WebP (RFC 9649, 2.7).
_WEBP_ANIMATION = 2


def has_image_ending(name: str) -> bool:
    """Whether a file is called as an image is, be it in a format that is read or one of UNREAD."""
    return PurePath(name).suffix.lower() in ENDINGS | UNREAD.keys()


def unread_format(data: bytes) -> str | None:
    """The format of UNREAD that the bytes are of, whatever the file is called; None for others."""
    return _BRANDS.get(data[8:12]) if data[4:8] == b"ftyp" else None


def has_several_frames(data: bytes) -> bool:
    """Whether it is an animation, or an image of several pages; False for what is no image."""
    # Nothing else is opened: a JPEG can hold several images too, of which the others are no frames.
    if data.startswith(b"\x89PNG"):
        return b"acTL" in data[:_PNG_HEAD]
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X":
        return bool(data[20] & _WEBP_ANIMATION) if len(data) > 20 else False
    if not data.startswith((b"GIF8", b"II*\0", b"MM\0*")):
        return False
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(BytesIO(data), formats=("GIF", "TIFF"))
            return bool(image.is_animated)  # type: ignore[attr-defined]
    except (*BROKEN, Image.DecompressionBombError):
        return False  # decoding it says what is broken
