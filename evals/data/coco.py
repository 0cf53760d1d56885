"""COCO's JSON of captions, as CLIP_benchmark's folders, COCO's own archives and many tools have it.

coco    coco_<split>_karpathy.json, else any *.json of a folder with these keys
        {"images": [{"id", "file_name"}], "annotations": [{"id", "image_id", "caption"}]}; likewise
        annotations/captions_val2017.json, when that file itself is named
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evals.data.captioned import Captioned, Release
from evals.data.clip_benchmark import check_split
from evals.data.fields import field_of
from evals.data.json_marks import json_keys, jsons_with
from evals.data.releases import located, only
from evals.reading import read_json
from evals.schema import InvalidError, Source

COCO_FOLDERS = ("", "val2014", "train2014", "val2017", "images")

_COCO_NAME = re.compile(r"coco_(.+)_karpathy\.json")


class _Numbered(NamedTuple):
    """An entry of COCO's lists, with the place that messages name."""

    entry: Any
    where: str


def find_coco(path: Path, split: str) -> list[Path]:
    if path.is_file():
        is_coco = path.suffix == ".json" and {"images", "annotations"} <= json_keys(path)
        return [path] if is_coco else []
    file = path / f"coco_{split}_karpathy.json"
    if file.is_file():
        return [file]
    # Whatever else is called by its split is of another one.
    files = jsons_with(path, "images[].file_name", "annotations[].caption")
    return [file for file in files if not _COCO_NAME.fullmatch(file.name)]


def read_coco(file: Path, source: Source) -> Release:
    """Images in the order of their ids, captions in that of the annotations.

    Captions are verbatim, line ends inside included.
    """
    match = _COCO_NAME.fullmatch(file.name)
    if match:
        check_split(file, match[1], source)
    # COCO's own archives put the annotations in a folder beside those of the images.
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    rows = {only(source, file): _coco(file)}
    return Release("coco", str(file), rows, located(root, COCO_FOLDERS))


def _coco(file: Path) -> list[Captioned]:
    content = read_json(file)
    images = _by_id(field_of(content, "images", list, str(file)), f"{file}, images")
    annotations = _by_id(field_of(content, "annotations", list, str(file)), f"{file}, annotations")
    # Images without captions stay in, with none, and are refused by name later.
    captions: dict[int, list[str]] = {key: [] for key in images}
    for entry, where in annotations.values():
        image = field_of(entry, "image_id", int, where)
        if image not in captions:
            raise InvalidError(
                f"{where}: image_id {image} is not the id of an image of the file. "
                "Take both from one release."
            )
        captions[image].append(field_of(entry, "caption", str, where))
    rows: list[Captioned] = []
    for key, (entry, where) in sorted(images.items()):
        name = field_of(entry, "file_name", str, where)
        rows.append(Captioned(name, tuple(captions[key]), f"{where} (id {key})"))
    return rows


def _by_id(entries: Sequence[Any], name: str) -> dict[int, _Numbered]:
    """The entries by their `id`, in their order."""
    by_id: dict[int, _Numbered] = {}
    for number, entry in enumerate(entries):
        where = f"{name}[{number}]"
        key = field_of(entry, "id", int, where)
        if key in by_id:
            raise InvalidError(
                f"{where}: id {key} is that of {by_id[key].where} too. Give each its own id."
            )
        by_id[key] = _Numbered(entry, where)
    return by_id
