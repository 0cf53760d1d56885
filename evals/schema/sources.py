"""Where a benchmark's data is read from, and what of it is measured as what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class CaptionProtocol:
    """Which captions of a data set are measured, and as what.

    The defaults are all of them, as they were written. `captions`: "all", "first", or the first so
    many of each image. `quotes`: "csv" reads Flickr's annotation files as the CSV they are;
    "clip_benchmark" keeps the quotes around captions with a comma or a quote, and doubles those
    inside, as the loader of CLIP_benchmark does. `duplicates`: equal captions of several images are
    "own" queries and documents, each with its image, or "merged" into one with all of them.
    """

    captions: Literal["all", "first"] | int = "all"
    quotes: Literal["csv", "clip_benchmark"] = "csv"
    duplicates: Literal["own", "merged"] = "own"


@dataclass(frozen=True)
class ClassPrompts:
    """What a row of labelled images says of its classes: how many, and how they are called.

    `names` and `templates` are keys of clip-benchmark's files (names None: it has none, the data
    must bring them); `wordnet` is its list of the WordNet ids that a part of ImageNet is made of.
    `multilabel`: images have several classes. `folders`: where neither has names, folders are
    called as their classes. A template with `{c}` in it stands for itself.
    """

    classes: int
    names: str | None = None
    templates: str = "imagenet1k"
    wordnet: str | None = None
    multilabel: bool = False
    folders: bool = False


@dataclass(frozen=True)
class Source:
    """Where the subsets of a benchmark are read from: a local folder or file, else a repo of the Hub.

    `columns` says which columns of a table hold the images and captions, by role.
    """

    subsets: tuple[str, ...]
    split: str
    folder: Path | None = None
    repo: str | None = None
    revision: str | None = None
    protocol: CaptionProtocol = CaptionProtocol()
    prompts: ClassPrompts | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
