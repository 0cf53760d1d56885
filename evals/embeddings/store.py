"""Embeddings on disk: encode once, score many.

    <root>/<key>/key.json             everything that can change a row, in clear
    <root>/<key>/<shard>.safetensors  some hundred rows, float32, full width
    <root>/<key>/<shard>.json         their content hashes and the file's sha256; its presence
    commits the shard

The key is a hash of the encoder's fingerprint, the kind and the role; an item is found by the hash
of its content. So the benchmark's name, the order and the language do not matter: what was encoded
for one benchmark serves every other. Only for encoders `by_language` the texts of each language
have a key of their own.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from evals.files import write_atomically
from evals.schema import (
    Encoder,
    EncoderInfo,
    InvalidError,
    MissingError,
    Side,
    StreamingEncoder,
)

SCHEMA = 1
# The most that a kill can cost: rows of a shard, and characters of its texts (about 32,000 tokens,
# one pass on a GPU).
SHARD_ROWS = {"image": 256, "text": 4096}
SHARD_CHARACTERS = 1 << 17
log = logging.getLogger(__name__)


class Embedded(NamedTuple):
    """The rows of a side in its order, and how many distinct items had to be encoded for them."""

    rows: Float[np.ndarray, "n d"]
    encoded: int


class _Index(NamedTuple):
    """What lies in a key folder: its shards, and the shard and row of each content hash."""

    shards: set[str]
    places: dict[str, tuple[str, int]]


class Store:
    """The embeddings below one folder.

    Several processes may share it: whoever comes second waits and then reads.
    """

    def __init__(self, root: Path, *, shard_rows: int | None = None) -> None:
        self.root = root
        self.shard_rows = shard_rows
        self._found: dict[Path, _Index] = {}  # of each key folder

    def missing(self, encoder: Encoder, side: Side) -> list[int]:
        """Indices of the first occurrence of every item that is not stored yet."""
        stored = self._rows_by_hash(self._folder(encoder, side))
        first: dict[str, int] = {}
        for index, item in enumerate(side.hashes):
            if item not in stored:
                first.setdefault(item, index)
        return list(first.values())

    def embed(
        self,
        encoder: Encoder,
        side: Side,
        *,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Embedded:
        """The rows of `side`: those stored are read and checked, the others encoded and stored shard by shard.

        A damaged shard is set aside with a warning and encoded again. InvalidError when a row holds
        NaN or infinity (with the ids) or the encoder gives another shape than it promised;
        MissingError when the disk is full. `progress(done, total)` counts the items that have to be
        encoded.
        """
        folder = self._folder(encoder, side)
        rows = self._read(folder, set(side.hashes), encoder.dim)
        encoded = 0
        if len(rows) < len(set(side.hashes)):
            with self._locked(folder):
                rows |= self._read(
                    folder, set(side.hashes) - rows.keys(), encoder.dim
                )  # another process may have been here
                encoded = self._encode(folder, encoder, side, rows, progress)
        if not len(side):
            return Embedded(np.zeros((0, encoder.dim), np.float32), 0)
        return Embedded(np.stack([rows[item] for item in side.hashes]), encoded)

    def _encode(
        self,
        folder: Path,
        encoder: Encoder,
        side: Side,
        rows: dict[str, Float[np.ndarray, " d"]],
        progress: Callable[[int, int], None],
    ) -> int:
        todo = list(
            {
                item: index
                for index, item in reversed(list(enumerate(side.hashes)))
                if item not in rows
            }.values()
        )[::-1]
        for left_over in folder.glob(
            "*.part"
        ):  # of a killed process; the lock says that nobody writes here
            left_over.unlink()
        self._check_space(folder, len(todo) * encoder.dim * 4)
        write_atomically(folder / "key.json", _canonical(_identity(encoder, side)) + b"\n")
        progress(0, len(todo))
        shards = [side.select(part) for part in self._shards(side, todo)]
        done = 0
        with closing(_streamed(encoder, shards)) as stream:
            for shard, encoded_rows in zip(shards, stream, strict=True):
                checked_rows = _checked(encoded_rows, encoder, shard)
                _write_shard(folder, list(shard.hashes), checked_rows)
                rows |= dict(zip(shard.hashes, checked_rows, strict=True))
                done += len(shard)
                progress(done, len(todo))
        return len(todo)

    def _shards(self, side: Side, todo: list[int]) -> Iterator[list[int]]:
        """Neighbours in about equal amounts of work, so that a kill costs about as much of either kind.

        What is left to do after a kill falls into the same shards: passes are the same, and rows
        equal bit for bit.
        """
        most = self.shard_rows or SHARD_ROWS[side.kind]
        shard: list[int] = []
        characters = 0
        for index in todo:
            size = (
                len(side.items[index]) if side.kind == "text" else 0
            )  # an image is decoded by looking at it
            if shard and (len(shard) == most or characters + size > SHARD_CHARACTERS):
                yield shard
                shard, characters = [], 0
            shard.append(index)
            characters += size
        if shard:
            yield shard

    def _read(
        self, folder: Path, items_to_read: set[str], dim: int
    ) -> dict[str, Float[np.ndarray, " d"]]:
        by_hash = self._rows_by_hash(folder)
        shards: dict[str, list[tuple[str, int]]] = {}
        for item in items_to_read & by_hash.keys():
            name, row = by_hash[item]
            shards.setdefault(name, []).append((item, row))
        rows: dict[str, Float[np.ndarray, " d"]] = {}
        for name, items in sorted(shards.items()):
            try:
                shard = _read_shard(folder, name, dim)
            except _DamagedError as error:
                _set_aside(folder, name, str(error))
                continue
            rows |= {item: shard[row] for item, row in items}
        return rows

    def _rows_by_hash(self, folder: Path) -> dict[str, tuple[str, int]]:
        """Where each stored item lies.

        Sidecars already read are not read again; they never change.
        """
        index = self._found.setdefault(folder, _Index(set(), {}))
        present = {path.stem for path in folder.glob("*.json") if path.name != "key.json"}
        if index.shards - present:  # some were set aside, by us or by another process
            index = self._found[folder] = _Index(set(), {})
        for name in sorted(present - index.shards):
            try:
                items = _read_sidecar(folder, name)["items"]
            except _DamagedError as error:
                _set_aside(folder, name, str(error))
                continue
            index.shards.add(name)
            index.places.update((str(item), (name, row)) for row, item in enumerate(items))
        return index.places

    def _folder(self, encoder: Encoder, side: Side) -> Path:
        return self.root / hashlib.sha256(_canonical(_identity(encoder, side))).hexdigest()[:32]

    def _locked(self, folder: Path) -> Any:
        from filelock import FileLock, Timeout

        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            return lock.acquire(timeout=0)
        except Timeout:
            log.warning("another process is encoding into %s; waiting for it", folder)
            return lock.acquire()

    def _check_space(self, folder: Path, needed: int) -> None:
        free = shutil.disk_usage(folder).free
        if needed * 1.05 > free:
            raise MissingError(
                f"{folder}: the embeddings need {needed / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free. "
                "Make room or name another folder with --store."
            )


def _streamed(
    encoder: Encoder, shards: Sequence[Side]
) -> Generator[Float[np.ndarray, "n d"], None, None]:
    yield from (
        encoder.stream(shards)
        if isinstance(encoder, StreamingEncoder)
        else map(encoder.encode, shards)
    )


def _identity(encoder: Encoder, side: Side) -> dict[str, Any]:
    """What can change a row of this kind: fingerprint entries `text.…` do not concern images, nor `image.…` texts."""
    other_side = "image." if side.kind == "text" else "text."
    concerned = {
        name: value
        for name, value in encoder.fingerprint.items()
        if not name.startswith(other_side)
    }
    identity: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": side.kind,
        "role": side.role,
        "dim": encoder.dim,
        "encoder": concerned,
    }
    if side.kind == "text" and EncoderInfo.read(encoder).by_language:
        identity["language"] = side.language
    return identity


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode()


def _checked(
    rows: Float[np.ndarray, "n d"], encoder: Encoder, side: Side
) -> Float[np.ndarray, "n d"]:
    if rows.shape != (len(side), encoder.dim):
        raise InvalidError(
            f"{encoder.name}: gave rows of shape {rows.shape} for {len(side)} items of width {encoder.dim}"
        )
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if broken.size:
        names = ", ".join(side.ids[i] for i in broken[:5])
        raise InvalidError(
            f"{encoder.name}: {broken.size} of {len(side)} embeddings hold NaN or infinity: {names}"
        )
    return rows.astype(np.float32, copy=False)


class _DamagedError(Exception):
    """A shard that is not what was written."""


def _write_shard(folder: Path, items: Sequence[str], rows: Float[np.ndarray, "n d"]) -> None:
    """The file first, the sidecar last.

    The name comes from the content, so two writers cannot disagree.
    """
    from safetensors.numpy import save

    name = hashlib.sha256("\n".join(items).encode()).hexdigest()[:32]
    data = save({"rows": np.ascontiguousarray(rows)})
    sidecar = {
        "schema": SCHEMA,
        "sha256": hashlib.sha256(data).hexdigest(),
        "shape": list(rows.shape),
        "items": list(items),
    }
    write_atomically(folder / f"{name}.safetensors", data)
    write_atomically(folder / f"{name}.json", _canonical(sidecar) + b"\n")


def _read_sidecar(folder: Path, name: str) -> dict[str, Any]:
    try:
        sidecar = json.loads((folder / f"{name}.json").read_bytes())
        named = hashlib.sha256("\n".join(sidecar["items"]).encode()).hexdigest()[:32]
    except (ValueError, KeyError, TypeError) as error:
        raise _DamagedError(f"its sidecar is unreadable ({error})") from None
    if named != name:
        raise _DamagedError("its sidecar names other items than its file name")
    return dict(sidecar)


def _read_shard(folder: Path, name: str, dim: int) -> Float[np.ndarray, "n d"]:
    from safetensors.numpy import load

    sidecar = _read_sidecar(folder, name)
    try:
        data = (folder / f"{name}.safetensors").read_bytes()
    except FileNotFoundError:
        raise _DamagedError("its rows are missing") from None
    if hashlib.sha256(data).hexdigest() != sidecar.get("sha256"):
        raise _DamagedError("its checksum does not match")
    rows = load(data)["rows"]
    if (
        rows.shape != (len(sidecar["items"]), dim)
        or rows.dtype != np.float32
        or not np.isfinite(rows).all()
    ):
        raise _DamagedError(f"its rows are {rows.dtype} of shape {rows.shape}, or not finite")
    return rows


def _set_aside(folder: Path, name: str, why: str) -> None:
    """Keep a damaged shard out of the way, where it can be looked at."""
    aside = folder / "damaged"
    aside.mkdir(exist_ok=True)
    for suffix in (".json", ".safetensors"):
        path = folder / f"{name}{suffix}"
        if path.exists():
            path.replace(aside / path.name)
    log.warning("%s: damaged, %s; set aside in %s and encoded again", folder / name, why, aside)
