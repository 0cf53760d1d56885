"""Data that no row describes, named on a command line by its kind and place: `captions:DIR`.

Nothing is read here. `evals.data.own` reads such data and makes the row of what it counted.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from evals.config.catalog import Benchmark
from evals.config.rows import Row, Text
from evals.schema import ConfigError


class OwnKind(NamedTuple):
    """A kind of data of one's own: what it is, the task that it is measured by, the options it heeds."""

    about: str
    task: str
    options: tuple[str, ...] = ()


# What may stand before the colon, one line per kind. evals.data.own has a reader for each.
KINDS: Mapping[str, OwnKind] = {
    "captions": OwnKind("images and their captions", "image_text", ("--split", "--columns")),
    "labels": OwnKind("images and their classes", "classification", ("--split", "--columns")),
    "beir": OwnKind("a BEIR folder", "retrieval", ("--split",)),
    "trec": OwnKind("TREC files", "retrieval", ("--split",)),
    "ir": OwnKind("an id of ir_datasets", "retrieval"),
    "sts": OwnKind("sentence pairs with gold scores", "text_pairs"),
}

# What a column of a table can be for.
ROLES = ("image", "captions", "label", "id")

_NAMED = re.compile(rf"(?:(?P<name>[^=:/]+)=)?(?P<kind>{'|'.join(KINDS)}):(?P<place>.*)", re.DOTALL)
# Files of these names are called by their folder.
COMMON = frozenset("captions metadata annotations labels data test train val results".split())
_UNSAFE = re.compile(r"[^\w.-]+")
# These end or begin the names of records that are made from other records' names.
_TAKEN = re.compile(r".*\.(partial|fusion|knn|linear)|mteb\..*")


class DataRef(NamedTuple):
    """Data of one's own before it is read: its kind, its place, and what its records are called.

    `place` is a folder, a file or whatever else the reader of the kind takes, as it was written.
    """

    kind: str
    place: str
    name: str

    @property
    def written(self) -> str:
        """As on a command line: `captions:photos`."""
        return f"{self.kind}:{self.place}"


class Reading(NamedTuple):
    """How data of one's own is read: which subsets, which split, and which columns of a table.

    None leaves each to the data. `columns` is written as for --columns.
    """

    subsets: tuple[str, ...] | None = None
    split: str | None = None
    columns: str | None = None

    @property
    def roles(self) -> dict[str, str]:
        """The columns by what they are for, as `{"image": "photo", "captions": "text"}`."""
        return parse_columns(self.columns) if self.columns else {}


class Own(Row):
    """Where data of one's own was read from: its kind, place and columns, as on the command line."""

    kind: Text
    place: Text
    columns: Text | None = None


class OwnBenchmark(Benchmark):
    """The row of data of one's own: its counts are those of what was read, and nobody declared them.

    `own` marks its records, so that no published table takes them for a benchmark's.
    """

    own: Own


def data_ref(text: str, name: str | None = None) -> DataRef | None:
    """What `KIND:PLACE` or `NAME=KIND:PLACE` means; None when the text is neither.

    `name` is that of `--name`. Unless one is chosen the name follows from the last part of the
    place. ConfigError: there is no place, two names, or none that a record can have.
    """
    match = _NAMED.fullmatch(text)
    if match is None:
        return None
    kind, place, chosen = match["kind"], match["place"], match["name"]
    if not place.strip():
        raise ConfigError(f"{text}: nothing behind the colon. Write {kind}:DIR.")
    if chosen and name:
        raise ConfigError(f"{text}: has a name, and --name {name} is another. Leave one out.")
    # An id of a library is no path: all of it says which collection is meant.
    usual = place if kind == "ir" else _name_of(place)
    return DataRef(kind, place, _checked(chosen or name or usual, text))


def parse_columns(text: str) -> dict[str, str]:
    """`image=photo,captions=text` by role; ConfigError for anything else."""
    roles: dict[str, str] = {}
    for part in text.split(","):
        role, equals, name = (piece.strip() for piece in part.partition("="))
        if role not in ROLES or not equals or not name or role in roles:
            raise ConfigError(
                f"--columns {text}: {part!r} is not ROLE=COLUMN with a role of {', '.join(ROLES)}, "
                "each once. Write image=photo,captions=text."
            )
        roles[role] = name
    return roles


def object_ref(name: str) -> DataRef:
    """Data that a program holds, which lies nowhere."""
    return DataRef("memory", "memory", _checked(name, f"name={name!r}"))


def row_of_record(fields: Mapping[str, object]) -> Benchmark:
    """The row that a record keeps of its benchmark, or of data of one's own."""
    return (OwnBenchmark if "own" in fields else Benchmark)(**fields)  # type: ignore[arg-type]


def kinds_in_words() -> str:
    """All kinds as they are written, for messages."""
    return ", ".join(f"{name}:… ({kind.about})" for name, kind in KINDS.items())


def data_name(place: Path) -> str:
    """What records call judgements or a run: the file's name in letters that folders take."""
    return _checked(place.name.removesuffix(".gz").rsplit(".", 1)[0] or place.name, str(place))


def _name_of(place: str) -> str:
    """`my-photos` for `~/pictures/My photos/`, and for `captions/my-photos.jsonl`."""
    path = Path(place).expanduser()
    # A glob such as photos/*.tar is called by its folder.
    while "*" in path.name or "{" in path.name:
        path = path.parent
    path = path.resolve()
    if path.is_file():
        return path.parent.name if path.stem.casefold() in COMMON else path.stem
    return path.name


def _checked(name: str, text: str) -> str:
    """The name in letters that folders, make and browsers take alike."""
    safe = _UNSAFE.sub("-", name.casefold()).strip("-.")
    if not safe or _TAKEN.fullmatch(safe):
        raise ConfigError(
            f"{text}: {name!r} cannot be the name of records. Choose one with --name."
        )
    return safe
