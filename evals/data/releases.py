"""The layouts of the original releases and our own: Karpathy JSON, Flickr `.token`, JSON lines.

karpathy  dataset_*.json, else any *.json of a folder with these keys
          {"images": [{"filename", "split", "sentences": [{"raw"}], "filepath"?}]}
token     *.token[.txt]
          <file>#<n> TAB <caption>; a list such as Flickr_8k.testImages.txt selects the split
jsonl     captions.jsonl
          {"image": "a.jpg", "captions": ["...", ...]} per line; further keys are allowed and
          unused; "caption" with one text or a list of them is understood
          captions/<subset>.jsonl, when a benchmark has several subsets

Image names are relative to the folder of that file, or to one of IMAGE_FOLDERS in it.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from evals.data.captioned import Captioned, Release
from evals.data.checks import id_problem
from evals.data.fields import field_of, strings_of
from evals.data.image_formats import CONVERT, UNREAD
from evals.data.images import Images, image_files
from evals.data.json_marks import first_keys, json_keys, jsons_with
from evals.paths import leads_out
from evals.reading import read_json, read_jsonl, read_lines
from evals.schema import ConfigError, InvalidError, MissingError, Source

OURS = "captions.jsonl"
IMAGE_FOLDERS = ("", "images", "Flicker8k_Dataset", "flickr30k-images")

_TOKEN_LINE = re.compile(r"(.+)#(\d+)\t(.*)", re.DOTALL)
# Flickr_8k.testImages.txt, test.txt, flickr30k test.txt.
_SPLIT_LIST = re.compile(
    r"(?:^|[._ -])(train|dev|val|validation|test)(?:images)?\.txt$", re.IGNORECASE
)


def find_karpathy(path: Path, split: str) -> list[Path]:
    if path.is_file():
        keys = json_keys(path) if path.suffix == ".json" else frozenset()
        return [path] if "images" in keys and "annotations" not in keys else []
    # A folder of `datasets` has a dataset_info.json: names alone do not tell.
    named = [file for file in sorted(path.glob("dataset_*.json")) if "images" in json_keys(file)]
    return named or jsons_with(path, "images[].sentences")


def find_token(path: Path, split: str) -> list[Path]:
    files = path.iterdir() if path.is_dir() else [path]
    return sorted(file for file in files if _is_token(file.name) and file.is_file())


def find_jsonl(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return [path] if _is_ours(path) else []
    if (path / OURS).is_file():
        return [path / OURS] if _is_ours(path / OURS) else []
    # A benchmark in several languages, as `evals.data prepare` packs it.
    if any((path / "captions").glob("*.jsonl")):
        return [path / "captions"]
    return [file for file in sorted(path.glob("*.jsonl")) if _is_ours(file)]


def languages_of_jsonl(place: Path) -> list[str]:
    """Those of the folder `captions`, a file per language."""
    return [file.stem for file in sorted(place.glob("*.jsonl"))] if place.is_dir() else []


def read_karpathy(file: Path, source: Source) -> Release:
    rows = {only(source, file): _karpathy(file, source.split)}
    return Release("karpathy", str(file), rows, located(file.parent))


def read_token(file: Path, source: Source) -> Release:
    rows = {only(source, file): _token(file, source.split)}
    return Release("token", str(file), rows, located(file.parent))


def read_plain_jsonl(place: Path, source: Source) -> Release:
    if place.is_file():
        rows = {only(source, place): _plain_rows(place)}
    else:
        rows = {subset: _plain_rows(place / f"{subset}.jsonl") for subset in source.subsets}
    return Release("jsonl", str(place), rows, located(place.parent))


def captions_of(entry: Any, where: str) -> tuple[str, ...]:
    """The captions of an entry: the list `captions`, or `caption`, which may be one text.

    InvalidError names what is there instead; an entry with both says nothing certain.
    """
    if not isinstance(entry, dict) or "caption" not in entry:
        return strings_of(entry, "captions", where)
    if "captions" in entry:
        raise InvalidError(f"{where}: has `captions` and `caption`. Keep one of them.")
    if isinstance(entry["caption"], list):
        return strings_of(entry, "caption", where)
    return (field_of(entry, "caption", str, where, noun="a string, or a list of them"),)


def only(source: Source, place: Path) -> str:
    """The one subset that a layout of one language can be; ConfigError when several are wanted."""
    if len(source.subsets) > 1:
        raise ConfigError(
            f"{place}: holds one language, and {', '.join(source.subsets)} are wanted. "
            "Name the one with --subsets."
        )
    return source.subsets[0]


def located(
    root: Path, folders: Sequence[str] = IMAGE_FOLDERS
) -> Callable[[Sequence[Captioned]], Images]:
    """Image files below `root`, or below one of `folders` in it.

    No name may lead out of `root`. Links may: whoever made the folder put them there, often to a
    store of photos on another disk.
    """
    return lambda rows: image_files(_locate(rows, root, folders))


def _is_token(name: str) -> bool:
    # Flickr8k.lemma.token.txt holds lemmas, not captions.
    return name.endswith((".token", ".token.txt")) and ".lemma." not in name


def _is_ours(file: Path) -> bool:
    if file.suffix != ".jsonl":
        return False
    keys = first_keys(file)
    # Crossmodal-3600 has a captions.jsonl too. What else one of ours lacks is said when it is read.
    if file.name == OURS:
        return "image/key" not in keys
    return "image" in keys and bool(keys & {"captions", "caption"})


def _karpathy(file: Path, split: str) -> list[Captioned]:
    rows: list[Captioned] = []
    splits: set[str] = set()
    for number, entry in enumerate(field_of(read_json(file), "images", list, str(file))):
        where = f"{file}, images[{number}]"
        entry_split = field_of(entry, "split", str, where)
        splits.add(entry_split)
        if entry_split == split:
            rows.append(_karpathy_row(entry, where))
    if not rows:
        names = ", ".join(sorted(splits)) or "none"
        raise InvalidError(
            f"{file}: no image of split {split!r}; its splits are {names}. "
            "Check the file, and the split of the row, or name one with --split."
        )
    return rows


def _karpathy_row(entry: Any, where: str) -> Captioned:
    sentences = field_of(entry, "sentences", list, where)
    captions = tuple(field_of(sentence, "raw", str, where) for sentence in sentences)
    folder = field_of(entry, "filepath", str, where) if "filepath" in entry else ""
    return Captioned(field_of(entry, "filename", str, where), captions, where, folder)


def _plain_rows(file: Path) -> list[Captioned]:
    rows: list[Captioned] = []
    for entry, where in read_jsonl(file):
        captions = captions_of(entry, where)
        rows.append(Captioned(field_of(entry, "image", str, where), captions, where))
    return rows


def _token(file: Path, split: str) -> list[Captioned]:
    captions: dict[str, dict[str, str]] = {}
    places: dict[str, str] = {}
    for line in read_lines(file):
        match = _TOKEN_LINE.fullmatch(line.text)
        if match is None:
            raise InvalidError(
                f"{line.where}: not of the form <image>#<n> TAB <caption>. Correct the line."
            )
        image, number, caption = match.groups()
        if number in captions.setdefault(image, {}):
            raise InvalidError(
                f"{line.where}: {image}#{number} comes twice. Remove one of the two lines."
            )
        captions[image][number] = caption
        places.setdefault(image, line.where)

    # Without any list the file is taken for one split, as people cut it themselves.
    listed = _split_list(file.parent, split)
    for image, where in (listed or {}).items():
        if image not in captions:
            raise InvalidError(
                f"{where}: image {image!r} has no caption in {file}. Take both from one release."
            )
    return [
        Captioned(image, tuple(numbered.values()), places[image])
        for image, numbered in captions.items()
        if listed is None or image in listed
    ]


def _split_list(folder: Path, split: str) -> dict[str, str] | None:
    """The image names of the list for `split`, each with its place.

    None when no list of any split lies in the folder.
    """
    lists: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.txt")):
        match = _SPLIT_LIST.search(path.name)
        if match:
            lists.setdefault(_split_name(match[1]), []).append(path)
    if not lists:
        return None
    of_split = lists.get(_split_name(split), [])
    if len(of_split) != 1:
        names = ", ".join(path.name for paths in lists.values() for path in paths)
        raise ConfigError(
            f"{folder}: {len(of_split)} lists for split {split!r} among {names}. "
            "Keep exactly one for it."
        )
    places: dict[str, str] = {}
    for line in read_lines(of_split[0]):
        # The lists of Flickr30k leave the suffix out.
        name = line.text if line.text.endswith(".jpg") else f"{line.text}.jpg"
        places[name] = line.where
    return places


def _split_name(name: str) -> str:
    return {"dev": "val", "validation": "val"}.get(name.lower(), name.lower())


def _locate(rows: Sequence[Captioned], root: Path, folders: Sequence[str]) -> list[Path]:
    """The file of each image."""
    _refuse_unread(rows)
    paths: list[Path] = []
    for row in rows:
        # What an annotation file says is a stranger's word; what lies on this disk is not.
        name = str(Path(row.folder, row.image))
        if leads_out(name) or id_problem(name):
            raise InvalidError(
                f"{row.where}: {name!r} is not a path inside {root}. "
                "Use a relative path without `..`."
            )
        path = _file_of(row, root, folders)
        if path is None:
            _refuse_missing(row, rows, root, folders)
        paths.append(path)
    return paths


def _refuse_unread(rows: Sequence[Captioned]) -> None:
    """Refuse images whose names say that they are of a format that is not read."""
    # By name, before anything is decoded: the line of the table is known here.
    forms = [UNREAD.get(Path(row.image).suffix.lower()) for row in rows]
    unread = [(row, form) for row, form in zip(rows, forms, strict=True) if form]
    if unread:
        row, form = unread[0]
        raise InvalidError(
            f"{row.where}: image {row.image!r} is {form}, which is not read "
            f"({len(unread):,} of {len(rows):,} images). {CONVERT}, and write that name here."
        )


def _refuse_missing(
    row: Captioned, rows: Sequence[Captioned], root: Path, folders: Sequence[str]
) -> NoReturn:
    missing = sum(_file_of(any_row, root, folders) is None for any_row in rows)
    hint = ""
    if row.image.endswith(".jpg.1"):
        hint = " That one is a known defect of Flickr8k: delete its lines."
    # Disks of macOS and Windows fold case, those of Linux do not: `dog.JPG` is not `dog.jpg` there.
    parent = (root / row.folder / row.image).parent
    siblings = sorted(entry.name for entry in parent.iterdir()) if parent.is_dir() else []
    wanted = Path(row.image).name
    twins = [name for name in siblings if name.lower() == wanted.lower()]
    if twins:
        hint = f" {twins[0]!r} is there: upper and lower case must be the same in both."
    raise MissingError(
        f"{row.where}: image {row.image!r} is not in {root}, "
        f"nor in its {', '.join(filter(None, folders))} "
        f"({missing:,} of {len(rows):,} images are missing).{hint} Put the images there."
    )


def _file_of(row: Captioned, root: Path, folders: Sequence[str]) -> Path | None:
    for folder in folders:
        path = root / folder / row.folder / row.image
        try:
            if path.is_file():
                return path
        except OSError:
            # A name that no file can have.
            return None
    return None
