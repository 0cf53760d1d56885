"""Labelled images in a local folder: a webdataset, or a folder of images for each class.

<root>/[<split>/]<class>/*.jpg

A folder of a class is named, in all of them alike, by
the class's name                  as in classnames.txt or clip-benchmark, `_` and `/` and capitals aside
its WordNet id                    n01440764, for ImageNet and its variants
its number                        0, 1, … as in ImageNetV2
anything, with <root>/classes.json    {"folder": "class name", …} in the order of the labels
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evals.data.captioned import read_json, read_text
from evals.data.images import image_files
from evals.data.labeled import Labeled, LabeledRelease, labelled, prompts_of, required_names
from evals.data.labeled_webdataset import read_labeled_webdataset
from evals.data.prompts import Listed, names_of, plain, wordnet_ids
from evals.data.webdataset import find_webdataset
from evals.schema import (
    ClassPrompts,
    ConfigError,
    InvalidError,
    LabeledImages,
    MissingError,
    Source,
)

CLASSES = "classes.json"
ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


def load_labeled(source: Source) -> dict[str, LabeledImages]:
    """The only subset from `source.folder`, by what lies in it.

    MissingError: nothing of either layout is there. ConfigError: class folders cannot hold images of several classes.
    InvalidError: a folder that is no class, two of one class, a file that is no image, a broken shard.
    """
    root = source.folder
    if root is None or not root.is_dir():
        raise MissingError(
            f"{root}: no such folder. Point at a webdataset, or at a folder of images for each class."
        )
    if find_webdataset(root, source.split):
        return read_labeled_webdataset(root, source, {"layout": "webdataset", "path": str(root)})
    if prompts_of(source).multilabel:
        raise ConfigError(
            f"{root}: no webdataset in it, and class folders cannot say which images have several classes."
        )
    return _class_folders(root, source)


def _class_folders(root: Path, source: Source) -> dict[str, LabeledImages]:
    prompts = prompts_of(source)
    top = root / source.split if (root / source.split).is_dir() else root
    folders = sorted(
        path.name for path in top.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if not folders:
        raise MissingError(
            f"{top}: no folders of classes in it. Point at the folder that holds them, or at their splits."
        )
    names, classes = _classes(root, folders, prompts)
    rows, paths = [], []
    for folder in folders:
        for path in _files(top / folder):
            rows.append(Labeled(path.relative_to(top).as_posix(), classes[folder], str(path)))
            paths.append(path)
    origin = {"layout": "class_folders", "path": str(root)}
    return labelled(LabeledRelease(rows, names, lambda: image_files(paths), root, origin), source)


def _classes(
    root: Path, folders: Sequence[str], prompts: ClassPrompts
) -> tuple[Listed, dict[str, int]]:
    """The class names, and the class of each folder."""
    if (root / CLASSES).is_file():
        names, keys = _from_json(root / CLASSES, prompts)
    else:
        names = required_names(names_of(root, prompts), str(root))
        keys = _keys(names.values, folders, prompts)
    found = {folder: keys[key] for folder in folders if (key := plain(folder)) in keys}
    if stray := [folder for folder in folders if folder not in found]:
        raise InvalidError(
            f"{root}: the folder {stray[0]!r} is none of the {prompts.classes} classes ({names.origin}; {len(stray)} are not). "
            f"Rename it, or write {CLASSES}."
        )
    first: dict[int, str] = {}
    for folder, label in found.items():
        if (other := first.setdefault(label, folder)) != folder:
            raise InvalidError(
                f"{root}: the folders {other!r} and {folder!r} are one class. Merge or rename them."
            )
    return names, found


def _keys(names: Sequence[str], folders: Sequence[str], prompts: ClassPrompts) -> dict[str, int]:
    """What a folder may be called, and the class it then is; a name that two classes have is none."""
    wnids = wordnet_ids(prompts)
    if wnids and all(folder[:1] == "n" and folder[1:].isdigit() for folder in folders):
        return {wnid: label for label, wnid in enumerate(wnids)}
    known = [plain(name) for name in names]
    keys = {name: label for label, name in enumerate(known) if known.count(name) == 1}
    if not set(known) & {plain(folder) for folder in folders} and all(
        folder.isdecimal() for folder in folders
    ):
        return {str(label): label for label in range(len(names))}
    return keys


def _from_json(file: Path, prompts: ClassPrompts) -> tuple[Listed, dict[str, int]]:
    entries: Any = read_json(read_text(file), str(file))
    if not isinstance(entries, dict) or not all(
        isinstance(name, str) and name.strip() for name in entries.values()
    ):
        raise InvalidError(
            f'{file}: must be one object, {{"folder": "class name", …}}. Correct it.'
        )
    if len(entries) != prompts.classes:
        raise InvalidError(
            f"{file}: {len(entries)} classes, where the row has {prompts.classes}. Complete it, or check the row."
        )
    labels = {plain(folder): label for label, folder in enumerate(entries)}
    return Listed(list(entries.values()), CLASSES), labels


def _files(folder: Path) -> Iterator[Path]:
    """The images of a class, at any depth, in the order of their paths."""
    for here, inside, names in os.walk(folder):
        inside.sort()
        for name in sorted(names):
            path = Path(here) / name
            if name.startswith("."):
                continue
            if path.suffix.lower() not in ENDINGS:
                raise InvalidError(
                    f"{path}: not an image ({', '.join(sorted(ENDINGS))}). Remove it from the folders of classes."
                )
            yield path
