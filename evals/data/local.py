"""Captioned images in a local folder, recognised by what lies in it and read.

A folder that two layouts of evals.data.layouts recognise is refused: the user points at the file
that is meant. Of one that none recognises the message says what was looked for and what is nearest.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from evals.data.captioned import measured
from evals.data.image_formats import ENDINGS, has_image_ending
from evals.data.layouts import LAYOUTS
from evals.data.shards import is_pattern
from evals.schema import ConfigError, ImageText, MissingError, Source

# The splits of data of one's own, where none is named: this one, else the only one that is there.
SPLIT = "test"
SPLITS = ("test", "val", "validation", "dev", "train")
# Archives that no layout reads. A .tar is one of webdataset.
PACKED = (".zip", ".gz", ".tgz", ".7z", ".rar", ".xz", ".bz2")
# How many files of a folder are looked at for what it may be.
_LOOK = 1000
_SHOWN = 6
_HEAD = 4096  # letters of a table that are looked at
_WIDEST = 60  # letters of a first line that a message shows


class Place(NamedTuple):
    """A layout of LAYOUTS by its name, and the place that it reads."""

    layout: str
    path: Path


def load_local(source: Source) -> dict[str, ImageText]:
    """The subsets from `source.folder`: a folder, or the annotation file itself.

    ConfigError: the layout is not clear. MissingError: something is not there. InvalidError: it is
    broken.
    """
    if source.folder is None:
        raise MissingError(f"No folder was given for split {source.split!r}. Pass one with --data.")
    name, place = recognise(source.folder, source.split)
    release = LAYOUTS[name].read(place, source)
    return measured(release, source, {"path": release.place, **release.origin})


def languages(path: Path, split: str) -> tuple[str, ...]:
    """The languages of a folder or file, where its layout tells them apart; else none."""
    name, place = recognise(path, split)
    return tuple(LAYOUTS[name].languages(place))


def split_there(path: Path) -> str:
    """The split of captioned images that is meant where none is named."""
    if not path.is_dir():
        return SPLIT
    return only_split(path, lambda split: [place.path for place in _candidates(path, split)])


def only_split(path: Path, places_of: Callable[[str], Sequence[Path]]) -> str:
    """`test` where that is there, else the only split of which `places_of` gives places.

    ConfigError when there are several others.
    """
    if places_of(SPLIT):
        return SPLIT
    # `val`, `validation` and `dev` may be names of one place.
    split_of_places: dict[tuple[Path, ...], str] = {}
    for split in SPLITS:
        split_of_places.setdefault(tuple(places_of(split)), split)
    split_of_places.pop((), None)
    if len(split_of_places) > 1:
        raise ConfigError(
            f"{path}: has the splits {', '.join(split_of_places.values())}, and which is meant is "
            "not said. Name one with --split."
        )
    return next(iter(split_of_places.values()), SPLIT)


def recognise(path: Path, split: str) -> Place:
    """The layout of a folder or an annotation file, and the place in it to read."""
    if is_pattern(str(path)) and not path.exists():
        return Place("shards", path)
    if not path.exists():
        there = next((parent for parent in path.absolute().parents if parent.is_dir()), path)
        raise MissingError(
            f"{path}: no such file or folder; {there} is there. Point at a folder of images with "
            "their captions.csv or captions.jsonl, or at one in another layout (docs/own-data.md)."
        )
    # All are asked: which of two is meant cannot be guessed, and a guess would change the number.
    candidates = _candidates(path, split)
    if not candidates and path.is_file():
        raise ConfigError(
            f"{path}: not an annotation file that is known here.{_nearest(path)} "
            f"Point at one of these, or at its folder: {_all()}."
        )
    if not candidates:
        raise MissingError(
            f"{path}: no annotations in it.{_nearest(path)} "
            "Put a captions.csv there, of the columns image and caption, or one of these, or point "
            f"at the file itself: {_all()}."
        )
    if len(candidates) > 1:
        names = " and ".join(f"{place.path.name} ({place.layout})" for place in candidates)
        raise ConfigError(
            f"{path}: holds {names}, any of which could be meant. Point at the file itself."
        )
    return candidates[0]


def _candidates(path: Path, split: str) -> list[Place]:
    candidates: list[Place] = []
    for name, layout in LAYOUTS.items():
        candidates += [Place(name, place) for place in layout.find(path, split)]
    return candidates


def _all() -> str:
    return ", ".join(layout.about for layout in LAYOUTS.values())


def _nearest(path: Path) -> str:
    """What a folder or file that no layout recognises looks like, as a sentence; nothing for nothing."""
    if path.suffix in (".pkl", ".pickle"):
        return " A pickle can run code and is never read: save the frame with to_parquet or to_csv."
    if path.suffix.lower() in PACKED:
        return " It is packed: unpack it, and point at the folder."
    if path.is_file():
        return ""
    names = sorted(entry.name for entry in path.iterdir())[:_LOOK]
    if {"corpus.jsonl", "queries.jsonl"} <= set(names):
        return f" It is a BEIR folder of texts: beir:{path}."
    others = [split for split in SPLITS if _candidates(path, split)]
    if others:
        return f" It has the split {others[0]!r}: name it with --split."
    folders = [entry for entry in path.iterdir() if entry.is_dir()]
    if folders and all(_has_images(folder) for folder in folders):
        return f" It has a folder of images per name: are these classes? Then it is labels:{path}."
    images = sum(map(has_image_ending, names))
    tables = [path / name for name in names if Path(name).suffix.lower() in (".csv", ".tsv")]
    if images and tables:
        return f" It has {images:,} image files.{_unread(tables[0])}"
    if images:
        return f" It has {images:,} image files, and no captions of them."
    return f" It holds {', '.join(names[:_SHOWN])}." if names else " It is empty."


def _unread(table: Path) -> str:
    """Why a table is none of images and captions, by its first line: JSON, or no header."""
    with table.open(encoding="utf-8", errors="replace") as file:
        lines = file.read(_HEAD).strip().splitlines()
    first = lines[0][:_WIDEST] if lines else ""
    if not lines:
        return f" {table.name} is empty."
    if first.startswith(("{", "[")):
        return (
            f" {table.name} holds JSON: call it {table.stem}.jsonl, or .json where it is one list."
        )
    if len(lines) == 1 and not any(end in first.lower() for end in ENDINGS):
        return f" {table.name} has its first line, {first!r}, and no row below it."
    return (
        f" {table.name} begins with {first!r}: the first line must name the columns, as image,caption "
        "does, and the next name an image file, such as dog.jpg."
    )


def _has_images(folder: Path) -> bool:
    return any(has_image_ending(entry.name) for entry in folder.iterdir())
