"""Webdataset shards of captioned images, named by a pattern or lying in a folder.

shards  <folder>/*.tar, <folder>/<split>/*.tar, or a pattern such as photos/{00..09}.tar
        a sample is <key>.jpg (png, webp, jpeg) with <key>.txt, one caption per line, or with
        <key>.json, whose `captions` or `caption` counts; as img2dataset and webdataset write them

Shards are read where they lie, in the order of their names.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from evals.data.archives import open_tar
from evals.data.captioned import Captioned, Release
from evals.data.releases import captions_of, only
from evals.data.webdataset import (
    IMAGES,
    Member,
    Sample,
    captions_of_text,
    find_webdataset,
    images_of,
    samples_of,
)
from evals.reading import read_json
from evals.schema import ConfigError, InvalidError, MissingError, Source

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
MOST_SHARDS = 100_000


def is_pattern(place: str) -> bool:
    """Whether a place stands for several files."""
    return "*" in place or "{" in place


def expand(pattern: str) -> list[Path]:
    """The shards that `photos/{00..09}.tar` or `photos/*.tar` means, in the order of their names.

    As in webdataset: `{00..09}` counts with as many digits, `{a,b}` lists. MissingError for a shard
    that is not there, and for a pattern of no shard.
    """
    paths: list[Path] = []
    # Braces first, as a shell does: `{a,b}/*.tar` lists all of a before those of b.
    for name in _expand_braces(pattern):
        path = Path(name).expanduser()
        if "*" not in name:
            paths.append(path)
            continue
        root = next(parent for parent in path.parents if "*" not in str(parent))
        paths += sorted(root.glob(str(path.relative_to(root))))
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        missing_name = missing[0] if missing else pattern
        raise MissingError(
            f"{missing_name}: no such shard ({len(missing):,} of {len(paths):,} are missing). "
            "Complete the shards, or correct the pattern."
        )
    return paths


def find_shards(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".tar" else []
    # CLIP_benchmark's webdatasets count their shards, and have a reader of their own.
    if find_webdataset(path, split):
        return []
    for folder in (path / split, path):
        first = min(folder.glob("*.tar"), default=None)
        if first is not None and _has_samples(first):
            return [folder]
    return []


def read_shards(place: Path, source: Source) -> Release:
    """The samples of all shards; row ids are the keys.

    InvalidError: a shard or a sample is broken.
    """
    shards = _shards(place)
    rows: list[Captioned] = []
    members: dict[str, Member] = {}
    for shard in shards:
        for sample in _samples(shard):
            rows.append(Captioned(sample.key, _captions(sample), sample.where))
            members.setdefault(sample.key, sample.image)
    subset = only(source, place)
    return Release(
        "shards",
        str(place),
        {subset: rows},
        lambda rows: images_of([members[r.image] for r in rows]),
    )


def _shards(place: Path) -> list[Path]:
    if place.is_dir():
        return sorted(place.glob("*.tar"))
    return [place] if place.is_file() else expand(str(place))


def _expand_braces(pattern: str) -> Iterator[str]:
    parts = _BRACES.split(pattern)
    choices = [
        [part] if number % 2 == 0 else _choices(part, pattern) for number, part in enumerate(parts)
    ]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > MOST_SHARDS:
        raise ConfigError(f"{pattern}: stands for {count:,} shards. Write a shorter pattern.")
    return map("".join, product(*choices))


def _choices(inside: str, pattern: str) -> Sequence[str]:
    """What `00..09` or `a,b` between braces stands for."""
    match = _RANGE.fullmatch(inside)
    if match is None:
        return inside.split(",")
    low, high = match.groups()
    if int(low) > int(high) or int(high) - int(low) >= MOST_SHARDS:
        raise ConfigError(f"{pattern}: {{{inside}}} counts nothing, or too much. Correct it.")
    return [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]


def _has_samples(shard: Path) -> bool:
    """Whether a tar holds captions beside its images: archives of images alone are no shards."""
    try:
        names = open_tar(shard).names
    except InvalidError:
        return True  # reading it says what is broken
    endings = {name.rpartition(".")[2].lower() for name in names[:100]}
    return bool(endings & set(IMAGES)) and bool(endings & {"txt", "json"})


def _samples(shard: Path) -> Iterator[Sample]:
    names = open_tar(shard).names
    # img2dataset writes both, and the text is what its captions are read from.
    ending = "txt" if any(name.lower().endswith(".txt") for name in names) else "json"
    return samples_of(shard, ending, "captions")


def _captions(sample: Sample) -> tuple[str, ...]:
    member = sample.annotation
    if member.name.lower().endswith(".txt"):
        return captions_of_text(member)
    return captions_of(read_json(member.data(), member.where), member.where)
