"""The entries of a manifest: their types, and the forms of times, texts and counts in them."""

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

WRITTEN = "%Y-%m-%dT%H:%M:%SZ"  # the time of writing, UTC

# `strptime` takes one digit where this form has two
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


def _is_time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError("no time such as 2026-01-31T12:00:00Z")
    datetime.strptime(text, WRITTEN)
    return text


def _is_text(text: str) -> str:
    # JSON can escape half a character, which neither Arrow nor a file takes
    if not text.isprintable() and any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("a lone surrogate, which is no character")
    return text


Dim = Annotated[int, Field(ge=1, lt=2**31)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
# an infinite sum of seconds could not be shown
Seconds = Annotated[float, Field(ge=0, lt=1e12)]
Text = Annotated[str, AfterValidator(_is_text)]
Name = Annotated[str, Field(min_length=1)]
Time = Annotated[str, AfterValidator(_is_time)]


class Part(BaseModel):
    """What parts of a manifest share: nothing is converted, nothing changes later."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class RepoPart(Part):
    """A data set's repository on the Hub."""

    repo: str | None = None
    revision: str | None = None


class ClassesPart(Part):
    """The classes of a classification: CLIP_benchmark's name of the set."""

    dataset: str | None = None


class OwnPart(Part):
    """Marks data that no row of configs declares, called `KIND:PLACE` on a command line."""

    kind: Name
    place: str | None = None


class RowPart(Part):
    """The row of configs/benchmarks.yaml that was measured."""

    name: str | None = None
    title: str | None = None
    task: str | None = None
    hub: RepoPart | None = None
    own: OwnPart | None = None
    classes: ClassesPart | None = None


class ConfigPart(Part):
    """The settings of the run. `store` and `data` are folders on the machine that measured."""

    dims: list[Dim] | None = None
    store: str | None = None
    data: str | None = None
    limit: Count | None = None
    allow_subset: bool = False
    row: RowPart = RowPart()


class DataPart(Part):
    """The data of one subset: the sha256 of all its images and texts, and where they came from."""

    content: Name | None = None
    origin: RepoPart = RepoPart()


class EncoderPart(Part):
    """The encoder: `dim` is its full width, `fingerprint` what can change its embeddings."""

    name: str | None = None
    dim: Dim | None = None
    fingerprint: dict[str, str] = {}
    source: dict[str, str | None] = {}


class LengthsPart(Part):
    """How many texts there were, and how many of them were longer than the encoder reads.

    None where that could not be counted.
    """

    truncated: Count | None


class TaskPart(Part):
    """The task of mteb; `query_metric` is what queries.parquet holds per query, if anything.

    `splits` are those that were measured, `all_splits` those of the task.
    """

    task: Name
    dataset: str | None = None
    revision: str | None = None
    mteb_version: str | None = None
    splits: list[str] = []
    all_splits: list[str] = []
    query_metric: str | None = None
    lengths: LengthsPart | None = None


class SourcePart(Part):
    """The git commit of the code, and whether files were changed since."""

    commit: str
    dirty: bool
