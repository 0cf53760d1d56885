"""The layouts of CLIP_benchmark's data folders: Flickr annotations and cached JSON.

flickr  flickr30k_<split>_karpathy.txt; flickr8k likewise, and flickr30k_<split>_zh.txt in Chinese
        a line `image,caption`, then <id>.jpg,<caption> with the quotes of CSV
cached  xtd10-<language>.json; all names are in CACHED
        {"image_paths": [...], "annotations": [...], "indices": [...]}

Studied on clip_benchmark 1.6.2, https://github.com/LAION-AI/CLIP_benchmark (its datasets/).
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from evals.counts import counted
from evals.data.captioned import Captioned, Release, quoted_caption
from evals.data.fields import field_of
from evals.data.json_marks import json_keys
from evals.data.releases import IMAGE_FOLDERS, located, only
from evals.reading import read_json, read_text
from evals.schema import ConfigError, InvalidError, MissingError, Source

FLICKR_FOLDERS = (*IMAGE_FOLDERS, "Images", "flickr30k_images")
FLICKR_ENDINGS = {"en": "karpathy", "zh": "zh"}
CACHED = (
    "multilingual_mscoco_captions",
    "xtd10",
    "xtd200",
    "flickr30k_200",
    "crossmodal3600_captions",
)
CACHED_FOLDERS = (
    "",
    "images",
    "multilingual_mscoco/images",
    "xtd10/images",
    "xtd200/images",
    "flickr30k-200/images",
    "xm3600/images",
)

FLICKR_NAME = re.compile(r"(flickr30k|flickr8k)_(.+)_(karpathy|zh)\.txt")
_CACHED_NAME = re.compile(rf"({'|'.join(CACHED)})-(.+)\.json")
_REMAKE = "Delete the file and make it again."


class _Cached(NamedTuple):
    """An image of a cached file, with the folders of its path as written, from the top down."""

    folders: tuple[str, ...]
    row: Captioned


def find_flickr_csv(path: Path, split: str) -> list[Path]:
    """One file per data set in a folder, the English one if it is there."""
    if path.is_file():
        return [path] if FLICKR_NAME.fullmatch(path.name) else []
    places: list[Path] = []
    for name in ("flickr30k", "flickr8k"):
        files = [path / f"{name}_{split}_{ending}.txt" for ending in FLICKR_ENDINGS.values()]
        places += [file for file in files if file.is_file()][:1]
    return places


def find_clip_benchmark_json(path: Path, split: str) -> list[Path]:
    """One file per benchmark in a folder: it stands for those of all languages."""
    if path.is_file():
        is_cached = path.suffix == ".json" and {"image_paths", "annotations"} <= json_keys(path)
        return [path] if is_cached else []
    places: list[Path] = []
    for name in CACHED:
        # What Crossmodal-3600's files were made from lies beside them, and has all captions where
        # they have the first.
        if name == "crossmodal3600_captions" and (path / "xm3600" / "captions.jsonl").is_file():
            continue
        files = path.glob(f"{name}-*.json")
        places += sorted(files, key=lambda file: ("-en" not in file.name, file.name))[:1]
    return places


def languages_of_flickr(place: Path) -> list[str]:
    """Those whose files lie beside each other."""
    match = FLICKR_NAME.fullmatch(place.name)
    assert match is not None
    name, split, _ = match.groups()
    files = {
        language: place.with_name(f"{name}_{split}_{ending}.txt")
        for language, ending in FLICKR_ENDINGS.items()
    }
    return [language for language, file in files.items() if file.is_file()]


def languages_of_cached(place: Path) -> list[str]:
    """Those whose files lie beside each other; a file that is called otherwise has one language."""
    match = _CACHED_NAME.fullmatch(place.name)
    if match is None:
        return []
    prefix = f"{match[1]}-"
    return [file.stem.removeprefix(prefix) for file in sorted(place.parent.glob(f"{prefix}*.json"))]


def read_flickr_csv(place: Path, source: Source) -> Release:
    """Images in the order of their first line, captions in that of the lines.

    With `quotes: clip_benchmark` the captions become those that CLIP_benchmark's loader makes of a
    file of pandas: the quotes are put back later, and the space at the end of a line is dropped
    here.
    """
    match = FLICKR_NAME.fullmatch(place.name)
    assert match is not None
    name, split, ending = match.groups()
    languages = {ending: language for language, ending in FLICKR_ENDINGS.items()}
    check_split(place, split, source)
    _check_language(place, languages[ending], source)
    for subset in source.subsets:
        if subset not in FLICKR_ENDINGS:
            raise ConfigError(
                f"{place}: is for {', '.join(FLICKR_ENDINGS)}, and {subset!r} is wanted. "
                "Choose with --subsets."
            )
    files = {
        subset: place.with_name(f"{name}_{split}_{FLICKR_ENDINGS[subset]}.txt")
        for subset in source.subsets
    }
    _check_present(files)
    rows = {subset: _flickr(file) for subset, file in files.items()}
    if source.protocol.quotes == "clip_benchmark":
        rows = {subset: list(map(_stripped, unstripped)) for subset, unstripped in rows.items()}
    return Release("flickr_csv", str(place), rows, located(place.parent, FLICKR_FOLDERS))


def read_clip_benchmark_json(place: Path, source: Source) -> Release:
    """One caption per image, from the file of each language beside `place`.

    The paths of images are those of the machine that wrote the file: an image is known by its name,
    and looked for in the folders at the end of its path, then in CACHED_FOLDERS.
    """
    match = _CACHED_NAME.fullmatch(place.name)
    if match:
        _check_language(place, match[2], source)
        files = {subset: place.with_name(f"{match[1]}-{subset}.json") for subset in source.subsets}
    else:
        files = {only(source, place): place}
    _check_present(files)
    rows: dict[str, list[Captioned]] = {}
    paths: dict[tuple[str, ...], None] = {}
    for subset, file in files.items():
        entries = _cached(file)
        rows[subset] = [entry.row for entry in entries]
        paths |= dict.fromkeys(entry.folders for entry in entries)
    folders = [*_folders_below(place.parent, paths), *CACHED_FOLDERS]
    return Release("clip_benchmark_json", str(place), rows, located(place.parent, folders))


def check_split(file: Path, split: str, source: Source) -> None:
    """Refuse a file whose name says that it is of another split than is wanted."""
    if split != source.split:
        raise ConfigError(
            f"{file}: holds split {split!r}, and {source.split!r} is wanted. "
            "Point at the file of that split."
        )


def _check_language(file: Path, language: str, source: Source) -> None:
    """Refuse a file that the user named and that is in a language nobody wants.

    A file that was found in a folder stands for those of all languages.
    """
    if source.folder == file and language not in source.subsets:
        raise ConfigError(
            f"{file}: is in {language!r}, and {', '.join(source.subsets)} is wanted. "
            "Point at that file, or choose with --subsets."
        )


def _check_present(files: Mapping[str, Path]) -> None:
    for subset, file in files.items():
        if not file.is_file():
            raise MissingError(
                f"{file}: not there, and {subset!r} is wanted. "
                "Put it there, or choose others with --subsets."
            )


def _flickr(file: Path) -> list[Captioned]:
    rows = csv_rows(file)
    header, where = next(rows, ([], f"{file}, line 1"))
    # A first line with the name of an image is data: without its header it would be lost in
    # silence.
    if len(header) != 2 or Path(header[0]).suffix:
        raise InvalidError(
            f"{where}: the first line must be `image,caption` and is not. Put that line there."
        )
    captions: dict[str, list[str]] = {}
    places: dict[str, str] = {}
    for cells, where in rows:
        if len(cells) != 2:
            raise InvalidError(
                f"{where}: {counted(len(cells), 'cell')}, where image,caption are two. "
                "Put a caption with commas in quotes."
            )
        image, caption = cells
        captions.setdefault(image, []).append(caption)
        places.setdefault(image, where)
    return [Captioned(image, tuple(texts), places[image]) for image, texts in captions.items()]


def csv_rows(file: Path, delimiter: str = ",") -> Iterator[tuple[list[str], str]]:
    """The rows of a CSV file, each with the line where it starts; empty lines are passed over."""
    text = StringIO(read_text(file), newline="")
    reader, line = csv.reader(text, delimiter=delimiter, strict=True), 1
    try:
        for cells in reader:
            if cells:
                yield cells, f"{file}, line {line}"
            # A cell in quotes may go over several lines.
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidError(
            f"{file}, line {line}: not CSV ({error}). Correct the quotes from there on."
        ) from None


def _stripped(row: Captioned) -> Captioned:
    captions: list[str] = []
    for caption in row.captions:
        # Captions that are quoted in the file end with the quote, not with the space.
        is_quoted = caption != quoted_caption(caption)
        captions.append(caption if is_quoted else caption.rstrip())
    return replace(row, captions=tuple(captions))


def _cached(file: Path) -> list[_Cached]:
    content = read_json(file)
    paths = field_of(content, "image_paths", list, str(file))
    captions = field_of(content, "annotations", list, str(file))
    # Every loader of CLIP_benchmark but XTD10's misspells the key.
    indices = content.get("indices", content.get("indicies", paths))
    if not isinstance(indices, list) or not len(paths) == len(captions) == len(indices):
        raise InvalidError(
            f"{file}: {len(paths)} image_paths and {len(captions)} annotations, or other indices. "
            f"CLIP_benchmark cuts to the shortest and does not say so. {_REMAKE}"
        )
    entries: list[_Cached] = []
    for number, (path, caption) in enumerate(zip(paths, captions, strict=True)):
        where = f"{file}, image_paths[{number}]"
        if not isinstance(path, str) or not isinstance(caption, str):
            raise InvalidError(f"{where}: a path or its annotation is not a string. {_REMAKE}")
        # Made on Linux or on Windows.
        *folders, name = re.split(r"[/\\]", path)
        entries.append(_Cached(tuple(folders), Captioned(name, (caption,), where)))
    return entries


def _folders_below(root: Path, paths: Iterable[tuple[str, ...]]) -> list[str]:
    """The ends of the paths that are folders below `root`, longest first."""
    lengths: dict[str, int] = {}
    for path in paths:
        parts = [part for part in path if part not in ("", ".")]
        if ".." in parts:
            parts = parts[len(parts) - parts[::-1].index("..") :]
        for start in range(len(parts)):
            lengths["/".join(parts[start:])] = len(parts) - start
    # The longest end is the most exact: `val2014/a.jpg` before `a.jpg`.
    longest_first = sorted(lengths, key=lambda end: -lengths[end])
    return [end for end in longest_first if _is_folder(root / end)]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        # A name that no folder can have.
        return False
