"""Captioned images in a local folder, in the layouts people have: Karpathy JSON, Flickr `.token` files, plain JSON lines.

karpathy  dataset_*.json   {"images": [{"filename", "split", "sentences": [{"raw"}], "filepath"?}]}, filtered by split
token     *.token[.txt]    <file>#<n> TAB <caption>; a list such as Flickr_8k.testImages.txt beside it selects the split
jsonl     captions.jsonl   {"image": "a.jpg", "captions": ["...", ...]} per line; further keys are allowed and unused

Image names are relative to the folder of that file, or to one of IMAGE_FOLDERS in it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evals.data.images import Images, content_hash, image_files
from evals.schema import ConfigError, ImageText, InvalidError, MissingError, Side, Source

IMAGE_FOLDERS = ("", "images", "Flicker8k_Dataset", "flickr30k-images")
LAYOUTS = "a Karpathy dataset_*.json, a Flickr *.token file, or a captions.jsonl"


@dataclass(frozen=True)
class Captioned:
    """One image with its captions; `where` is the place in the annotations that messages name."""

    image: str
    captions: tuple[str, ...]
    where: str
    folder: str = ""


class Line(NamedTuple):
    """A line of a text file without its line end; `where` is its file and number."""

    text: str
    where: str


def load_captions(source: Source) -> ImageText:
    """The captioned images of `source.folder` (a folder, or the annotation file itself), in the order of the file.

    Image ids are the names as written, text ids `<image>#<n>`; captions are kept verbatim.
    InvalidError: annotations or captions that are broken. MissingError: a file that is not there.
    """
    if source.folder is None:
        raise MissingError(f"No folder was given for split {source.split!r}. Pass one with --data.")
    file = _annotations(source.folder)
    layout = str(_layout(file))
    rows = {"karpathy": _karpathy, "token": _token, "jsonl": _jsonl}[layout](file, source.split)
    check(rows, str(file))
    images = image_files(_locate(rows, file.parent))
    return assemble(rows, images, {"layout": layout, "path": str(file)})


def check(rows: Sequence[Captioned], name: str) -> None:
    """Refuse no rows, an image listed twice, and captions that are none."""
    if not rows:
        raise InvalidError(f"{name}: no captioned images in it. Check that the file is complete.")
    first: dict[str, str] = {}
    for row in rows:
        if row.image in first:
            raise InvalidError(f"{row.where}: image {row.image!r} is listed at {first[row.image]} too. Merge the two entries.")
        first[row.image] = row.where
        if not row.captions:
            raise InvalidError(f"{row.where}: image {row.image!r} has no captions. Add one, or remove the image.")
        for n, caption in enumerate(row.captions):
            if problem := _problem(caption):
                raise InvalidError(f"{row.where}: caption {n} of image {row.image!r} {problem}. Correct or remove it.")


def assemble(rows: Sequence[Captioned], images: Images, origin: dict[str, str]) -> ImageText:
    """The rows and their images (same order) as data to measure; each image is read once, to hash it."""
    texts = [caption for row in rows for caption in row.captions]
    return ImageText(
        images=Side("image", images, [row.image for row in rows], [content_hash(images.read(i)) for i in range(len(images))]),
        texts=Side(
            "text",
            texts,
            [f"{row.image}#{n}" for row in rows for n in range(len(row.captions))],
            [content_hash(text.encode()) for text in texts],
        ),
        image_of_text=np.repeat(np.arange(len(rows)), [len(row.captions) for row in rows]),
        origin=origin,
    )


def _problem(caption: str) -> str:
    if not caption.strip():  # over Unicode spaces: rows of a single NBSP do occur (mteb 5326)
        return "is empty"
    if "\0" in caption:
        return "holds a NUL character"
    if any("\ud800" <= c <= "\udfff" for c in caption):
        return "holds a lone surrogate, which is no character"
    return ""


def _layout(file: Path) -> str | None:
    if file.suffix == ".json":
        return "karpathy"
    if file.suffix == ".jsonl":
        return "jsonl"
    # Flickr8k.lemma.token.txt holds lemmas, not captions.
    return "token" if file.name.endswith((".token", ".token.txt")) and ".lemma." not in file.name else None


def _annotations(folder: Path) -> Path:
    """The annotation file: `folder` itself, or the one in it."""
    if folder.is_file():
        if _layout(folder) is None:
            raise ConfigError(f"{folder}: not an annotation file that is known here. Point at {LAYOUTS}, or at its folder.")
        return folder
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such file or folder. Point at the folder that holds {LAYOUTS}.")
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and _layout(path)]
    found = [path for path in found if path.suffix != ".json" or path.name.startswith("dataset_")]
    if folder / "captions.jsonl" in found:
        found = [path for path in found if path.suffix != ".jsonl" or path.name == "captions.jsonl"]
    if not found:
        raise MissingError(f"{folder}: no annotations in it. Put {LAYOUTS} there, or point at the file itself.")
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise ConfigError(f"{folder}: holds {names}, any of which could be meant. Point at the file itself.")
    return found[0]


def _karpathy(file: Path, split: str) -> list[Captioned]:
    rows, splits = [], set()
    for n, entry in enumerate(_field(_json(_text(file), str(file)), "images", list, str(file))):
        where = f"{file}, images[{n}]"
        kept = _field(entry, "split", str, where)
        splits.add(kept)
        if kept == split:
            raw = [_field(sentence, "raw", str, where) for sentence in _field(entry, "sentences", list, where)]
            folder = _field(entry, "filepath", str, where) if "filepath" in entry else ""
            rows.append(Captioned(_field(entry, "filename", str, where), tuple(raw), where, folder))
    if not rows:
        raise InvalidError(f"{file}: no image of split {split!r}; its splits are {', '.join(sorted(splits)) or 'none'}.")
    return rows


def _jsonl(file: Path, split: str) -> list[Captioned]:
    rows = []
    for line in _lines(file):
        entry = _json(line.text, line.where)
        captions = _field(entry, "captions", list, line.where)
        if not all(isinstance(caption, str) for caption in captions):
            raise InvalidError(f"{line.where}: `captions` must be a list of strings. Correct the line.")
        rows.append(Captioned(_field(entry, "image", str, line.where), tuple(captions), line.where))
    return rows


def _token(file: Path, split: str) -> list[Captioned]:
    wanted = _split_list(file.parent, split)
    found: dict[str, dict[str, str]] = {}
    where: dict[str, str] = {}
    for line in _lines(file):
        match = re.fullmatch(r"(.+)#(\d+)\t(.*)", line.text, re.DOTALL)
        if match is None:
            raise InvalidError(f"{line.where}: not of the form <image>#<n> TAB <caption>. Correct the line.")
        image, number, caption = match.groups()
        if number in found.setdefault(image, {}):
            raise InvalidError(f"{line.where}: {image}#{number} comes twice. Remove one of the two lines.")
        found[image][number] = caption
        where.setdefault(image, line.where)
    for image, place in (wanted or {}).items():
        if image not in found:
            raise InvalidError(f"{place}: image {image!r} has no caption in {file}. Take both from one release.")
    return [Captioned(i, tuple(found[i].values()), where[i]) for i in found if wanted is None or i in wanted]


def _split_list(folder: Path, split: str) -> dict[str, str] | None:
    """The image names of the list for `split` and the place of each; None when no list of any split lies there."""
    lists: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.txt")):
        if match := re.search(r"(?:^|[._ -])(train|dev|val|validation|test)(?:images)?\.txt$", path.name, re.IGNORECASE):
            lists.setdefault(_split_name(match[1]), []).append(path)
    if not lists:
        return None
    found = lists.get(_split_name(split), [])
    if len(found) != 1:
        names = ", ".join(path.name for paths in lists.values() for path in paths)
        raise ConfigError(f"{folder}: {len(found)} lists for split {split!r} among {names}. Keep exactly one for it.")
    # The lists of Flickr30k leave the suffix out.
    return {line.text if line.text.endswith(".jpg") else f"{line.text}.jpg": line.where for line in _lines(found[0])}


def _split_name(name: str) -> str:
    return {"dev": "val", "validation": "val"}.get(name.lower(), name.lower())


def _locate(rows: Sequence[Captioned], root: Path) -> list[Path]:
    """The file of each image, inside `root`."""
    inside, paths = root.resolve(), []
    for row in rows:
        name = Path(row.folder, row.image)
        if name.is_absolute() or ".." in name.parts or not row.image or "\0" in str(name):
            raise InvalidError(f"{row.where}: {str(name)!r} is not a path inside {root}. Use a relative path without `..`.")
        path = _place(row, root)
        if path is None:
            missing = sum(_place(other, root) is None for other in rows)
            hint = " That one is a known defect of Flickr8k: delete its lines." if row.image.endswith(".jpg.1") else ""
            raise MissingError(
                f"{row.where}: image {row.image!r} is not in {root}, nor in its {', '.join(IMAGE_FOLDERS[1:])} "
                f"({missing:,} of {len(rows):,} images are missing).{hint} Put the images there."
            )
        if not path.resolve().is_relative_to(inside):
            raise InvalidError(f"{row.where}: {path} is a link that leads out of {root}. Put the file itself there.")
        paths.append(path)
    return paths


def _place(row: Captioned, root: Path) -> Path | None:
    places = (root / folder / row.folder / row.image for folder in IMAGE_FOLDERS)
    try:
        return next((place for place in places if place.is_file()), None)
    except OSError:  # a name that no file can have
        return None


def _text(file: Path) -> str:
    try:
        data = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
        return data.decode()
    except OSError as error:
        raise MissingError(f"{file}: cannot be read ({error.strerror}). Check the file and its permissions.") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidError(f"{file}, line {line}: not UTF-8 ({error.reason}). Convert the file to UTF-8.") from None


def _lines(file: Path) -> Iterator[Line]:
    """The lines, ended by LF or CRLF only: a caption may hold U+2028 and its like."""
    lines = _text(file).split("\n")
    for n, text in enumerate(lines[:-1] if lines[-1] == "" else lines, 1):
        yield Line(text.removesuffix("\r"), f"{file}, line {n}")


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{where}, line {error.lineno}" if "\n" in text else where
        raise InvalidError(f"{place}: not JSON ({error.msg}, column {error.colno}). Correct it, or copy it again.") from None
    except RecursionError:
        raise InvalidError(f"{where}: JSON nested too deeply. Copy the file again.") from None


def _field(entry: Any, key: str, kind: type, where: str) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind):
        raise InvalidError(f"{where}: `{key}` must be a {kind.__name__} and is {json.dumps(value)[:40]}. Correct the entry.")
    return value
