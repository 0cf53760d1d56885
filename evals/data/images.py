"""Images that stay encoded until they are indexed, and the refusal of those that no model can see.

EXIF rotation is not applied and the mode is left as stored. Encoders convert both as their
reference code does.
"""

import hashlib
import os
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

from evals.data.checks import check_file_name
from evals.data.image_formats import BROKEN, CONVERT, unread_format
from evals.schema import InvalidError, MissingError, Selection

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# Read from the header: a PNG of 17 KiB can ask for 700 MB of memory.
MOST_PIXELS = 50_000_000
# Encoders resize the shorter side to theirs: 1 x 65,000 pixels become 512 x 33 million. At this
# ratio and 512 pixels an image has 26 million, which is below MOST_PIXELS. Panoramas and scrolls of
# comics have ratios up to 30.
MOST_ELONGATED = 100
# Modes of 8 bits per channel. Pillow clips others when it converts them to RGB: a picture of 16
# bits becomes a white square, one of floats from 0 to 1 a black square.
EIGHT_BITS = frozenset("1 L P LA PA La RGB RGBA RGBX RGBa CMYK YCbCr HSV".split())
WORKERS = 8

# `warnings.catch_warnings` changes the whole process.
_OPENING = threading.Lock()


@dataclass(frozen=True, eq=False)
class Images(Sequence[Any]):
    """A sequence of Pillow images that are decoded when indexed.

    `read(i)` gives the stored bytes of image i, `names` serve the messages. `hashes`, where there
    are some, are those that the images had when the data was loaded: what is decoded later must
    have the same. `several_frames` are the hashes of those that have other frames or pages behind
    the first.
    """

    names: Sequence[str]
    read: Callable[[int], bytes]
    hashes: Sequence[str] = ()
    several_frames: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        """Image `index`, decoded; a slice is a view that decodes nothing."""
        if isinstance(index, slice):
            return Selection(self, range(len(self))[index])
        return decode(self.stored(index), self.names[index])

    def stored(self, index: int) -> bytes:
        """The bytes of image `index`.

        InvalidError when they are no longer those that were hashed at loading.
        """
        data = self.read(index)
        if self.hashes and content_hash(data) != self.hashes[index]:
            raise InvalidError(
                f"{self.names[index]}: the image changed after it was loaded, so its row would "
                "belong to another one. Run again when nothing writes to the data."
            )
        return data


@dataclass(frozen=True, eq=False)
class Pictures(Sequence[Any]):
    """Pillow images that a program holds; `names` serve the messages. InvalidError for a bad shape."""

    pictures: Sequence[Any]
    names: Sequence[str]

    def __post_init__(self) -> None:
        for picture, name in zip(self.pictures, self.names, strict=True):
            check_picture(picture, name)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: Any) -> Any:
        """Picture `index` as the program made it; a slice is a list."""
        return self.pictures[index]


def decode(data: bytes, name: str) -> Any:
    """The whole image in its stored mode, of an animation the first frame.

    InvalidError names an image that is broken or truncated, of another format than FORMATS, larger
    than MOST_PIXELS, longer than MOST_ELONGATED times its width or the other way round, or of more
    than 8 bits per channel.
    """
    from PIL import ImageFile

    with _named(data, name):
        image = _open(data, name)
        # A library that sets this, for its own images, would let half an image pass here.
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        image.load()
    return image


def check_shape(image: Any, name: str) -> None:
    """Refuse a Pillow image that is too long for its width, or of more than 8 bits per channel."""
    short, long = sorted(image.size)
    if not short or long > MOST_ELONGATED * short:
        raise InvalidError(
            f"{name}: {image.width:,} x {image.height:,} pixels, and one side may be "
            f"{MOST_ELONGATED} times the other at most. Cut the image, or take it out of the data."
        )
    if image.mode not in EIGHT_BITS:
        raise InvalidError(
            f"{name}: an image of mode {image.mode}, which has not 8 bits per channel; "
            "nobody can tell which of its values is black and which is white. Save it in 8 bits."
        )


def check_picture(image: Any, name: str) -> None:
    """Refuse a Pillow image that a program holds, as `decode` refuses a file; it is loaded for it."""
    from PIL import Image, ImageFile

    with _named(b"", name):
        if image.width * image.height > MOST_PIXELS:
            raise Image.DecompressionBombError
        check_shape(image, name)
        # It may be of a file that was opened and not read yet, and of which half is missing.
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        image.load()


def pixel_size(images: Sequence[Any], index: int) -> tuple[int, int]:
    """Width and height of an image as its header says; what is stored is not decoded for it.

    InvalidError as `decode`.
    """
    if isinstance(images, Selection):
        return pixel_size(images.items, images.indices[index])
    if not isinstance(images, Images):
        # Rendered, not stored.
        return images[index].size  # type: ignore[no-any-return]
    data, name = images.read(index), images.names[index]
    with _named(data, name):
        return _open(data, name).size  # type: ignore[no-any-return]


def stored_bytes(images: Sequence[Any], index: int) -> bytes:
    """An image as it is stored; one that is drawn by code as a PNG of its pixels.

    InvalidError as `Images.stored`.
    """
    if isinstance(images, Selection):
        return stored_bytes(images.items, images.indices[index])
    if isinstance(images, Images):
        return images.stored(index)
    png = BytesIO()
    images[index].save(png, "PNG")
    return png.getvalue()


def verify(images: Sequence[Any], indices: Sequence[int]) -> None:
    """Decode each image once, several at a time.

    The first that fails, in the order of `indices`, is raised.
    """
    # Pillow decodes without the interpreter's lock.
    pool = ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1), thread_name_prefix="verify")
    try:
        list(pool.map(partial(_decode_and_drop, images), indices))
    finally:
        pool.shutdown(cancel_futures=True)


def content_hash(data: bytes) -> str:
    """The sha256 (hex) of an item's bytes."""
    return hashlib.sha256(data).hexdigest()


def image_files(paths: Sequence[Path]) -> Images:
    """Images in files on disk.

    MissingError names the first that is not there and counts the others. InvalidError: a file name
    that is not UTF-8.
    """
    for path in paths:
        check_file_name(path)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise MissingError(
            f"{missing[0]}: no such image file ({len(missing):,} of {len(paths):,} are missing). "
            "Complete the folder, or point at the one that holds the images."
        )
    return Images([str(path) for path in paths], lambda index: _read(paths[index]))


def _open(data: bytes, name: str) -> Any:
    """The image with its header read, which says whether it is one that can be measured."""
    from PIL import Image

    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(BytesIO(data), formats=FORMATS)
    if image.width * image.height > MOST_PIXELS:
        raise Image.DecompressionBombError
    check_shape(image, name)
    return image


@contextmanager
def _named(data: bytes, name: str) -> Iterator[None]:
    """What Pillow says of bytes that are no image, as a message that names them."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidError(
            f"{name}: the image has more than {MOST_PIXELS:,} pixels. Replace it by a smaller copy."
        ) from None
    except UnidentifiedImageError:
        formats = ", ".join(FORMATS)
        problem = f"its {len(data):,} bytes are not an image in {formats}"
        remedy = "Replace the file, or take it out of the data"
        if not data:
            problem = "the image file is empty"
        # A photo that was only renamed to .jpg is one of these still.
        form = unread_format(data)
        if form:
            problem, remedy = f"it is {form}, which is not read", CONVERT
        raise InvalidError(f"{name}: {problem}. {remedy}.") from None
    except BROKEN as error:
        raise InvalidError(
            f"{name}: the image is broken ({error}). Replace the file, or take it out of the data."
        ) from None


def _decode_and_drop(images: Sequence[Any], index: int) -> None:
    images[index]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingError(
            f"{path}: cannot be read ({error.strerror}). Check the file and its permissions."
        ) from None
