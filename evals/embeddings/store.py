"""Embeddings on disk: encode once, score many.

    <root>/<key>/key.json             everything that can change a row, in clear
    <root>/<key>/<shard>.safetensors  some ten MB of rows at most, float32, full width
    <root>/<key>/<shard>.json         whose rows they are; its presence commits the shard
    <root>/<key>/index.safetensors    where each item's row lies, once there are many shards

A multi-vector model has several rows per item, and offsets beside them (evals.embeddings.shards).

The key is a hash of the encoder's fingerprint, the kind and the role (evals.embeddings.keys). An
item is known by the hash of its content. So the benchmark's name, the order and the language do
not matter: what was encoded for one benchmark serves every other. Only for encoders `by_language`
the texts of each language have a key of their own.

Several processes may encode into one folder at once. They claim shards (evals.embeddings.claims),
and none waits while there are shards that nobody is at.

Shapes: n rows, d dimensions, m positions of a side.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Integer

from evals.bucket import location
from evals.counts import counted
from evals.embeddings.cutting import cut, expected_rows, limits_of
from evals.embeddings.encoding import Ended, Work, encode_shards
from evals.embeddings.failures import HOPELESS, TRIES, FailedShard, FailedShardsError
from evals.embeddings.index import Index, Places, digests_of, first_positions
from evals.embeddings.keys import key_of
from evals.embeddings.mirror import open_store
from evals.embeddings.rows import StoredRows
from evals.embeddings.shards import (
    KEY_FILE,
    DamagedError,
    read_rows,
    read_vectors,
    set_aside,
    write_key,
)
from evals.embeddings.vectors import StoredVectors
from evals.files import sweep_parts
from evals.schema import (
    AnyEncoder,
    Encoder,
    InvalidError,
    MissingError,
    MultiVectorEncoder,
    Side,
    Vectors,
    check_one_row,
    is_multi_vector,
)

# Rows are read back after they are written. So often they may be damaged by then.
READS = 3


class Embedded(NamedTuple):
    """The rows of a side in its order, and how many distinct items this process encoded for them."""

    rows: Float[np.ndarray, "n d"]
    encoded: int


def _silent(*numbers: int) -> None:
    pass


class Store:
    """The embeddings below one folder or in a bucket, which several processes may share.

    `root` is the folder that is worked in: that of `place`, or the cache of the bucket there.
    """

    def __init__(self, place: Path | str, *, shard_rows: int | None = None) -> None:
        self.place = location(place)
        self.root, self._mirror = open_store(self.place)
        self.shard_rows = shard_rows
        self._indices: dict[Path, Index] = {}  # of each key folder

    def missing(self, encoder: AnyEncoder, side: Side) -> list[int]:
        """Indices of the first occurrence of every item that is not stored yet."""
        digests = digests_of(side.hashes)
        places = self._index(self._folder(encoder, side)).find(digests)
        first = first_positions(digests)
        positions: list[int] = first[places.shard[first] < 0].tolist()
        return positions

    def embed(
        self, encoder: Encoder, side: Side, *, progress: Callable[[int, int], None] = _silent
    ) -> Embedded:
        """The rows of `side`: those stored are read and checked, the others encoded and stored.

        ConfigError for a multi-vector model, whose items have no one row.

        A shard that is damaged, or was written under another key, is set aside with a warning and
        encoded again. FailedShardsError, an InvalidError, when a row holds NaN or infinity (with
        the ids) or the encoder gives another shape than it promised, three times in a row; the
        other shards are stored by then. MissingError when the disk is full.
        `progress(done, total)` counts the items that have to be encoded. Memory holds the rows
        once, and a shard.
        """
        check_one_row(encoder)
        rows = np.empty((len(side), encoder.dim), np.float32)
        return Embedded(rows, self._stored(encoder, side, rows, progress))

    def encode(
        self, encoder: AnyEncoder, side: Side, *, progress: Callable[[int, int], None] = _silent
    ) -> int:
        """`embed`, but that memory holds no rows but those of a shard.

        `rows` reads them, or `vectors` those of a multi-vector model.

        Returns how many distinct items this process encoded.
        """
        return self._stored(encoder, side, None, progress)

    def shards(
        self, encoder: AnyEncoder, side: Side, *, but: Set[str] = frozenset()
    ) -> list[Int[np.ndarray, "_"]]:
        """The positions of what is not stored yet, cut into shards; `but` are items to leave out."""
        missing = self.missing(encoder, side)
        positions = np.array([i for i in missing if side.hashes[i] not in but], np.int64)
        return list(cut(side, positions, limits_of(encoder, side, self.shard_rows)))

    def encode_shards(
        self,
        encoder: AnyEncoder,
        side: Side,
        shards: Sequence[Int[np.ndarray, "_"]],
        *,
        progress: Callable[[int, int], None] = _silent,
    ) -> int:
        """See to it that some shards are stored, by this process or others; nothing is read.

        Raises what `embed` raises. Returns how many items this process encoded.
        """
        encoded = 0
        failed: list[FailedShard] = []
        for ended in self.encoding(encoder, side, shards, tries=TRIES, progress=progress):
            if ended.error is None:
                encoded += ended.items
                continue
            positions = shards[ended.number]
            failed.append(FailedShard.of(encoder.name, side, positions, str(ended.error)))
            if len(failed) == HOPELESS and not encoded:
                raise FailedShardsError(failed, rest="None could, so no others were tried")
        if failed:
            raise FailedShardsError(failed)
        return encoded

    def encoding(
        self,
        encoder: AnyEncoder,
        side: Side,
        shards: Sequence[Int[np.ndarray, "_"]],
        *,
        tries: int,
        progress: Callable[[int, int], None] = _silent,
    ) -> Iterator[Ended]:
        """The same, shard by shard as they end: whoever starts them again counts what failed.

        What ends is numbered as in `shards`; what others have stored meanwhile is not told.
        """
        key = key_of(encoder, side)
        folder = self.root / key.name
        # Also where all is stored: a process may have died between its last shard and its claim.
        sweep_parts(folder)
        if not shards:
            return
        folder.mkdir(parents=True, exist_ok=True)
        _check_space(folder, expected_rows(encoder, side, shards) * encoder.dim * 4)
        write_key(folder, key)
        digests = digests_of(side.hashes)
        work = Work(self._index(folder), self._mirror, side, digests, shards, progress)
        yield from encode_shards(work, encoder, tries=tries)

    def rows(self, encoder: Encoder, side: Side) -> StoredRows:
        """The stored rows of `side`, to be read block by block; nothing is encoded.

        MissingError when an item has no row yet: `encode` makes them. ConfigError for a
        multi-vector model.
        """
        check_one_row(encoder)
        stored = self._located(encoder, side)
        shard_of = stored.shard_of.astype(np.int32)
        return StoredRows(stored.folder, stored.shards, shard_of, stored.row_of, encoder.dim)

    def vectors(self, encoder: MultiVectorEncoder, side: Side) -> StoredVectors:
        """The stored vectors of `side` by a multi-vector model, to be read shard by shard.

        MissingError as `rows` has it.
        """
        return StoredVectors(*self._located(encoder, side), encoder.dim)

    def _located(self, encoder: AnyEncoder, side: Side) -> "_Located":
        folder = self._folder(encoder, side)
        index = self._index(folder)
        places = index.find(digests_of(side.hashes))
        absent = np.flatnonzero(places.shard < 0)
        if len(absent):
            raise MissingError(
                f"{self.place}: {counted(len(absent), side.kind)} by {encoder.name} not stored, "
                f"{side.ids[absent[0]]} the first. Encode them first."
            )
        numbers, shard_of = np.unique(places.shard, return_inverse=True)
        shards = [index.name(number) for number in numbers.tolist()]
        self._mirror.fetch(folder, shards)
        return _Located(folder, shards, shard_of, places.row)

    def _folder(self, encoder: AnyEncoder, side: Side) -> Path:
        return self.root / key_of(encoder, side).name

    def _index(self, folder: Path) -> Index:
        """What is known of a key folder, up to date."""
        self._mirror.exchange(folder)
        index = self._indices.setdefault(folder, Index(folder))
        index.refresh()
        return index

    def _stored(
        self,
        encoder: AnyEncoder,
        side: Side,
        rows: Float[np.ndarray, "n d"] | None,
        progress: Callable[[int, int], None],
    ) -> int:
        """See to it that all rows are stored and sound, fill `rows` with them, and count the work."""
        key = key_of(encoder, side)
        folder = self.root / key.name
        if (folder / KEY_FILE).exists():
            write_key(folder, key)  # nothing, unless it is another key or damaged
            sweep_parts(folder)  # of killed processes; a lock tells those of living ones
        digests = digests_of(side.hashes)
        unread = np.arange(len(side))
        encoded = 0
        for _ in range(READS):
            places = self._index(folder).find(digests.select(unread))
            unread = self._read(folder, places, unread, encoder, rows)
            if not len(unread):
                return encoded
            first = unread[first_positions(digests.select(unread))]
            shards = list(cut(side, first, limits_of(encoder, side, self.shard_rows)))
            encoded += self.encode_shards(encoder, side, shards, progress=progress)
        places = self._index(folder).find(digests.select(unread))
        if len(self._read(folder, places, unread, encoder, rows)):
            raise InvalidError(
                f"{folder}: what is written there reads back as something else, {READS} times in a "
                "row. Check the disk, or name another folder with --store."
            )
        return encoded

    def _read(
        self,
        folder: Path,
        places: Places,
        positions: Int[np.ndarray, "m"],
        encoder: AnyEncoder,
        rows: Float[np.ndarray, "n d"] | None,
    ) -> Int[np.ndarray, "unsound"]:
        """Check the shards that hold the items at some positions, and copy their rows into `rows`.

        Returns the positions of which no sound row is stored.
        """
        index = self._indices[folder]
        numbers = np.unique(places.shard[places.shard >= 0]).tolist()
        self._mirror.fetch(folder, map(index.name, numbers))
        order = np.argsort(places.shard, kind="stable")
        starts = np.flatnonzero(np.diff(places.shard[order], prepend=-2))
        unsound = []
        for group in np.split(order, starts[1:]):
            if not len(group):
                continue
            shard = int(places.shard[group[0]])
            if shard < 0:
                unsound.append(positions[group])
                continue
            read = read_vectors if is_multi_vector(encoder) else read_rows
            try:
                encoded = read(folder, index.name(shard), encoder.dim)
            except DamagedError as error:
                set_aside(folder, index.name(shard), str(error))
                self._mirror.distrust(folder, index.name(shard))
                unsound.append(positions[group])
                continue
            if rows is not None and not isinstance(encoded, Vectors):
                rows[positions[group]] = encoded[places.row[group]]
        return np.sort(np.concatenate(unsound)) if unsound else positions[:0]


class _Located(NamedTuple):
    """Where the items of a side lie: in which of the shards, and in which place there."""

    folder: Path
    shards: list[str]
    shard_of: Int[np.ndarray, "n"]
    row_of: Integer[np.ndarray, "n"]


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    # 5% for sidecars and headers
    if needed * 1.05 > free:
        raise MissingError(
            f"{folder}: the embeddings need {needed / 1e6:,.1f} MB and {free / 1e6:,.1f} MB are "
            "free. Make room or name another folder with --store."
        )
