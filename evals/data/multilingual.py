"""The layouts of benchmarks in many languages: XTD10, XTD200 and Flickr30k-200, XM3600, Multi30k.

xtd       test_image_names.txt and test_1kcaptions_<language>.txt, in one folder or in XTD10/, MIC/
          and STAIR/ as in github.com/adobe-research/Cross-lingual-Test-Dataset-XTD10
xtd200    test_image_names.txt or filenames.txt, and <FLORES code>.txt, as in
          github.com/visheratin/nllb-clip, data/
xm3600    captions.jsonl: {"image/key": "<16 hex>", "<language>": {"caption": ["..."]}, ...} per
          line, as in google.github.io/crossmodal-3600; image ids are the keys
multi30k  test_2016_flickr[_images].txt and test_2016_flickr.<language>, as in
          github.com/multi30k/dataset, data/task1

All but xm3600 have one caption per line, and line i of each file belongs to image i. Images lie in
a folder beside the annotations, or in an archive (ARCHIVES) that is read in place when no such
folder is there. Each reader raises MissingError for a language without a file, InvalidError for
counts that differ and lines that are broken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from evals.data.archives import open_tar
from evals.data.captioned import Captioned, Release
from evals.data.fields import field_of, strings_of
from evals.data.images import Images
from evals.data.json_marks import first_keys
from evals.data.releases import located
from evals.reading import read_jsonl, read_lines
from evals.schema import InvalidError, MissingError, Source

XTD_NAMES = "test_image_names.txt"
XTD_FOLDERS = ("", "XTD10", "MIC", "STAIR")
XTD_IMAGES = ("", "images", "train2014", "val2014")
XTD200_NAMES = (XTD_NAMES, "filenames.txt")
FLORES = "[a-z][a-z][a-z]_[A-Z][a-z][a-z][a-z]"
XM3600_KEY = "image/key"
MULTI30K_LANGUAGES = ("en", "de", "fr", "cs")
MULTI30K_IMAGES = ("", "flickr30k-images", "images")
# The other splits are named as their files: val, test_2017_flickr ...
MULTI30K_SPLITS = {"test": "test_2016_flickr"}
ARCHIVES = ("images.tar", "images.tgz", "images.tar.gz")


def find_xtd(path: Path, split: str) -> list[Path]:
    places = [path] if path.is_file() else [path / XTD_NAMES, path / "XTD10" / XTD_NAMES]
    return [place for place in places if _is_named(place, (XTD_NAMES,)) and _xtd_files(place)]


def find_xtd200(path: Path, split: str) -> list[Path]:
    places = [path] if path.is_file() else [path / name for name in XTD200_NAMES]
    lists = [place for place in places if _is_named(place, XTD200_NAMES) and _xtd200_files(place)]
    # The list of names is called the same in both: a folder with XTD's own captions is XTD.
    return [place for place in lists if not _xtd_files(place)]


def find_xm3600(path: Path, split: str) -> list[Path]:
    places = [path]
    if not path.is_file():
        places = [path / "captions.jsonl", path / "xm3600" / "captions.jsonl"]
    files = [place for place in places if place.suffix == ".jsonl" and place.is_file()]
    return [file for file in files if XM3600_KEY in first_keys(file)]


def find_multi30k(path: Path, split: str) -> list[Path]:
    stem = MULTI30K_SPLITS.get(split, split)
    places = [path]
    if not path.is_file():
        names = (f"{stem}.txt", f"{stem}_images.txt")
        places = [path / folder / name for folder in ("", "image_splits") for name in names]
    files = [place for place in places if place.suffix == ".txt" and place.is_file()]
    return [file for file in files if _multi30k_files(file)]


def languages_of_xtd(names: Path) -> list[str]:
    """Those with a file of captions."""
    return sorted(_xtd_files(names))


def languages_of_xtd200(names: Path) -> list[str]:
    """Those with a file of captions, as FLORES codes."""
    return sorted(_xtd200_files(names))


def languages_of_xm3600(file: Path) -> list[str]:
    """Those of the first image; reading names one that another image lacks."""
    entry = next(iter(read_jsonl(file))).value
    return [name for name, value in entry.items() if isinstance(value, dict)]


def languages_of_multi30k(names: Path) -> list[str]:
    """Those with a file of captions."""
    return sorted(_multi30k_files(names))


def read_xtd(names: Path, source: Source) -> Release:
    """1,000 images with one caption per language; Japanese is called `jp`, as its file is."""
    root = _xtd_root(names)
    files = _chosen(_xtd_files(names), source, root, "test_1kcaptions_{}.txt")
    return _parallel("xtd", names, files, _pictures(root, XTD_IMAGES))


def read_xtd200(names: Path, source: Source) -> Release:
    """The captions of XTD10 or Flickr30k, machine-translated into the languages of FLORES.

    Languages are called by its codes: `eng_Latn`, `zho_Hans` ...
    """
    root = names.parent
    files = _chosen(_xtd200_files(names), source, root, "{}.txt")
    return _parallel("xtd200", names, files, _pictures(root, XTD_IMAGES))


def read_multi30k(names: Path, source: Source) -> Release:
    root = _multi30k_root(names)
    files = _chosen(_multi30k_files(names), source, root, f"{_multi30k_stem(names)}.{{}}")
    return _parallel("multi30k", names, files, _pictures(root, MULTI30K_IMAGES))


def read_xm3600(file: Path, source: Source) -> Release:
    """All captions of each image in each language, as they are written."""
    rows: dict[str, list[Captioned]] = {subset: [] for subset in source.subsets}
    lacking: dict[str, list[str]] = {subset: [] for subset in source.subsets}
    languages: dict[str, None] = {}
    for entry, where in read_jsonl(file):
        key = field_of(entry, XM3600_KEY, str, where)
        languages.update({name: None for name, value in entry.items() if isinstance(value, dict)})
        for subset in source.subsets:
            if subset not in entry:
                lacking[subset].append(f"{where}: image {key!r} has no captions in {subset!r}")
                continue
            value = field_of(entry, subset, dict, where)
            captions = strings_of(value, "caption", f"{where}, {subset!r}")
            rows[subset].append(Captioned(key, captions, where))
    for subset, places in lacking.items():
        if places:
            total = len(places) + len(rows[subset])
            raise InvalidError(
                f"{places[0]} ({len(places):,} of {total:,} images have none). The languages of "
                f"the file are {', '.join(languages) or 'none'}. Copy the file again, "
                "or name other languages with --subsets."
            )
    images = _pictures(file.parent, ("", "images"))

    def named_by_key(rows: Sequence[Captioned]) -> Images:
        return images([replace(row, image=f"{row.image}.jpg") for row in rows])

    return Release("xm3600", str(file), rows, named_by_key)


def _is_named(place: Path, names: Sequence[str]) -> bool:
    return place.name in names and place.is_file()


def _xtd_root(names: Path) -> Path:
    """The folder that captions and images are looked for in.

    It is the one above XTD10/ in the release, else the folder of the list.
    """
    # In the release, captions that come from MIC and STAIR lie in folders of their own.
    above = names.parent.parent
    beside = any((above / folder).is_dir() for folder in ("MIC", "STAIR"))
    return above if names.parent.name == "XTD10" and beside else names.parent


def _xtd_files(names: Path) -> dict[str, Path]:
    """The caption files by language; of two the one in the first of XTD_FOLDERS."""
    prefix, root = "test_1kcaptions_", _xtd_root(names)
    files: dict[str, Path] = {}
    for folder in reversed(XTD_FOLDERS):
        for file in sorted((root / folder).glob(f"{prefix}*.txt"), reverse=True):
            files[file.stem.removeprefix(prefix)] = file
    return files


def _xtd200_files(names: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted(names.parent.glob(f"{FLORES}.txt"))}


def _multi30k_stem(names: Path) -> str:
    return names.stem.removesuffix("_images")


def _multi30k_root(names: Path) -> Path:
    return names.parent.parent if names.parent.name == "image_splits" else names.parent


def _multi30k_files(names: Path) -> dict[str, Path]:
    """The caption files by language; of two the one beside raw/."""
    # raw/ holds the captions as they were written, and so does a folder that was copied flat. The
    # release's tok/ has them in lower case and cut into tokens.
    root, stem = _multi30k_root(names), _multi30k_stem(names)
    files: dict[str, Path] = {}
    for folder in ("raw", ""):
        for language in MULTI30K_LANGUAGES:
            file = root / folder / f"{stem}.{language}"
            if file.is_file():
                files[language] = file
    return files


def _chosen(files: Mapping[str, Path], source: Source, root: Path, pattern: str) -> dict[str, Path]:
    """The caption files of the subsets; MissingError names the first that is not there."""
    for subset in source.subsets:
        if subset not in files:
            raise MissingError(
                f"{root}: no {pattern.format(subset)} in it. "
                f"The languages there are {', '.join(sorted(files))}. "
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
    # Line i belongs to image i: one line lost would shift all captions behind it.
    listed = [line.text for line in read_lines(names)]
    rows: dict[str, list[Captioned]] = {}
    for subset, file in files.items():
        lines = list(read_lines(file))
        if len(lines) != len(listed):
            raise InvalidError(
                f"{file}: {len(lines):,} captions, where {names} lists {len(listed):,} images. "
                "Take both from one release."
            )
        rows[subset] = [
            Captioned(name, (line.text,), line.where)
            for name, line in zip(listed, lines, strict=True)
        ]
    return Release(layout, str(names), rows, images)


def _pictures(root: Path, folders: Sequence[str]) -> Callable[[Sequence[Captioned]], Images]:
    """Images below `root` in one of `folders`.

    An archive beside them serves only where none of these folders is there.
    """
    # 82,000 images of COCO in one tar are copied in a minute, and as files in an hour.
    archive = next((root / name for name in ARCHIVES if (root / name).is_file()), None)
    if archive is None or any((root / folder).is_dir() for folder in folders if folder):
        return located(root, folders)
    return lambda rows: _packed(rows, archive)


def _packed(rows: Sequence[Captioned], path: Path) -> Images:
    """Images in an archive, in whatever folder of it they lie; they are read when indexed."""
    archive = open_tar(path)
    # Releases pack their images in folders of various names.
    members: dict[str, list[str]] = {}
    for name in archive.names:
        members.setdefault(name.rpartition("/")[2], []).append(name)
    missing = [row for row in rows if row.image not in members]
    if missing:
        raise MissingError(
            f"{missing[0].where}: image {missing[0].image!r} is not in {path} "
            f"({len(missing):,} of {len(rows):,} images are missing). "
            "Copy the archive again, or unpack the images into images/."
        )
    chosen: list[str] = []
    for row in rows:
        candidates = members[row.image]
        if len(candidates) > 1:
            raise InvalidError(
                f"{path}: holds {' and '.join(candidates)}, any of which could be meant. "
                "Unpack the right ones into images/."
            )
        chosen.append(candidates[0])
    return Images([f"{path}: {name}" for name in chosen], lambda index: archive.read(chosen[index]))
