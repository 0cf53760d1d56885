"""Labelled images in a local folder: a webdataset, or a folder of images for each class.

<root>/[<split>/]<class>/*.jpg

A folder of a class is named, in all of them alike, by the class's name                  as in
classnames.txt or clip-benchmark, `_`, `/` and capitals aside its WordNet id
n01440764, for ImageNet and its variants its number                        0, 1, … as in ImageNetV2
anything, with <root>/classes.json    {"folder": "class name", …} in the order of the labels
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from evals.data.checks import check_file_name
from evals.data.image_formats import CONVERT, ENDINGS, UNREAD
from evals.data.images import image_files
from evals.data.labeled import Labeled, LabeledRelease, labelled, prompts_of, required_names
from evals.data.labeled_webdataset import read_labeled_webdataset
from evals.data.prompts import NAMES, Listed, names_of, plain, wordnet_ids
from evals.data.webdataset import find_webdataset
from evals.reading import read_json, read_lines
from evals.schema import (
    ClassPrompts,
    ConfigError,
    InvalidError,
    LabeledImages,
    MissingError,
    Source,
)

CLASSES = "classes.json"
# The plainest of CLIP's prompts (https://arxiv.org/abs/2103.00020, 3.1.4), for data that brings none.
TEMPLATE = "a photo of a {c}."


class _Classes(NamedTuple):
    """The class names, and the label of each name that a folder may have (`plain` names)."""

    names: Listed
    labels: Mapping[str, int]


def load_labeled(source: Source) -> dict[str, LabeledImages]:
    """The only subset from `source.folder`, by what lies in it.

    MissingError: nothing of either layout is there. ConfigError: class folders cannot hold images
    of several classes. InvalidError: a folder that is no class, two of one class, a file that is no
    image, a file name that is not UTF-8, a broken shard.
    """
    root = source.folder
    if root is None or not root.is_dir():
        raise MissingError(
            f"{root}: no such folder. "
            "Point at a webdataset, or at a folder of images for each class."
        )
    if find_webdataset(root, source.split):
        return read_labeled_webdataset(root, source, {"layout": "webdataset", "path": str(root)})
    if prompts_of(source).multilabel:
        raise ConfigError(
            f"{root}: no webdataset in it, and class folders cannot say which images have several "
            "classes. Point at a webdataset."
        )
    return _class_folders(root, source)


def load_own_labels(source: Source) -> dict[str, LabeledImages]:
    """The same for data that no row describes: it says itself how many classes there are.

    Classes are those of classes.json or classnames.txt, else the folders by their names. Errors are
    those of `load_labeled`.
    """
    count = _own_count(source.folder, source.split) if source.folder else 0
    prompts = ClassPrompts(count, templates=TEMPLATE, folders=True)
    return load_labeled(replace(source, prompts=prompts))


def _own_count(root: Path, split: str) -> int:
    if (root / CLASSES).is_file():
        return len(read_json(root / CLASSES))
    if (root / NAMES).is_file():
        return len(list(read_lines(root / NAMES)))
    return len(_folders_of_classes(_top(root, split))) if root.is_dir() else 0


def _class_folders(root: Path, source: Source) -> dict[str, LabeledImages]:
    prompts = prompts_of(source)
    top = _top(root, source.split)
    folders = _folders_of_classes(top)
    if not folders:
        raise MissingError(
            f"{top}: no folders of classes in it. "
            "Point at the folder that holds them, or at their splits."
        )
    for folder in folders:
        check_file_name(folder)
    names = [folder.name for folder in folders]
    classes = _classes_of(root, names, prompts)
    label_of_folder = _labels(root, names, classes, prompts)
    rows: list[Labeled] = []
    paths: list[Path] = []
    for folder in folders:
        for path in _files(folder):
            name = path.relative_to(top).as_posix()
            rows.append(Labeled(name, label_of_folder[folder.name], str(path)))
            paths.append(path)
    origin = {"layout": "class_folders", "path": str(root)}
    release = LabeledRelease(rows, classes.names, lambda: image_files(paths), root, origin)
    return labelled(release, source)


def _top(root: Path, split: str) -> Path:
    """Releases come with a folder per split, or hold one split only."""
    return root / split if (root / split).is_dir() else root


def _folders_of_classes(top: Path) -> list[Path]:
    return sorted(path for path in top.iterdir() if path.is_dir() and not path.name.startswith("."))


def _classes_of(root: Path, folders: Sequence[str], prompts: ClassPrompts) -> _Classes:
    """What the data or clip-benchmark says of the classes."""
    if (root / CLASSES).is_file():
        return _from_json(root / CLASSES, prompts)
    names = names_of(root, prompts)
    if names is None and prompts.folders:
        names = Listed([folder.replace("_", " ") for folder in folders], "names of folders")
    names = required_names(names, str(root))
    return _Classes(names, _labels_of_names(names.values, folders, prompts))


def _labels(
    root: Path, folders: Sequence[str], classes: _Classes, prompts: ClassPrompts
) -> dict[str, int]:
    """The class of each folder."""
    stray = [folder for folder in folders if plain(folder) not in classes.labels]
    if stray:
        raise InvalidError(
            f"{root}: the folder {stray[0]!r} is none of the {prompts.classes} classes "
            f"({classes.names.origin}; {len(stray)} are not). Rename it, or write {CLASSES}."
        )
    labels = {folder: classes.labels[plain(folder)] for folder in folders}
    first: dict[int, str] = {}
    for folder, label in labels.items():
        if label in first:
            raise InvalidError(
                f"{root}: the folders {first[label]!r} and {folder!r} are one class. "
                "Merge or rename them."
            )
        first[label] = folder
    return labels


def _labels_of_names(
    names: Sequence[str], folders: Sequence[str], prompts: ClassPrompts
) -> dict[str, int]:
    """What a folder may be called, with the class it then is.

    A name that two classes share says nothing.
    """
    wnids = wordnet_ids(prompts)
    if wnids and all(folder[:1] == "n" and folder[1:].isdigit() for folder in folders):
        return {wnid: label for label, wnid in enumerate(wnids)}
    # Numbers are labels unless they are names themselves, as in MNIST.
    plain_names = [plain(name) for name in names]
    by_name = set(plain_names) & {plain(folder) for folder in folders}
    if not by_name and all(folder.isdecimal() for folder in folders):
        return {str(label): label for label in range(len(names))}
    return {name: label for label, name in enumerate(plain_names) if plain_names.count(name) == 1}


def _from_json(file: Path, prompts: ClassPrompts) -> _Classes:
    names = read_json(file)
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise InvalidError(
            f'{file}: must be one object, {{"folder": "class name", …}}. Correct it.'
        )
    if len(names) != prompts.classes:
        raise InvalidError(
            f"{file}: {len(names)} classes, where the row has {prompts.classes}. "
            "Complete it, or check the row."
        )
    # The order of the keys is that of the labels: JSON objects keep it.
    labels: dict[str, int] = {}
    for label, folder in enumerate(names):
        if plain(folder) in labels:
            raise InvalidError(
                f"{file}: two keys name the folder {plain(folder)!r}, for `_`, `/` and capitals "
                "make no difference. Rename one."
            )
        labels[plain(folder)] = label
    return _Classes(Listed(list(names.values()), CLASSES), labels)


def _files(folder: Path) -> Iterator[Path]:
    """The images of a class, at any depth, in the order of their paths; links are followed."""
    for here, inside, names in os.walk(folder, followlinks=True):
        inside.sort()
        if Path(here).resolve() in {parent.resolve() for parent in Path(here).parents}:
            raise InvalidError(f"{here}: a link that leads round in a circle. Remove it.")
        for name in sorted(names):
            # .DS_Store and its like.
            if not name.startswith("."):
                yield _image_file(Path(here, name))


def _image_file(path: Path) -> Path:
    check_file_name(path)
    form = UNREAD.get(path.suffix.lower())
    if form:
        raise InvalidError(f"{path}: is {form}, which is not read. {CONVERT}.")
    if path.suffix.lower() not in ENDINGS:
        raise InvalidError(
            f"{path}: not an image ({', '.join(sorted(ENDINGS))}). "
            "Remove it from the folders of classes."
        )
    return path
