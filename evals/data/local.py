"""Captioned images in a local folder, in whatever layout people have them.

Each layout says what it recognises, and reads it. A folder that two layouts recognise is refused:
the user points at the file that is meant.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from evals.data.captioned import Release, measured
from evals.data.clip_benchmark import (
    find_clip_benchmark_json,
    find_coco,
    find_flickr_csv,
    read_clip_benchmark_json,
    read_coco,
    read_flickr_csv,
)
from evals.data.multilingual import (
    find_multi30k,
    find_xm3600,
    find_xtd,
    find_xtd200,
    read_multi30k,
    read_xm3600,
    read_xtd,
    read_xtd200,
)
from evals.data.releases import (
    find_jsonl,
    find_karpathy,
    find_token,
    read_karpathy,
    read_plain_jsonl,
    read_token,
)
from evals.data.webdataset import find_webdataset, read_webdataset
from evals.schema import ConfigError, ImageText, MissingError, Source


class Layout(NamedTuple):
    """A way to lay out captioned images; `about` names it in messages.

    `find(path, split)` gives what it recognises in a folder, or the file itself. Each of these is a
    place that `read(place, source)` reads.
    """

    about: str
    find: Callable[[Path, str], list[Path]]
    read: Callable[[Path, Source], Release]


LAYOUTS: Mapping[str, Layout] = {
    "karpathy": Layout("a Karpathy dataset_*.json", find_karpathy, read_karpathy),
    "token": Layout("a Flickr *.token file", find_token, read_token),
    "jsonl": Layout("a captions.jsonl", find_jsonl, read_plain_jsonl),
    "coco": Layout("a coco_<split>_karpathy.json", find_coco, read_coco),
    "flickr_csv": Layout("a flickr30k_<split>_karpathy.txt", find_flickr_csv, read_flickr_csv),
    "clip_benchmark_json": Layout(
        "a <benchmark>-<language>.json of CLIP_benchmark",
        find_clip_benchmark_json,
        read_clip_benchmark_json,
    ),
    "xtd": Layout("an XTD10 test_image_names.txt", find_xtd, read_xtd),
    "xtd200": Layout("an XTD200 or Flickr30k-200 list of image names", find_xtd200, read_xtd200),
    "xm3600": Layout("a Crossmodal-3600 captions.jsonl", find_xm3600, read_xm3600),
    "multi30k": Layout("a Multi30k test_2016_flickr.txt", find_multi30k, read_multi30k),
    "webdataset": Layout("a webdataset's <split>/nshards.txt", find_webdataset, read_webdataset),
}


def languages(path: Path) -> tuple[str, ...]:
    """The languages that a folder of ours holds, `captions/<language>.jsonl`; none for others."""
    files = sorted((path / "captions").glob("*.jsonl"))
    return tuple(file.stem for file in files)


def load_local(source: Source) -> dict[str, ImageText]:
    """The subsets from `source.folder`: a folder, or the annotation file itself.

    ConfigError: the layout is not clear. MissingError: something is not there. InvalidError: it is
    broken.
    """
    if source.folder is None:
        raise MissingError(f"No folder was given for split {source.split!r}. Pass one with --data.")
    name, place = recognise(source.folder, source.split)
    return measured(LAYOUTS[name].read(place, source), source)


def recognise(path: Path, split: str) -> tuple[str, Path]:
    """The layout of a folder or an annotation file, and the place in it to read."""
    all_layouts = ", ".join(layout.about for layout in LAYOUTS.values())
    if not path.exists():
        raise MissingError(
            f"{path}: no such file or folder. Point at the folder that holds one of: {all_layouts}."
        )
    # All are asked: which of two is meant cannot be guessed, and a guess would change the number.
    candidates: list[tuple[str, Path]] = []
    for name, layout in LAYOUTS.items():
        candidates += [(name, place) for place in layout.find(path, split)]
    if not candidates and path.is_file():
        raise ConfigError(
            f"{path}: not an annotation file that is known here. "
            f"Point at one of these, or at its folder: {all_layouts}."
        )
    if not candidates:
        raise MissingError(
            f"{path}: no annotations in it. "
            f"Put one of these there, or point at the file itself: {all_layouts}."
        )
    if len(candidates) > 1:
        names = " and ".join(f"{place.name} ({name})" for name, place in candidates)
        raise ConfigError(
            f"{path}: holds {names}, any of which could be meant. Point at the file itself."
        )
    return candidates[0]
