"""CLIP_benchmark's webdatasets of captioned images, in a local folder or in a repo on the Hub.

<root>/dataset_type.txt       "retrieval"; it may be absent here, the samples tell whether they are captioned
<root>/<split>/nshards.txt    the number n of shards
<root>/<split>/{0..n-1}.tar   a sample is <key>.{webp,png,jpg,jpeg} and <key>.txt, its captions one a line

The format is that of `clip_benchmark.webdataset_builder` 1.6.2. As in webdataset, a key ends at the first dot of a file's name;
files without an ending and those with others are allowed and unused. A line break inside a caption was written as a backslash
and n, which neither CLIP_benchmark nor this loader undoes. CLIP_benchmark also splits at U+2028 and its like, this loader not.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from evals.data.archives import Archive, open_tar
from evals.data.captioned import Captioned, Release, measured, quoted_caption, read_text
from evals.data.images import Images
from evals.data.releases import only
from evals.schema import ConfigError, ImageText, InvalidError, MissingError, Source

IMAGES = ("webp", "png", "jpg", "jpeg")  # where a sample has several, CLIP_benchmark takes the first of these


class _Member(NamedTuple):
    archive: Archive
    name: str


def find_webdataset(path: Path, split: str) -> list[Path]:
    return [path] if any((path / split / name).is_file() for name in ("nshards.txt", "0.tar")) else []


def read_webdataset(place: Path, source: Source) -> Release:
    """The samples of all shards of the split; row ids are the keys.

    ConfigError: a classification set. MissingError: a shard is not there. InvalidError: a shard or sample is broken.
    """
    return _read("webdataset", place, str(place), source)


def load_hub_webdataset(source: Source) -> dict[str, ImageText]:
    """The webdataset in a repo such as `clip-benchmark/wds_flickr30k`, at one commit; the checksum of each shard is checked.

    ConfigError: a classification set. MissingError: the repo, split or a shard cannot be had. InvalidError: it is broken.
    """
    from evals.data.repos import refuse_damaged, refuse_missing, repo_of, snapshot

    repo, split = repo_of(source), source.split
    folder = snapshot(repo, ["dataset_type.txt", f"{split}/nshards.txt", f"{split}/*.tar"])
    if not (folder / split / "nshards.txt").is_file():
        refuse_missing(repo, f"no {split}/nshards.txt in it, so no split {split!r} of a webdataset")
    if missing := _missing_shards(folder / split):
        refuse_missing(repo, missing)
    for shard in sorted((folder / split).glob("*.tar")):
        refuse_damaged(shard)
    origin = {"repo": repo.name, "revision": repo.commit, "split": split}
    return measured(_read("hub_webdataset", folder, repo.name, source), source, origin)


def csv_quoted(captions: Iterable[str]) -> bool:
    """Whether the captions carry CSV quotes: most of those with a comma or a quote in them are whole cells of CSV.

    The shards of Flickr30k and Flickr8k on the Hub very probably do, made by CLIP_benchmark's Flickr loader, which takes the
    quotes of its CSV files for a part of the caption. In other sets a caption may well begin and end with quotes: few do.
    """
    special = [caption for caption in captions if "," in caption or '"' in caption]
    cells = sum(len(caption) > 1 and quoted_caption(caption[1:-1].replace('""', '"')) == caption for caption in special)
    return cells * 2 > len(special)


def _read(layout: str, root: Path, name: str, source: Source) -> Release:
    subset = only(source, root)
    _refuse_classification(root)
    folder = root / source.split
    if missing := _missing_shards(folder):
        raise MissingError(f"{folder}: {missing}. Complete the folder.")
    rows: list[Captioned] = []
    members: dict[str, _Member] = {}
    for n in range(_count(folder)):
        for row, member in _samples(folder / f"{n}.tar"):
            rows.append(row)
            members.setdefault(row.image, member)

    def images(wanted: Sequence[Captioned]) -> Images:
        found = [members[row.image] for row in wanted]
        return Images([f"{at.archive.path}, {at.name}" for at in found], lambda i: found[i].archive.read(found[i].name))

    quoted = csv_quoted(caption for row in rows for caption in row.captions)
    return Release(layout, name, {subset: rows}, images, quoted)


def _refuse_classification(root: Path) -> None:
    file = root / "dataset_type.txt"
    kind = read_text(file).strip().lower() if file.is_file() else "retrieval"
    if kind != "retrieval":
        raise ConfigError(f"{file}: says {kind[:40]!r}, a classification set; captions need 'retrieval'. Point at another set.")


def _count(folder: Path) -> int:
    """How many shards there should be: what nshards.txt says, else up to the highest that is there."""
    file = folder / "nshards.txt"
    if not file.is_file():
        return max(_numbers(folder)) + 1
    text = read_text(file).strip()
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) == 0:
        raise InvalidError(f"{file}: says {text[:40]!r}, not the number of shards. Correct it.")
    return int(text)


def _missing_shards(folder: Path) -> str:
    """What is missing, or nothing; InvalidError when there are more shards than nshards.txt counts."""
    count, there = _count(folder), _numbers(folder)
    if extra := sorted(there - set(range(count))):
        raise InvalidError(
            f"{folder / 'nshards.txt'}: counts {count} shards, but {extra[0]}.tar is there. Correct it, or remove the rest."
        )
    missing = sorted(set(range(count)) - there)
    return f"shard {missing[0]}.tar is missing ({len(missing)} of {count} shards are)" if missing else ""


def _numbers(folder: Path) -> set[int]:
    return {int(path.stem) for path in folder.glob("*.tar") if re.fullmatch(r"0|[1-9][0-9]{0,5}", path.stem)}


def _samples(shard: Path) -> list[tuple[Captioned, _Member]]:
    """The samples of a shard in the order of their first files."""
    archive = open_tar(shard)
    parts: dict[str, dict[str, str]] = {}
    for name in archive.names:
        if match := re.fullmatch(r"((?:.*/)?[^./]+)\.([^/]*)", name, re.DOTALL):
            files = parts.setdefault(match[1], {})
            if (ending := match[2].lower()) in files:
                raise InvalidError(f"{shard}: sample {match[1]!r} has {files[ending]!r} and {name!r}. Remove one of them.")
            files[ending] = name
    samples = []
    for key, files in parts.items():
        image = next((files[ending] for ending in IMAGES if ending in files), None)
        if image is None or "txt" not in files:
            what = f"no image ({', '.join(IMAGES)})" if image is None else "no captions (txt)"
            raise InvalidError(f"{shard}: sample {key!r} has {what} among its {', '.join(files)}. Complete or remove it.")
        row = Captioned(key, _captions(archive.read(files["txt"]), f"{shard}, {files['txt']}"), f"{shard}, sample {key!r}")
        samples.append((row, _Member(archive, image)))
    return samples


def _captions(data: bytes, where: str) -> tuple[str, ...]:
    try:
        lines = [line.removesuffix("\r") for line in data.decode().split("\n")]
    except UnicodeDecodeError as error:
        raise InvalidError(f"{where}: not UTF-8 ({error.reason} at byte {error.start}). Write the captions as UTF-8.") from None
    return tuple(lines[:-1] if lines[-1] == "" else lines)
