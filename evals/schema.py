"""The kinds of data that are measured, the encoder they are measured with, and the errors a user sees.

Shapes: n rows, d dimensions, texts, images.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

Kind = Literal["text", "image"]
Role = Literal["query", "document"]


class EvalError(Exception):
    """Something the user can mend: the message names the culprit and the remedy, the class the exit code."""

    exit_code: ClassVar[int] = 70


class ConfigError(EvalError):
    """A command line or a YAML file that cannot be meant."""

    exit_code = 2


class InvalidError(EvalError):
    """Data, weights, embeddings or results that are present but broken or incomplete."""

    exit_code = 3


class NotComparableError(EvalError):
    """Two results that do not measure the same thing."""

    exit_code = 4


class MissingError(EvalError):
    """Data or weights that are not on this machine and cannot be fetched."""

    exit_code = 5


@dataclass(frozen=True)
class Side:
    """A list that wants embedding.

    `items` holds str, or images that are decoded when indexed; `hashes` the sha256 (hex) of each
    item's content: the UTF-8 text, or the image file's bytes. `role` picks the instruction of
    encoders that have one, `language` (the name of the subset) the tokenizer of those that have one
    a language.
    """

    kind: Kind
    items: Sequence[Any]
    ids: Sequence[str]
    hashes: Sequence[str]
    role: Role | None = None
    language: str | None = None

    def __post_init__(self) -> None:
        if not len(self.items) == len(self.ids) == len(self.hashes):
            raise ValueError(
                f"{len(self.items)} items, {len(self.ids)} ids and {len(self.hashes)} hashes"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, indices: Sequence[int]) -> "Side":
        """The same side with the items at `indices` only, in that order; images stay undecoded."""
        return replace(
            self,
            items=Selection(self.items, indices),
            ids=[self.ids[i] for i in indices],
            hashes=[self.hashes[i] for i in indices],
        )


class Selection(Sequence[Any]):
    """A view on some items of a sequence that reads an item only when it is indexed."""

    def __init__(self, items: Sequence[Any], indices: Sequence[int]) -> None:
        self.items, self.indices = items, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Selection(self.items, self.indices[index])
        return self.items[self.indices[index]]


@dataclass(frozen=True)
class ImageText:
    """Images and their captions: Flickr30k, COCO, XTD, Crossmodal-3600, Scenes.

    `image_of_text[j]` is the index of the image that text j describes; every image has one text or
    more. A caption that describes several images has the others in `also`, as pairs of text and
    image. `origin` tells where the data came from (layout, path or repo, revision) and goes into
    the record.
    """

    images: Side
    texts: Side
    image_of_text: Int[np.ndarray, "texts"]
    origin: Mapping[str, str]
    also: Int[np.ndarray, "more 2"] = field(
        default_factory=lambda: np.zeros((0, 2), dtype=np.int64)
    )

    @property
    def counts(self) -> dict[str, int]:
        """How much there is, by the names that rows declare it under."""
        return {"images": len(self.images), "texts": len(self.texts)}

    @property
    def truth(self) -> tuple[np.ndarray, ...]:
        """What belongs together, as indices."""
        return self.image_of_text, self.also


@final
@dataclass(frozen=True)
class LabeledImages:
    """Images and the classes they belong to; a class is described by its prompts: templates with its name put in.

    `labels` holds the class of each image, or for images of several classes a row of truths.
    `texts` are all prompts, class by class, and `class_of_text[j]` is the class that prompt j
    describes; every class has one or more, unless there are none at all (a training split needs no
    prompts). Two classes may have one name, as in ImageNet.
    """

    images: Side
    labels: Int[np.ndarray, "images"] | Bool[np.ndarray, "images classes"]
    classnames: tuple[str, ...]
    texts: Side
    class_of_text: Int[np.ndarray, "texts"]
    origin: Mapping[str, str]

    @property
    def multilabel(self) -> bool:
        """Whether an image may belong to several classes, or to none."""
        return self.labels.ndim == 2

    @property
    def counts(self) -> dict[str, int]:
        """How much there is, by the names that rows declare it under."""
        return {"images": len(self.images), "classes": len(self.classnames)}

    @property
    def truth(self) -> tuple[np.ndarray, ...]:
        """What belongs together, as indices."""
        return self.labels, self.class_of_text


Data = ImageText | LabeledImages


@runtime_checkable
class Encoder(Protocol):
    """What turns a side into rows. `fingerprint` holds everything that can change a row.

    These four are all that an encoder must have. What it may have beside them is stated by
    `EncoderInfo`, `StreamingEncoder` and `TruncatingEncoder`.
    """

    name: str
    dim: int
    fingerprint: Mapping[str, str]

    def encode(self, side: Side) -> Float[np.ndarray, "n d"]:
        """One row per item, float32, full width, in the order of the items."""
        ...


@dataclass(frozen=True)
class EncoderInfo:
    """What an encoder says of itself by attributes of these names; the defaults are for the rest.

    `source` says where its weights come from: folder, repo, revision, file or URL. `batches` holds
    the sizes of a pass that were used, by what is counted; `usage` the requests and tokens of an
    API. These three go into the record as they are when it is written. An encoder `by_language`
    heeds `side.language`, so the texts of each language are stored apart.
    """

    source: Mapping[str, str | None] = field(default_factory=dict)
    batches: Mapping[str, Sequence[int]] = field(default_factory=dict)
    usage: Mapping[str, int] = field(default_factory=dict)
    by_language: bool = False

    @classmethod
    def read(cls, encoder: Encoder) -> "EncoderInfo":
        """What this encoder says now."""
        stated = [entry.name for entry in fields(cls) if hasattr(encoder, entry.name)]
        return cls(**{name: getattr(encoder, name) for name in stated})


@runtime_checkable
class StreamingEncoder(Encoder, Protocol):
    """An encoder that decodes or tokenizes the next side while it computes the rows of one."""

    def stream(self, sides: Iterable[Side]) -> Iterator[Float[np.ndarray, "n d"]]:
        """`encode` of each side, in their order; all are of one kind and role."""
        ...


@runtime_checkable
class TruncatingEncoder(Protocol):
    """An encoder that can tell, without its weights, how many texts are longer than it reads."""

    def truncated(self, side: Side) -> int:
        """How many texts of the side are cut."""
        ...


@dataclass(frozen=True)
class CaptionProtocol:
    """Which captions of a data set are measured, and as what; the defaults are all of them, as they were written.

    `captions`: "all", "first", or the first so many of each image. `quotes`: "csv" reads Flickr's
    annotation files as the CSV they are; "clip_benchmark" keeps the quotes around captions with a
    comma or a quote, and doubles those inside, as the loader of CLIP_benchmark does. `duplicates`:
    equal captions of several images are "own" queries and documents, each with its image, or
    "merged" into one with all of them.
    """

    captions: Literal["all", "first"] | int = "all"
    quotes: Literal["csv", "clip_benchmark"] = "csv"
    duplicates: Literal["own", "merged"] = "own"


@dataclass(frozen=True)
class ClassPrompts:
    """What a row of labelled images says of its classes: how many there are, and where their names and templates are found.

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
    """Where the subsets of a benchmark are read from: a local folder (or file) when given, else a Hub dataset repo."""

    subsets: tuple[str, ...]
    split: str
    folder: Path | None = None
    repo: str | None = None
    revision: str | None = None
    protocol: CaptionProtocol = CaptionProtocol()
    prompts: ClassPrompts | None = None
