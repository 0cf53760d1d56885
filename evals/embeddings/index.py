"""Where the row of each item of a key lies: sorted arrays of 24 bytes an item, found by bisection.

    <key>/index.safetensors   the places of the items of most shards, memory-mapped
    <key>/<shard>.json        read one by one for the shards that came since

The file is a help and no truth. It is made of the sidecars, once there are many, and extended when
many have come since; when it is lost or damaged it is made anew. It cannot lead to rows of other
items: a shard is called by the hash of its items, so the places in a shard of a name are always
these.

Shapes: n items, m positions.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt32, UInt64

from evals.embeddings.index_file import (
    Columns,
    Filed,
    Version,
    read_columns,
    version_of,
    write_merged,
)
from evals.embeddings.shards import KEY_FILE, DamagedError, read_sidecar, set_aside, set_file_aside
from evals.schema import MissingError

INDEX_FILE = "index.safetensors"
# Sidecars that are read one by one (some ms each) before they are worth a file, and what share of
# those in the file they must be: rewriting it then costs 16 times its size altogether.
TAIL = 64
SHARE = 16
# Items in memory before they go to the file: 8 million take 200 MB.
ITEMS_IN_MEMORY = 1 << 23


class Digests(NamedTuple):
    """The first 128 bits of the content hash of each item, in two halves.

    Among 100 million items two agree with a probability of 1 in 10^22.
    """

    high: UInt64[np.ndarray, "n"]
    low: UInt64[np.ndarray, "n"]

    def select(self, positions: Int[np.ndarray, "m"]) -> "Digests":
        """Those at some positions."""
        return Digests(self.high[positions], self.low[positions])

    @staticmethod
    def none() -> "Digests":
        """Those of no item."""
        return Digests(np.zeros(0, np.uint64), np.zeros(0, np.uint64))


class Places(NamedTuple):
    """The number of the shard that holds each item, -1 for those not stored, and the row in it."""

    shard: Int[np.ndarray, "n"]
    row: UInt32[np.ndarray, "n"]


def digests_of(items: Sequence[str]) -> Digests:
    """What the index knows items by. Hashes of content are sha256 in hex; any other id is hashed."""
    raw = b"".join(map(_digest, items))
    halves = np.frombuffer(raw, ">u8").astype(np.uint64).reshape(-1, 2)
    return Digests(np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1]))


def first_positions(digests: Digests) -> Int[np.ndarray, "m"]:
    """Where each item comes first, ascending."""
    order = np.lexsort((digests.low, digests.high))
    high, low = digests.high[order], digests.low[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    # lexsort is stable: of equal items the first in the side is the first here.
    return np.sort(order[is_first])


class Index:
    """The places of all items in a key folder, as of the last `refresh` or `catch_up`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: list[str] = []  # of shards, by their numbers, those that went included
        self._is_present = np.zeros(0, bool)
        self._filed, self._recent = Columns.empty(), Columns.empty()
        self._n_filed_shards = 0
        self._version: Version | None = None  # of the file that was read
        self._is_opened = False

    def name(self, shard: int) -> str:
        """The name of a shard by its number."""
        return self._names[shard]

    def refresh(self) -> None:
        """Take in the shards that came since, and forget those that went.

        A shard whose sidecar is damaged is set aside with a warning. Shards have other numbers
        afterwards.
        """
        self.catch_up()
        if not self._is_worth_filing():
            return
        # Of many processes that encode, one writes the file and the others read it.
        if version_of(self.folder / INDEX_FILE) != self._version:
            self._open()
            self.catch_up()
        if self._is_worth_filing():
            self._file()

    def catch_up(self) -> None:
        """The same in some ms for each shard that came, however many items there are."""
        if not self._is_opened:
            self._open()
        present = self._sidecars()
        batch: list[Columns] = []
        for name in sorted(present - set(self._names)):
            columns = self._read(name)
            if columns is None:
                present.discard(name)
                continue
            batch.append(columns)
            if sum(len(part.high) for part in batch) > ITEMS_IN_MEMORY:
                self._recent, batch = self._recent.merged(*batch), []
                self._file()
        if batch:
            self._recent = self._recent.merged(*batch)
        self._is_present = np.array([name in present for name in self._names], bool)

    def _is_worth_filing(self) -> bool:
        recent_shards = len(self._names) - self._n_filed_shards
        return recent_shards > max(TAIL, self._n_filed_shards // SHARE)

    def find(self, digests: Digests) -> Places:
        """The place of each item."""
        places = Places(
            np.full(len(digests.high), -1, np.int64), np.zeros(len(digests.high), np.uint32)
        )
        for columns in (self._filed, self._recent):
            self._find_in(columns, digests, places)
        return places

    def _find_in(self, columns: Columns, digests: Digests, places: Places) -> None:
        pending = np.flatnonzero(places.shard < 0)
        at = np.searchsorted(columns.high, digests.high[pending])
        # Equal first halves, and shards that are gone, are passed over one by one: both are rare.
        while len(pending):
            inside = at < len(columns.high)
            pending, at = pending[inside], at[inside]
            candidates = columns.high[at] == digests.high[pending]
            pending, at = pending[candidates], at[candidates]
            is_match = columns.low[at] == digests.low[pending]
            is_match &= self._is_present[columns.shard[at]]
            places.shard[pending[is_match]] = columns.shard[at[is_match]]
            places.row[pending[is_match]] = columns.row[at[is_match]]
            pending, at = pending[~is_match], at[~is_match] + 1

    def _sidecars(self) -> set[str]:
        # os.scandir by its strings: at 40,000 shards, Path.glob would take a second each time.
        try:
            with os.scandir(self.folder) as entries:
                names = {entry.name for entry in entries}
        except FileNotFoundError:
            return set()
        sidecars = {name for name in names if name.endswith(".json")} - {KEY_FILE}
        return {name.removesuffix(".json") for name in sidecars}

    def _read(self, name: str) -> Columns | None:
        """The items of a shard, by its sidecar; None when the shard is not there for us."""
        try:
            items = read_sidecar(self.folder, name).items
        except DamagedError as error:
            set_aside(self.folder, name, str(error))
            return None
        except MissingError:
            if (self.folder / f"{name}.json").exists():  # it cannot be read
                raise
            return None  # another process has just set it aside
        digests = digests_of(items)
        shard = np.full(len(items), len(self._names), np.uint32)
        self._names.append(name)
        return Columns(digests.high, digests.low, shard, np.arange(len(items), dtype=np.uint32))

    def _open(self) -> None:
        """Begin anew with what the file holds."""
        file = self.folder / INDEX_FILE
        self._is_opened = True
        self._names, self._n_filed_shards = [], 0
        self._filed, self._recent = Columns.empty(), Columns.empty()
        try:
            filed = read_columns(file, self.folder.name)
        except FileNotFoundError:
            return
        except DamagedError as error:
            set_file_aside(file, f"{error}; set aside and made anew")
            return
        self._names, self._filed, self._version = filed
        self._n_filed_shards = len(self._names)

    def _file(self) -> None:
        """Merge what is in memory into the file."""
        file = self.folder / INDEX_FILE
        write_merged(file, self.folder.name, self._names, self._filed, self._recent)
        self._n_filed_shards = len(self._names)
        written = self._written(file)
        if written is None:  # then in memory
            self._filed = self._filed.merged(self._recent)
        else:
            self._filed, self._version = written.columns, written.version
        self._recent = Columns.empty()

    def _written(self, file: Path) -> Filed | None:
        """What was written, mapped; None where the file is another process's by now.

        That may have met the shards in another order, and its numbers would lead to rows of other
        items.
        """
        try:
            filed = read_columns(file, self.folder.name)
        except (DamagedError, FileNotFoundError):
            return None
        return filed if filed.shards == self._names else None


def _digest(item: str) -> bytes:
    if len(item) == 64:
        try:
            raw = bytes.fromhex(item)
        except ValueError:
            raw = b""
        # As it is written: fromhex would take capitals and spaces, too.
        if raw.hex() == item:
            return raw[:16]
    # Sides of finished rows are known by the ids of their items.
    return hashlib.sha256(item.encode("utf-8", "surrogatepass")).digest()[:16]
