"""The layouts of the original releases and our own: Karpathy JSON, Flickr `.token` files, plain JSON lines.

karpathy  dataset_*.json   {"images": [{"filename", "split", "sentences": [{"raw"}], "filepath"?}]}, filtered by split
token     *.token[.txt]    <file>#<n> TAB <caption>; a list such as Flickr_8k.testImages.txt beside it selects the split
jsonl     captions.jsonl   {"image": "a.jpg", "captions": ["...", ...]} per line; further keys are allowed and unused
          captions/<subset>.jsonl, when a benchmark has several subsets

Image names are relative to the folder of that file, or to one of IMAGE_FOLDERS in it.
"""

import functools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from evals.data.captioned import Captioned, Release, field_of, read_json, read_lines, read_text
from evals.data.images import Images, image_files
from evals.schema import ConfigError, InvalidError, MissingError, Source

IMAGE_FOLDERS = ("", "images", "Flicker8k_Dataset", "flickr30k-images")


def find_karpathy(path: Path, split: str) -> list[Path]:
    if path.is_file():
        keys = json_keys(path) if path.suffix == ".json" else frozenset()
        return [path] if "images" in keys and "annotations" not in keys else []
    return sorted(path.glob("dataset_*.json"))


def find_token(path: Path, split: str) -> list[Path]:
    # Flickr8k.lemma.token.txt holds lemmas, not captions.
    return [
        file
        for file in ([path] if path.is_file() else sorted(path.iterdir()))
        if file.is_file()
        and file.name.endswith((".token", ".token.txt"))
        and ".lemma." not in file.name
    ]


def find_jsonl(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".jsonl" and _plain(path) else []
    if (path / "captions.jsonl").is_file():
        return [path / "captions.jsonl"] if _plain(path / "captions.jsonl") else []
    if any((path / "captions").glob("*.jsonl")):
        return [path / "captions"]
    return [file for file in sorted(path.glob("*.jsonl")) if _plain(file)]


def read_karpathy(file: Path, source: Source) -> Release:
    return Release(
        "karpathy",
        str(file),
        {only(source, file): _karpathy(file, source.split)},
        located(file.parent),
    )


def read_token(file: Path, source: Source) -> Release:
    return Release(
        "token", str(file), {only(source, file): _token(file, source.split)}, located(file.parent)
    )


def read_jsonl(place: Path, source: Source) -> Release:
    if place.is_file():
        return Release(
            "jsonl", str(place), {only(source, place): _jsonl(place)}, located(place.parent)
        )
    files = {subset: place / f"{subset}.jsonl" for subset in source.subsets}
    return Release(
        "jsonl",
        str(place),
        {subset: _jsonl(file) for subset, file in files.items()},
        located(place.parent),
    )


def first_keys(file: Path) -> set[str]:
    """The keys of the JSON object on the first line; none where there is no such object, which reading the file then reports."""
    try:
        with file.open("rb") as stream:
            entry = json.loads(stream.readline())
    except (OSError, ValueError, RecursionError):
        return set()
    return set(entry) if isinstance(entry, dict) else set()


def json_keys(file: Path) -> frozenset[str]:
    """The top-level keys of a JSON file, by which its layout is told; none when it is no object. It is read for that once."""
    return _json_keys(file, file.stat().st_mtime_ns)


def only(source: Source, place: Path) -> str:
    """The one subset that a layout of one language can be; ConfigError when several are wanted."""
    if len(source.subsets) > 1:
        raise ConfigError(
            f"{place}: holds one language, and {', '.join(source.subsets)} are wanted. Name the one with --subsets."
        )
    return source.subsets[0]


def located(
    root: Path, folders: Sequence[str] = IMAGE_FOLDERS
) -> Callable[[Sequence[Captioned]], Images]:
    """Image files below `root`, or below one of `folders` in it; none may lead out of it."""
    return lambda rows: image_files(_locate(rows, root, folders))


@functools.lru_cache(maxsize=1)
def _json_keys(file: Path, changed: int) -> frozenset[str]:
    content = read_json(read_text(file), str(file))
    return frozenset(content) if isinstance(content, dict) else frozenset()


def _plain(file: Path) -> bool:
    return "image/key" not in first_keys(file)  # Crossmodal-3600 has a captions.jsonl too


def _karpathy(file: Path, split: str) -> list[Captioned]:
    rows, splits = [], set()
    for n, entry in enumerate(
        field_of(read_json(read_text(file), str(file)), "images", list, str(file))
    ):
        where = f"{file}, images[{n}]"
        kept = field_of(entry, "split", str, where)
        splits.add(kept)
        if kept == split:
            raw = [
                field_of(sentence, "raw", str, where)
                for sentence in field_of(entry, "sentences", list, where)
            ]
            folder = field_of(entry, "filepath", str, where) if "filepath" in entry else ""
            rows.append(
                Captioned(field_of(entry, "filename", str, where), tuple(raw), where, folder)
            )
    if not rows:
        raise InvalidError(
            f"{file}: no image of split {split!r}; its splits are {', '.join(sorted(splits)) or 'none'}."
        )
    return rows


def _jsonl(file: Path) -> list[Captioned]:
    rows = []
    for line in read_lines(file):
        entry = read_json(line.text, line.where)
        captions = field_of(entry, "captions", list, line.where)
        if not all(isinstance(caption, str) for caption in captions):
            raise InvalidError(
                f"{line.where}: `captions` must be a list of strings. Correct the line."
            )
        rows.append(
            Captioned(field_of(entry, "image", str, line.where), tuple(captions), line.where)
        )
    return rows


def _token(file: Path, split: str) -> list[Captioned]:
    wanted = _split_list(file.parent, split)
    found: dict[str, dict[str, str]] = {}
    where: dict[str, str] = {}
    for line in read_lines(file):
        match = re.fullmatch(r"(.+)#(\d+)\t(.*)", line.text, re.DOTALL)
        if match is None:
            raise InvalidError(
                f"{line.where}: not of the form <image>#<n> TAB <caption>. Correct the line."
            )
        image, number, caption = match.groups()
        if number in found.setdefault(image, {}):
            raise InvalidError(
                f"{line.where}: {image}#{number} comes twice. Remove one of the two lines."
            )
        found[image][number] = caption
        where.setdefault(image, line.where)
    for image, place in (wanted or {}).items():
        if image not in found:
            raise InvalidError(
                f"{place}: image {image!r} has no caption in {file}. Take both from one release."
            )
    return [
        Captioned(i, tuple(found[i].values()), where[i])
        for i in found
        if wanted is None or i in wanted
    ]


def _split_list(folder: Path, split: str) -> dict[str, str] | None:
    """The image names of the list for `split` and the place of each; None when no list of any split lies there."""
    lists: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.txt")):
        if match := re.search(
            r"(?:^|[._ -])(train|dev|val|validation|test)(?:images)?\.txt$",
            path.name,
            re.IGNORECASE,
        ):
            lists.setdefault(_split_name(match[1]), []).append(path)
    if not lists:
        return None
    found = lists.get(_split_name(split), [])
    if len(found) != 1:
        names = ", ".join(path.name for paths in lists.values() for path in paths)
        raise ConfigError(
            f"{folder}: {len(found)} lists for split {split!r} among {names}. Keep exactly one for it."
        )
    # The lists of Flickr30k leave the suffix out.
    return {
        line.text if line.text.endswith(".jpg") else f"{line.text}.jpg": line.where
        for line in read_lines(found[0])
    }


def _split_name(name: str) -> str:
    return {"dev": "val", "validation": "val"}.get(name.lower(), name.lower())


def _locate(rows: Sequence[Captioned], root: Path, folders: Sequence[str]) -> list[Path]:
    """The file of each image, inside `root`."""
    inside, paths = root.resolve(), []
    for row in rows:
        name = Path(row.folder, row.image)
        if name.is_absolute() or ".." in name.parts or not row.image or "\0" in str(name):
            raise InvalidError(
                f"{row.where}: {str(name)!r} is not a path inside {root}. Use a relative path without `..`."
            )
        path = _place(row, root, folders)
        if path is None:
            missing = sum(_place(other, root, folders) is None for other in rows)
            hint = (
                " That one is a known defect of Flickr8k: delete its lines."
                if row.image.endswith(".jpg.1")
                else ""
            )
            raise MissingError(
                f"{row.where}: image {row.image!r} is not in {root}, nor in its {', '.join(filter(None, folders))} "
                f"({missing:,} of {len(rows):,} images are missing).{hint} Put the images there."
            )
        if not path.resolve().is_relative_to(inside):
            raise InvalidError(
                f"{row.where}: {path} is a link that leads out of {root}. Put the file itself there."
            )
        paths.append(path)
    return paths


def _place(row: Captioned, root: Path, folders: Sequence[str]) -> Path | None:
    places = (root / folder / row.folder / row.image for folder in folders)
    try:
        return next((place for place in places if place.is_file()), None)
    except OSError:  # a name that no file can have
        return None
