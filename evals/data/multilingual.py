"""The layouts of benchmarks in many languages: XTD10, XTD200 and Flickr30k-200, Crossmodal-3600, Multi30k.

xtd       test_image_names.txt and test_1kcaptions_<language>.txt, in one folder or in XTD10/, MIC/ and STAIR/ as in
          github.com/adobe-research/Cross-lingual-Test-Dataset-XTD10
xtd200    test_image_names.txt or filenames.txt, and <FLORES code>.txt, as in github.com/visheratin/nllb-clip, data/
xm3600    captions.jsonl: {"image/key": "<16 hex>", "<language>": {"caption": ["...", ...]}, ...} per line, as in
          google.github.io/crossmodal-3600; image ids are the keys
multi30k  test_2016_flickr[_images].txt and test_2016_flickr.<language>, as in github.com/multi30k/dataset, data/task1

All but xm3600 have one caption a line, and line i of each file belongs to image i. Images lie in a folder beside the
annotations, or in an archive (ARCHIVES) that is read in place when no such folder is there. Each reader raises MissingError
for a language without a file, InvalidError for counts that differ and lines that are broken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.data.archives import open_tar
from evals.data.captioned import Captioned, Release, field_of, read_json, read_lines
from evals.data.images import Images
from evals.data.releases import first_keys, located
from evals.schema import InvalidError, MissingError, Source

XTD_NAMES = "test_image_names.txt"
XTD_FOLDERS = ("", "XTD10", "MIC", "STAIR")
XTD_IMAGES = ("", "images", "train2014", "val2014")
XTD200_NAMES = (XTD_NAMES, "filenames.txt")
FLORES = "[a-z][a-z][a-z]_[A-Z][a-z][a-z][a-z]"
XM3600_KEY = "image/key"
MULTI30K_LANGUAGES = ("en", "de", "fr", "cs")
MULTI30K_SPLITS = {
    "test": "test_2016_flickr"
}  # the other splits are named as their files: val, test_2017_flickr ...
ARCHIVES = ("images.tar", "images.tgz", "images.tar.gz")


def find_xtd(path: Path, split: str) -> list[Path]:
    places = [path] if path.is_file() else [path / XTD_NAMES, path / "XTD10" / XTD_NAMES]
    return [
        place
        for place in places
        if place.name == XTD_NAMES and place.is_file() and _xtd_files(place)
    ]


def find_xtd200(path: Path, split: str) -> list[Path]:
    places = [path] if path.is_file() else [path / name for name in XTD200_NAMES]
    found = [
        place
        for place in places
        if place.name in XTD200_NAMES and place.is_file() and _xtd200_files(place)
    ]
    # The list of names is called the same in both: a folder with XTD's own captions is XTD.
    return [place for place in found if not _xtd_files(place)]


def find_xm3600(path: Path, split: str) -> list[Path]:
    places = (
        [path] if path.is_file() else [path / "captions.jsonl", path / "xm3600" / "captions.jsonl"]
    )
    return [
        place
        for place in places
        if place.suffix == ".jsonl" and place.is_file() and XM3600_KEY in first_keys(place)
    ]


def find_multi30k(path: Path, split: str) -> list[Path]:
    stem = MULTI30K_SPLITS.get(split, split)
    names = [
        f"{folder}{stem}{end}"
        for folder in ("", "image_splits/")
        for end in (".txt", "_images.txt")
    ]
    places = [path] if path.is_file() else [path / name for name in names]
    return [
        place
        for place in places
        if place.suffix == ".txt" and place.is_file() and _multi30k_files(place)
    ]


def read_xtd(names: Path, source: Source) -> Release:
    """1,000 images with one caption a language; Japanese is called `jp`, as its file is."""
    files = _chosen(_xtd_files(names), source, _xtd_root(names), "test_1kcaptions_{}.txt")
    return _parallel("xtd", names, files, _pictures(_xtd_root(names), XTD_IMAGES))


def read_xtd200(names: Path, source: Source) -> Release:
    """The captions of XTD10 or Flickr30k, machine-translated into the languages of FLORES: `eng_Latn`, `zho_Hans` ..."""
    files = _chosen(_xtd200_files(names), source, names.parent, "{}.txt")
    return _parallel("xtd200", names, files, _pictures(names.parent, XTD_IMAGES))


def read_multi30k(names: Path, source: Source) -> Release:
    files = _chosen(
        _multi30k_files(names), source, _multi30k_root(names), f"{_multi30k_stem(names)}.{{}}"
    )
    return _parallel(
        "multi30k",
        names,
        files,
        _pictures(_multi30k_root(names), ("", "flickr30k-images", "images")),
    )


def read_xm3600(file: Path, source: Source) -> Release:
    """All captions of each image in each language, as they are written."""
    rows: dict[str, list[Captioned]] = {subset: [] for subset in source.subsets}
    lacking: dict[str, list[str]] = {subset: [] for subset in source.subsets}
    languages: dict[str, None] = {}
    for line in read_lines(file):
        entry = read_json(line.text, line.where)
        key = field_of(entry, XM3600_KEY, str, line.where)
        languages.update({name: None for name, value in entry.items() if isinstance(value, dict)})
        for subset in source.subsets:
            if subset in entry:
                rows[subset].append(
                    Captioned(key, _captions(entry, subset, line.where), line.where)
                )
            else:
                lacking[subset].append(f"{line.where}: image {key!r} has no captions in {subset!r}")
    for subset, places in lacking.items():
        if places:
            raise InvalidError(
                f"{places[0]} ({len(places):,} of {len(places) + len(rows[subset]):,} images have none). The languages of the "
                f"file are {', '.join(languages) or 'none'}. Copy the file again, or name other languages with --subsets."
            )
    images = _pictures(file.parent, ("", "images"))
    return Release(
        "xm3600",
        str(file),
        rows,
        lambda wanted: images([replace(row, image=f"{row.image}.jpg") for row in wanted]),
    )


def _xtd_root(names: Path) -> Path:
    """The folder that captions and images are looked for in: above XTD10/ in the release, else the folder of the list."""
    above = names.parent.parent
    released = names.parent.name == "XTD10" and any(
        (above / folder).is_dir() for folder in ("MIC", "STAIR")
    )
    return above if released else names.parent


def _xtd_files(names: Path) -> dict[str, Path]:
    """The caption files by language."""
    start, root = "test_1kcaptions_", _xtd_root(names)
    files = [
        file for folder in XTD_FOLDERS for file in sorted((root / folder).glob(f"{start}*.txt"))
    ]
    return {file.stem.removeprefix(start): file for file in reversed(files)}


def _xtd200_files(names: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted(names.parent.glob(f"{FLORES}.txt"))}


def _multi30k_stem(names: Path) -> str:
    return names.stem.removesuffix("_images")


def _multi30k_root(names: Path) -> Path:
    return names.parent.parent if names.parent.name == "image_splits" else names.parent


def _multi30k_files(names: Path) -> dict[str, Path]:
    root, stem = _multi30k_root(names), _multi30k_stem(names)
    places = [
        (language, root / folder / f"{stem}.{language}")
        for folder in ("raw", "")
        for language in MULTI30K_LANGUAGES
    ]
    return {language: file for language, file in places if file.is_file()}


def _chosen(files: Mapping[str, Path], source: Source, root: Path, called: str) -> dict[str, Path]:
    """The caption files of the subsets that are wanted; MissingError names the first that is not there."""
    for subset in source.subsets:
        if subset not in files:
            raise MissingError(
                f"{root}: no {called.format(subset)} in it. The languages there are {', '.join(sorted(files))}. "
                "Put the file there, or name other languages with --subsets."
            )
    return {subset: files[subset] for subset in source.subsets}


def _parallel(
    layout: str,
    names: Path,
    files: Mapping[str, Path],
    images: Callable[[Sequence[Captioned]], Images],
) -> Release:
    """Line i of each caption file describes the image on line i of `names`."""
    listed = [line.text for line in read_lines(names)]
    rows = {}
    for subset, file in files.items():
        lines = list(read_lines(file))
        if len(lines) != len(listed):
            raise InvalidError(
                f"{file}: {len(lines):,} captions, where {names} lists {len(listed):,} images. Take both from one release."
            )
        rows[subset] = [
            Captioned(name, (line.text,), line.where)
            for name, line in zip(listed, lines, strict=True)
        ]
    return Release(layout, str(names), rows, images)


def _captions(entry: Any, subset: str, where: str) -> tuple[str, ...]:
    captions = field_of(
        field_of(entry, subset, dict, where), "caption", list, f"{where}, {subset!r}"
    )
    if not all(isinstance(caption, str) for caption in captions):
        raise InvalidError(
            f"{where}, {subset!r}: `caption` must be a list of strings. Correct the line."
        )
    return tuple(captions)


def _pictures(root: Path, folders: Sequence[str]) -> Callable[[Sequence[Captioned]], Images]:
    """Images below `root` in one of `folders`; in an archive beside them only where none of these folders is there."""
    archive = next((root / name for name in ARCHIVES if (root / name).is_file()), None)
    if archive is None or any((root / folder).is_dir() for folder in folders if folder):
        return located(root, folders)
    return lambda rows: _packed(rows, archive)


def _packed(rows: Sequence[Captioned], path: Path) -> Images:
    """Images in an archive, in whatever folder of it they lie; their bytes are read when they are wanted."""
    archive = open_tar(path)
    members: dict[str, list[str]] = {}
    for name in archive.names:
        members.setdefault(name.rpartition("/")[2], []).append(name)
    missing = [row for row in rows if row.image not in members]
    if missing:
        raise MissingError(
            f"{missing[0].where}: image {missing[0].image!r} is not in {path} ({len(missing):,} of {len(rows):,} images are "
            "missing). Copy the archive again, or unpack the images into images/."
        )
    for row in rows:
        if len(members[row.image]) > 1:
            found = " and ".join(members[row.image])
            raise InvalidError(
                f"{path}: holds {found}, any of which could be meant. Unpack the right ones into images/."
            )
    wanted = [members[row.image][0] for row in rows]
    return Images([f"{path}: {name}" for name in wanted], lambda index: archive.read(wanted[index]))
