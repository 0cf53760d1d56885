"""CLIP_benchmark's webdatasets of captioned images, in a local folder or in a repo on the Hub.

<root>/dataset_type.txt       "retrieval"; it may be absent here, the samples tell whether they are
                              captioned
<root>/<split>/nshards.txt    the number n of shards
<root>/<split>/{0..n-1}.tar   a sample is <key>.{webp,png,jpg,jpeg} and <key>.txt, with one caption
                              per line

The format is that of `clip_benchmark.webdataset_builder` 1.6.2. As in webdataset, a key ends at the
first dot of a file's name; files without an ending and those with others are allowed and unused. A
line break inside a caption was written as a backslash and n, which neither CLIP_benchmark nor this
loader undoes. CLIP_benchmark also splits at U+2028 and its like, this loader does not.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from evals.counts import counted
from evals.data.archives import Archive, open_tar
from evals.data.captioned import Captioned, Release, measured, quoted_caption
from evals.data.images import Images
from evals.data.releases import only
from evals.reading import read_text
from evals.schema import ConfigError, ImageText, InvalidError, MissingError, Source

TYPE = "dataset_type.txt"
# Where a sample has several, CLIP_benchmark takes the first of these.
IMAGES = ("webp", "png", "jpg", "jpeg")

_MEMBER = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)
_SHARD = re.compile(r"(0|[1-9][0-9]{0,5})\.tar")
_MOST_SHARDS = re.compile(r"[0-9]{1,6}")


class Member(NamedTuple):
    """A file in a shard."""

    archive: Archive
    name: str

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"{self.archive.path}, {self.name}"

    def data(self) -> bytes:
        """Its bytes."""
        return self.archive.read(self.name)

    def text(self) -> str:
        """Its text, which must be UTF-8, with or without a byte order mark."""
        try:
            return self.data().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidError(
                f"{self.where}: not UTF-8 ({error.reason} at byte {error.start}). "
                "Write the file as UTF-8."
            ) from None


class Sample(NamedTuple):
    """An image, and the file with its captions or its label."""

    key: str
    image: Member
    annotation: Member
    where: str


class Place(NamedTuple):
    """The folder of a webdataset, its name in messages, and what the record says of its origin."""

    folder: Path
    name: str
    origin: Mapping[str, str]


def find_webdataset(path: Path, split: str) -> list[Path]:
    files = (path / split / name for name in ("nshards.txt", "0.tar"))
    return [path] if any(file.is_file() for file in files) else []


def read_webdataset(place: Path, source: Source) -> Release:
    """The samples of all shards of the split; row ids are the keys.

    ConfigError: a classification set. MissingError: a shard is not there. InvalidError: a shard or
    sample is broken.
    """
    return _read("webdataset", place, str(place), source)


def load_hub_webdataset(source: Source) -> dict[str, ImageText]:
    """The webdataset in a repo such as `clip-benchmark/wds_flickr30k`, at one commit.

    The checksum of each shard is checked. ConfigError: a classification set. MissingError: the
    repo, split or a shard cannot be had. InvalidError: it is broken.
    """
    place = fetched(source)
    release = _read("hub_webdataset", place.folder, place.name, source)
    return measured(release, source, place.origin)


def fetched(source: Source, *names: str) -> Place:
    """The shards of the split in the Hub's cache, and the files `names` where the repo has them."""
    from evals.data.repos import refuse_damaged, refuse_missing, repo_of, snapshot

    repo, split = repo_of(source), source.split
    folder = snapshot(repo, [TYPE, *names, f"{split}/nshards.txt", f"{split}/*.tar"])
    if not (folder / split / "nshards.txt").is_file():
        refuse_missing(repo, f"no {split}/nshards.txt in it, so no split {split!r} of a webdataset")
    problem = _missing_shards(folder / split)
    if problem:
        refuse_missing(repo, problem)
    for shard in sorted((folder / split).glob("*.tar")):
        refuse_damaged(shard)
    return Place(folder, repo.name, {"repo": repo.name, "revision": repo.commit, "split": split})


def csv_quoted(captions: Iterable[str]) -> bool:
    """Whether the captions carry CSV quotes.

    They do when most of those with a comma or a quote in them are whole cells of CSV. The shards of
    Flickr30k and Flickr8k on the Hub very probably do, made by CLIP_benchmark's Flickr loader,
    which takes the quotes of its CSV files for a part of the caption. In other sets a caption may
    well begin and end with quotes: few do.
    """
    # Captions without a comma or a quote are the same in both readings.
    special = [caption for caption in captions if "," in caption or '"' in caption]
    return 2 * sum(map(_is_csv_cell, special)) > len(special)


def kind_of(root: Path) -> str | None:
    """What the set says it is, such as `retrieval` or `multilabel`; None when it says nothing."""
    file = root / TYPE
    return read_text(file).strip().lower() if file.is_file() else None


def captions_of_text(member: Member) -> tuple[str, ...]:
    """The lines of a text, each of which is a caption."""
    lines = [line.removesuffix("\r") for line in member.text().split("\n")]
    return tuple(lines[:-1] if lines[-1] == "" else lines)


def images_of(members: Sequence[Member]) -> Images:
    """The images in their shards."""
    names = [member.where for member in members]
    return Images(names, lambda index: members[index].data())


def samples(folder: Path, ending: str, what: str) -> Iterator[Sample]:
    """The samples of all shards of a split, in the order of their first files.

    Each is an image and a file with this ending. MissingError: a shard is not there. InvalidError:
    a shard is broken, or a sample has no image or no such file (`what`).
    """
    problem = _missing_shards(folder)
    if problem:
        raise MissingError(f"{folder}: {problem}. Complete the folder.")
    for number in range(_count(folder)):
        yield from samples_of(folder / f"{number}.tar", ending, what)


def _read(layout: str, root: Path, name: str, source: Source) -> Release:
    subset = only(source, root)
    kind = kind_of(root) or "retrieval"
    if kind != "retrieval":
        raise ConfigError(
            f"{root / TYPE}: says {kind[:40]!r}, a classification set; captions need 'retrieval'. "
            "Point at another set."
        )
    rows: list[Captioned] = []
    members: dict[str, Member] = {}
    for sample in samples(root / source.split, "txt", "captions"):
        rows.append(Captioned(sample.key, captions_of_text(sample.annotation), sample.where))
        members.setdefault(sample.key, sample.image)

    def images(rows: Sequence[Captioned]) -> Images:
        return images_of([members[row.image] for row in rows])

    quoted = csv_quoted(caption for row in rows for caption in row.captions)
    return Release(layout, name, {subset: rows}, images, quoted)


def _is_csv_cell(caption: str) -> bool:
    """Whether the caption is what CSV makes of some text that needs quotes."""
    if len(caption) < 2:
        return False
    return quoted_caption(caption[1:-1].replace('""', '"')) == caption


def _count(folder: Path) -> int:
    """How many shards there should be: what nshards.txt says, else up to the highest there is."""
    file = folder / "nshards.txt"
    if not file.is_file():
        return max(_numbers(folder)) + 1
    # `int` also takes 1_0, +1 and digits of other scripts.
    text = read_text(file).strip()
    if not _MOST_SHARDS.fullmatch(text) or int(text) == 0:
        raise InvalidError(f"{file}: says {text[:40]!r}, not the number of shards. Correct it.")
    return int(text)


def _missing_shards(folder: Path) -> str:
    """What is missing, or nothing.

    InvalidError when there are more shards than nshards.txt counts.
    """
    count, numbers = _count(folder), _numbers(folder)
    extra = sorted(numbers - set(range(count)))
    if extra:
        raise InvalidError(
            f"{folder / 'nshards.txt'}: counts {counted(count, 'shard')}, but {extra[0]}.tar is there. "
            "Correct it, or remove the rest."
        )
    missing = sorted(set(range(count)) - numbers)
    if not missing:
        return ""
    return f"shard {missing[0]}.tar is missing ({len(missing)} of {count} shards are)"


def _numbers(folder: Path) -> set[int]:
    return {int(path.stem) for path in folder.glob("*.tar") if _SHARD.fullmatch(path.name)}


def samples_of(shard: Path, ending: str, what: str) -> Iterator[Sample]:
    """The samples of one shard; errors as those of `samples`."""
    archive = open_tar(shard)
    parts: dict[str, dict[str, str]] = {}
    for name in archive.names:
        match = _MEMBER.fullmatch(name)
        # As in webdataset: a file without an ending belongs to no sample.
        if match is None:
            continue
        key, suffix = match[1], match[2].lower()
        files = parts.setdefault(key, {})
        if suffix in files:
            raise InvalidError(
                f"{shard}: sample {key!r} has {files[suffix]!r} and {name!r}. Remove one of them."
            )
        files[suffix] = name
    for key, files in parts.items():
        image = next((files[suffix] for suffix in IMAGES if suffix in files), None)
        if image is None or ending not in files:
            lacking = f"no {what} ({ending})" if image else f"no image ({', '.join(IMAGES)})"
            raise InvalidError(
                f"{shard}: sample {key!r} has {lacking} among its {', '.join(files)}. "
                "Complete or remove it."
            )
        where = f"{shard}, sample {key!r}"
        yield Sample(key, Member(archive, image), Member(archive, files[ending]), where)
