"""Images that stay encoded until they are indexed, and the refusal of those that cannot be decoded.

EXIF rotation is not applied and the mode is left as stored: encoders convert, as the reference code does.
"""

import hashlib
import os
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from evals.schema import InvalidError, MissingError, Selection

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 50_000_000  # read from the header: a 17 KiB PNG can ask for 700 MB of memory
WORKERS = 8

# What Pillow's plugins raise on bytes that are not what they claim to be.
_BROKEN = (ArithmeticError, EOFError, LookupError, OSError, SyntaxError, ValueError, struct.error)
_OPENING = threading.Lock()  # warnings.catch_warnings changes the whole process


@dataclass(frozen=True, eq=False)
class Images(Sequence[Any]):
    """A sequence of Pillow images; `read(i)` gives the stored bytes of image i, `names` serve the messages."""

    names: Sequence[str]
    read: Callable[[int], bytes]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        """Image `index`, decoded; a slice is a view that decodes nothing."""
        if isinstance(index, slice):
            return Selection(self, range(len(self))[index])
        return decode(self.read(index), self.names[index])


def decode(data: bytes, name: str) -> Any:
    """The whole image in its stored mode; InvalidError when broken, too large or of another format."""
    with _named(data, name):
        image = _open(data)
        image.load()
    return image


def pixel_size(images: Sequence[Any], index: int) -> tuple[int, int]:
    """Width and height of an image as its header says; what is stored is not decoded for it. InvalidError as `decode`."""
    if isinstance(images, Selection):
        return pixel_size(images.items, images.indices[index])
    if not isinstance(images, Images):
        return images[index].size  # type: ignore[no-any-return] # rendered, not stored
    data, name = images.read(index), images.names[index]
    with _named(data, name):
        return _open(data).size  # type: ignore[no-any-return]


def _open(data: bytes) -> Any:
    from PIL import Image

    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    return image


@contextmanager
def _named(data: bytes, name: str) -> Iterator[None]:
    """What Pillow says of bytes that are no image, as a message that names them."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidError(
            f"{name}: the image has more than {MAX_PIXELS:,} pixels. Replace it by a smaller copy."
        ) from None
    except UnidentifiedImageError:
        what = (
            f"its {len(data):,} bytes are not an image in {', '.join(FORMATS)}"
            if data
            else "the image file is empty"
        )
        raise InvalidError(f"{name}: {what}. Replace the file, or remove its captions.") from None
    except _BROKEN as error:
        raise InvalidError(
            f"{name}: the image is broken ({error}). Replace the file, or remove its captions."
        ) from None


def verify(images: Sequence[Any], indices: Sequence[int]) -> None:
    """Decode each image once, several at a time; the first that fails, in the order of `indices`, is raised."""
    pool = ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1), thread_name_prefix="verify")
    try:
        list(pool.map(partial(_decode_and_drop, images), indices))
    finally:
        pool.shutdown(cancel_futures=True)


def content_hash(data: bytes) -> str:
    """The sha256 (hex) of an item's bytes."""
    return hashlib.sha256(data).hexdigest()


def image_files(paths: Sequence[Path]) -> Images:
    """Images in files on disk; MissingError names the first that is not there and counts the others."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise MissingError(
            f"{missing[0]}: no such image file ({len(missing):,} of {len(paths):,} are missing). "
            "Complete the folder, or point at the one that holds the images."
        )
    return Images([str(path) for path in paths], lambda index: _read(paths[index]))


def _decode_and_drop(images: Sequence[Any], index: int) -> None:
    images[index]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingError(
            f"{path}: cannot be read ({error.strerror}). Check the file and its permissions."
        ) from None
