"""The layouts of CLIP_benchmark's data folders: COCO captions JSON, Flickr annotation files, cached JSON a language.

coco    coco_<split>_karpathy.json      {"images": [{"id", "file_name"}], "annotations": [{"id", "image_id", "caption"}]};
                                        likewise annotations/captions_val2017.json, when that file itself is named
flickr  flickr30k_<split>_karpathy.txt  a line `image,caption`, then <id>.jpg,<caption> with the quotes of CSV; flickr8k likewise,
                                        and flickr30k_<split>_zh.txt in Chinese
cached  xtd10-<language>.json           {"image_paths": [...], "annotations": [...], "indices": [...]}; all names are in CACHED

Studied on clip_benchmark 1.6.2, https://github.com/LAION-AI/CLIP_benchmark (clip_benchmark/datasets/).
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from evals.data.captioned import Captioned, Release, field_of, quoted_caption, read_json, read_text
from evals.data.releases import IMAGE_FOLDERS, json_keys, located, only
from evals.schema import ConfigError, InvalidError, MissingError, Source

COCO_FOLDERS = ("", "val2014", "train2014", "val2017", "images")
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
    "", "images", "multilingual_mscoco/images", "xtd10/images", "xtd200/images", "flickr30k-200/images", "xm3600/images"
)  # fmt: skip

_COCO_NAME = re.compile(r"coco_(.+)_karpathy\.json")
_FLICKR_NAME = re.compile(r"(flickr30k|flickr8k)_(.+)_(karpathy|zh)\.txt")
_CACHED_NAME = re.compile(rf"({'|'.join(CACHED)})-(.+)\.json")


def find_coco(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return (
            [path]
            if path.suffix == ".json" and {"images", "annotations"} <= json_keys(path)
            else []
        )
    file = path / f"coco_{split}_karpathy.json"
    return [file] if file.is_file() else []


def find_flickr_csv(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return [path] if _FLICKR_NAME.fullmatch(path.name) else []
    files = [
        [path / f"{name}_{split}_{ending}.txt" for ending in FLICKR_ENDINGS.values()]
        for name in ("flickr30k", "flickr8k")
    ]
    return [there[0] for of in files if (there := [file for file in of if file.is_file()])]


def find_clip_benchmark_json(path: Path, split: str) -> list[Path]:
    """One file for each benchmark in a folder: the English one if it is there, since it stands for those of all languages."""
    if path.is_file():
        return (
            [path]
            if path.suffix == ".json" and {"image_paths", "annotations"} <= json_keys(path)
            else []
        )
    # What Crossmodal-3600's files were made from lies beside them, and has all captions where they have the first.
    names = [
        name
        for name in CACHED
        if name != "crossmodal3600_captions" or not (path / "xm3600" / "captions.jsonl").is_file()
    ]
    files = [
        sorted(path.glob(f"{name}-*.json"), key=lambda file: ("-en" not in file.name, file.name))
        for name in names
    ]
    return [of[0] for of in files if of]


def read_coco(file: Path, source: Source) -> Release:
    """Images in the order of their ids, captions in that of the annotations, verbatim, line ends inside included."""
    if match := _COCO_NAME.fullmatch(file.name):
        _check_split(file, match[1], source)
    # COCO's own archives put the annotations in a folder beside those of the images.
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    return Release(
        "coco", str(file), {only(source, file): _coco(file)}, located(root, COCO_FOLDERS)
    )


def read_flickr_csv(place: Path, source: Source) -> Release:
    """Images in the order of their first line, captions in that of the lines.

    With `quotes: clip_benchmark` the captions become those that CLIP_benchmark's loader makes of a file of pandas: the quotes
    are put back later, and the space at the end of a line is dropped here.
    """
    match = _FLICKR_NAME.fullmatch(place.name)
    assert match is not None
    name, split, ending = match.groups()
    _check_split(place, split, source)
    _check_language(
        place, next(language for language, of in FLICKR_ENDINGS.items() if of == ending), source
    )
    if unknown := [subset for subset in source.subsets if subset not in FLICKR_ENDINGS]:
        raise ConfigError(
            f"{place}: is for {', '.join(FLICKR_ENDINGS)}, and {unknown[0]!r} is wanted. Choose with --subsets."
        )
    files = {
        subset: place.with_name(f"{name}_{split}_{FLICKR_ENDINGS[subset]}.txt")
        for subset in source.subsets
    }
    _check_present(files.items())
    stripped = source.protocol.quotes == "clip_benchmark"
    rows = {
        subset: [_stripped(row) for row in _flickr(file)] if stripped else _flickr(file)
        for subset, file in files.items()
    }
    return Release("flickr_csv", str(place), rows, located(place.parent, FLICKR_FOLDERS))


def read_clip_benchmark_json(place: Path, source: Source) -> Release:
    """One caption an image, from the file of each language beside `place`.

    The paths of images are those of the machine that wrote the file: an image is known by its name, and looked for in the
    folders at the end of its path, then in CACHED_FOLDERS.
    """
    if match := _CACHED_NAME.fullmatch(place.name):
        _check_language(place, match[2], source)
        files = {subset: place.with_name(f"{match[1]}-{subset}.json") for subset in source.subsets}
    else:
        files = {only(source, place): place}
    _check_present(files.items())
    given = {subset: _cached(file) for subset, file in files.items()}
    rows = {subset: [row for _, row in pairs] for subset, pairs in given.items()}
    folders = _folders_below(
        place.parent, (folders for pairs in given.values() for folders, _ in pairs)
    )
    return Release(
        "clip_benchmark_json", str(place), rows, located(place.parent, [*folders, *CACHED_FOLDERS])
    )


def _check_split(file: Path, split: str, source: Source) -> None:
    if split != source.split:
        raise ConfigError(
            f"{file}: holds split {split!r}, and {source.split!r} is wanted. Point at the file of that split."
        )


def _check_language(file: Path, language: str, source: Source) -> None:
    """A file that the user named is in a language that is wanted; one that was found in a folder stands for all."""
    if source.folder == file and language not in source.subsets:
        wanted = ", ".join(source.subsets)
        raise ConfigError(
            f"{file}: is in {language!r}, and {wanted} is wanted. Point at that file, or choose with --subsets."
        )


def _check_present(files: Iterable[tuple[str, Path]]) -> None:
    for subset, file in files:
        if not file.is_file():
            raise MissingError(
                f"{file}: not there, and {subset!r} is wanted. Put it there, or choose others with --subsets."
            )


def _coco(file: Path) -> list[Captioned]:
    content = read_json(read_text(file), str(file))
    images = _by_id(field_of(content, "images", list, str(file)), f"{file}, images")
    annotations = _by_id(field_of(content, "annotations", list, str(file)), f"{file}, annotations")
    captions: dict[int, list[str]] = {key: [] for key in images}
    for entry, where in annotations.values():
        image = field_of(entry, "image_id", int, where)
        if image not in captions:
            raise InvalidError(
                f"{where}: image_id {image} is not the id of an image of the file. Take both from one release."
            )
        captions[image].append(field_of(entry, "caption", str, where))
    return [
        Captioned(
            field_of(entry, "file_name", str, where), tuple(captions[key]), f"{where} (id {key})"
        )
        for key, (entry, where) in sorted(images.items())
    ]


def _by_id(entries: Sequence[Any], name: str) -> dict[int, tuple[Any, str]]:
    """The entries by their `id`, each with its place, in their order."""
    found: dict[int, tuple[Any, str]] = {}
    for n, entry in enumerate(entries):
        key = field_of(entry, "id", int, f"{name}[{n}]")
        if key in found:
            raise InvalidError(
                f"{name}[{n}]: id {key} is that of {found[key][1]} too. Give each its own id."
            )
        found[key] = (entry, f"{name}[{n}]")
    return found


def _flickr(file: Path) -> list[Captioned]:
    rows = _csv_rows(file)
    header, where = next(rows, ([], f"{file}, line 1"))
    if len(header) != 2 or Path(header[0]).suffix:
        raise InvalidError(
            f"{where}: the first line must be `image,caption` and is not. Put that line there."
        )
    captions: dict[str, list[str]] = {}
    places: dict[str, str] = {}
    for cells, where in rows:
        if len(cells) != 2:
            raise InvalidError(
                f"{where}: {len(cells)} cells, where image,caption are two. Put a caption with commas in quotes."
            )
        captions.setdefault(cells[0], []).append(cells[1])
        places.setdefault(cells[0], where)
    return [Captioned(image, tuple(of), places[image]) for image, of in captions.items()]


def _csv_rows(file: Path) -> Iterator[tuple[list[str], str]]:
    """The rows of a CSV file, each with the line where it starts; empty lines hold nothing and are passed over."""
    reader, line = csv.reader(StringIO(read_text(file), newline=""), strict=True), 1
    try:
        for cells in reader:
            if cells:
                yield cells, f"{file}, line {line}"
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidError(
            f"{file}, line {line}: not CSV ({error}). Correct the quotes from there on."
        ) from None


def _stripped(row: Captioned) -> Captioned:
    bare = tuple(
        caption if caption != quoted_caption(caption) else caption.rstrip()
        for caption in row.captions
    )
    return Captioned(row.image, bare, row.where)


def _cached(file: Path) -> list[tuple[tuple[str, ...], Captioned]]:
    """Each image with the folders of its path as written, from the top down."""
    content = read_json(read_text(file), str(file))
    paths, captions = (
        field_of(content, "image_paths", list, str(file)),
        field_of(content, "annotations", list, str(file)),
    )
    # Every loader of CLIP_benchmark but XTD10's misspells the key.
    indices = next((content[key] for key in ("indices", "indicies") if key in content), paths)
    if not isinstance(indices, list) or not len(paths) == len(captions) == len(indices):
        raise InvalidError(
            f"{file}: {len(paths)} image_paths and {len(captions)} annotations, or other indices. "
            "CLIP_benchmark cuts to the shortest and does not say so. Delete the file and make it again."
        )
    rows = []
    for n, (path, caption) in enumerate(zip(paths, captions, strict=True)):
        where = f"{file}, image_paths[{n}]"
        if not isinstance(path, str) or not isinstance(caption, str):
            raise InvalidError(
                f"{where}: a path or its annotation is not a string. Delete the file and make it again."
            )
        *folders, name = re.split(r"[/\\]", path)
        rows.append((tuple(folders), Captioned(name, (caption,), where)))
    return rows


def _folders_below(root: Path, paths: Iterable[tuple[str, ...]]) -> list[str]:
    """The ends of the paths that are folders below `root`, longest first."""
    ends = {}
    for parts in dict.fromkeys(paths):
        kept = [part for part in parts if part not in ("", ".")]
        after = len(kept) - kept[::-1].index("..") if ".." in kept else 0
        ends.update({"/".join(kept[n:]): len(kept) - n for n in range(after, len(kept))})
    return [end for end in sorted(ends, key=lambda end: -ends[end]) if _is_folder(root / end)]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that no folder can have
        return False
