"""Where the image of an id is stored, so that the id leads the loader of JSON lines there only."""

import re
from hashlib import sha256
from io import BytesIO

SUFFIXES = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
}
FOLDER = "images"

_PLAIN = re.compile(r"[\w@+=,():~-]([\w .@+=,():~-]{0,150}[\w@+=,():~-])?", re.ASCII)
# The loader would find these before the image.
_TAKEN = ("captions", "captions.jsonl", "manifest.json")


def place_for(name: str, data: bytes, used: set[str]) -> tuple[str, str]:
    """The file for the image of that id, and the name that its line of captions has for it.

    That name is the id, if a file can have it. `used` holds what former calls have taken; this call
    adds what it takes.
    """
    file, line = _plain_file(name), name
    if file is None or _is_taken(file, used):
        line = sha256(name.encode()).hexdigest()[:20] + _suffix(data)
        file = f"{FOLDER}/{line}"
    used.update(_steps(file))
    return file, line


def _is_taken(file: str, used: set[str]) -> bool:
    """Whether the file is there already, or is a folder, or lies below a file."""
    path, *above = _steps(file)
    return path in used or f"{path}/" in used or any(folder[:-1] in used for folder in above)


def _plain_file(name: str) -> str | None:
    parts = name.split("/")
    if parts[0] in _TAKEN or not all(_PLAIN.fullmatch(part) for part in parts):
        return None
    return name if parts[0] == FOLDER and len(parts) > 1 else f"{FOLDER}/{name}"


def _steps(file: str) -> list[str]:
    """The file and, with a slash, the folders above it.

    Some file systems take large and small letters for the same.
    """
    # a.JPG and a.jpg are one file on macOS and Windows.
    parts = file.casefold().split("/")
    return ["/".join(parts), *("/".join(parts[:n]) + "/" for n in range(1, len(parts)))]


def _suffix(data: bytes) -> str:
    """The usual ending of its format; `data` can be decoded."""
    from PIL import Image

    with Image.open(BytesIO(data)) as image:
        return SUFFIXES[image.format or ""]
