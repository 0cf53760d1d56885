"""Embeddings on disk: encode once, score many.

    <root>/<key>/key.json             everything that can change a row, in clear
    <root>/<key>/<shard>.safetensors  some hundred rows, float32, full width
    <root>/<key>/<shard>.json         whose rows they are; its presence commits the shard

The key is a hash of the encoder's fingerprint, the kind and the role (evals.embeddings.keys). An
item is known by the hash of its content. So the benchmark's name, the order and the language do
not matter: what was encoded for one benchmark serves every other. Only for encoders `by_language`
the texts of each language have a key of their own.

Shapes: n rows, d dimensions.
"""

import logging
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from evals.embeddings.keys import Key, key_of
from evals.embeddings.rows import StoredRows
from evals.embeddings.shards import (
    KEY_FILE,
    DamagedError,
    read_rows,
    read_sidecar,
    set_aside,
    write_key,
    write_shard,
)
from evals.files import sweep_parts
from evals.schema import Encoder, InvalidError, MissingError, Side, StreamingEncoder

# The most that a kill can cost: rows of a shard, and characters of its texts (about 32,000 tokens,
# one pass on a GPU).
SHARD_ROWS = {"image": 256, "text": 4096}
SHARD_CHARACTERS = 1 << 17
log = logging.getLogger(__name__)

Rows = dict[str, Float[np.ndarray, " d"]]  # by the content hash of the item


class Embedded(NamedTuple):
    """The rows of a side in its order, and how many distinct items had to be encoded for them."""

    rows: Float[np.ndarray, "n d"]
    encoded: int


class _Place(NamedTuple):
    """Where an item's row lies."""

    shard: str
    row: int


class _Index(NamedTuple):
    """What lies in a key folder: its shards, and the place of each content hash."""

    shards: set[str]
    places: dict[str, _Place]


class Store:
    """The embeddings below one folder.

    Several processes may share it: whoever comes second waits and then reads.
    """

    def __init__(self, root: Path, *, shard_rows: int | None = None) -> None:
        self.root = root
        self.shard_rows = shard_rows
        self._indices: dict[Path, _Index] = {}  # of each key folder

    def missing(self, encoder: Encoder, side: Side) -> list[int]:
        """Indices of the first occurrence of every item that is not stored yet."""
        stored = self._places(self.root / key_of(encoder, side).name)
        return _first_positions(side.hashes, known=stored.keys())

    def embed(
        self,
        encoder: Encoder,
        side: Side,
        *,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Embedded:
        """The rows of `side`: those stored are read and checked, the others encoded and stored.

        A shard that is damaged, or was written under another key, is set aside with a warning and
        encoded again. InvalidError when a row holds NaN or infinity (with the ids) or the encoder
        gives another shape than it promised; MissingError when the disk is full.
        `progress(done, total)` counts the items that have to be encoded.
        """
        key = key_of(encoder, side)
        folder = self.root / key.name
        if (folder / KEY_FILE).exists():
            write_key(folder, key)  # nothing, unless it is another key or damaged
        rows = self._read(folder, set(side.hashes), encoder.dim)
        encoded = 0
        if len(rows) < len(set(side.hashes)):
            with _locked(folder):
                # Another process may have encoded them while we waited.
                rows |= self._read(folder, set(side.hashes) - rows.keys(), encoder.dim)
                encoded = self._encode(key, encoder, side, rows, progress)
        if not len(side):
            return Embedded(np.zeros((0, encoder.dim), np.float32), 0)
        return Embedded(np.stack([rows[item] for item in side.hashes]), encoded)

    def rows(self, encoder: Encoder, side: Side) -> StoredRows:
        """The stored rows of `side`, to be read block by block; nothing is encoded.

        MissingError when an item has no row yet: `embed` makes them.
        """
        folder = self.root / key_of(encoder, side).name
        places = self._places(folder)
        absent = _first_positions(side.hashes, known=places.keys())
        if absent:
            raise MissingError(
                f"{self.root}: {len(absent):,} {side.kind}s by {encoder.name} are not stored, "
                f"{side.ids[absent[0]]} the first. Encode them first."
            )
        side_places = [places[item] for item in side.hashes]
        shards = sorted({place.shard for place in side_places})
        number = {shard: index for index, shard in enumerate(shards)}
        shard_of = np.array([number[place.shard] for place in side_places], np.int32)
        row_of = np.array([place.row for place in side_places], np.int32)
        return StoredRows(folder, shards, shard_of, row_of, encoder.dim)

    def _encode(
        self,
        key: Key,
        encoder: Encoder,
        side: Side,
        rows: Rows,
        progress: Callable[[int, int], None],
    ) -> int:
        """Add what `rows` lacks, shard by shard, and return how many items that were."""
        folder = self.root / key.name
        todo = _first_positions(side.hashes, known=rows.keys())
        # of killed processes; the lock says that nobody writes here
        sweep_parts(folder)
        _check_space(folder, len(todo) * encoder.dim * 4)
        write_key(folder, key)
        progress(0, len(todo))
        most = self.shard_rows or SHARD_ROWS[side.kind]
        shards = [side.select(part) for part in _split(side, todo, most)]
        done = 0
        with closing(_streamed(encoder, shards)) as stream:
            for shard, encoded_rows in zip(shards, stream, strict=True):
                checked_rows = _checked(encoded_rows, encoder, shard)
                write_shard(folder, list(shard.hashes), checked_rows)
                rows |= dict(zip(shard.hashes, checked_rows, strict=True))
                done += len(shard)
                progress(done, len(todo))
        return len(todo)

    def _read(self, folder: Path, items: set[str], dim: int) -> Rows:
        """The rows of those items that are stored and sound."""
        places = self._places(folder)
        items_by_shard: dict[str, list[str]] = {}
        for item in items & places.keys():
            items_by_shard.setdefault(places[item].shard, []).append(item)
        rows: Rows = {}
        for name, shard_items in sorted(items_by_shard.items()):
            try:
                shard = read_rows(folder, name, dim)
            except DamagedError as error:
                set_aside(folder, name, str(error))
                continue
            for item in shard_items:
                rows[item] = shard[places[item].row]
        return rows

    def _places(self, folder: Path) -> dict[str, _Place]:
        """Where each stored item lies.

        Sidecars already read are not read again; they never change.
        """
        index = self._indices.setdefault(folder, _Index(set(), {}))
        present = {path.stem for path in folder.glob("*.json") if path.name != KEY_FILE}
        if index.shards - present:  # some were set aside, by us or by another process
            index = self._indices[folder] = _Index(set(), {})
        for name in sorted(present - index.shards):
            try:
                items = read_sidecar(folder, name).items
            except DamagedError as error:
                set_aside(folder, name, str(error))
                continue
            except MissingError:
                if (folder / f"{name}.json").exists():  # it cannot be read
                    raise
                continue  # another process has just set it aside
            index.shards.add(name)
            for row, item in enumerate(items):
                index.places[item] = _Place(name, row)
        return index.places


def _first_positions(items: Sequence[str], *, known: Iterable[str]) -> list[int]:
    """Where each item that is not known comes first, in order."""
    seen = set(known)
    positions = []
    for position, item in enumerate(items):
        if item not in seen:
            seen.add(item)
            positions.append(position)
    return positions


def _split(side: Side, todo: Sequence[int], most: int) -> Iterator[list[int]]:
    """Neighbours in about equal amounts of work, so that a kill costs about as much of either kind.

    What is left to do after a kill falls into the same shards: passes are the same, and rows
    equal bit for bit.
    """
    shard: list[int] = []
    characters = 0
    for index in todo:
        # looking at an image would decode it
        size = len(side.items[index]) if side.kind == "text" else 0
        if shard and (len(shard) == most or characters + size > SHARD_CHARACTERS):
            yield shard
            shard, characters = [], 0
        shard.append(index)
        characters += size
    if shard:
        yield shard


def _streamed(
    encoder: Encoder, shards: Sequence[Side]
) -> Generator[Float[np.ndarray, "n d"], None, None]:
    if isinstance(encoder, StreamingEncoder):
        yield from encoder.stream(shards)
    else:
        yield from map(encoder.encode, shards)


def _checked(
    rows: Float[np.ndarray, "n d"], encoder: Encoder, side: Side
) -> Float[np.ndarray, "n d"]:
    if rows.shape != (len(side), encoder.dim):
        raise InvalidError(
            f"{encoder.name}: gave rows of shape {rows.shape} for {len(side)} items "
            f"of width {encoder.dim}"
        )
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if broken.size:
        names = ", ".join(side.ids[i] for i in broken[:5])
        raise InvalidError(
            f"{encoder.name}: {broken.size} of {len(side)} embeddings hold NaN or infinity: {names}"
        )
    return rows.astype(np.float32, copy=False)


def _locked(folder: Path) -> Any:
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        log.warning("another process is encoding into %s; waiting for it", folder)
        return lock.acquire()


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    # 5% for sidecars and headers
    if needed * 1.05 > free:
        raise MissingError(
            f"{folder}: the embeddings need {needed / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are "
            "free. Make room or name another folder with --store."
        )
