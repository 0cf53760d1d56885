"""Exchanges the shards of a store's folder with a bucket; without a bucket it does nothing.

A store in a bucket is the union of what lies there and in a folder of each machine, its cache. The
layout of both is the same. What the bucket has more is fetched, what the folder has more is
uploaded, and neither is ever deleted. Rows are fetched when they are read.

There are no locks in a bucket, so machines do not claim shards from one another. Each takes them in
an order of its own, and looks for a shard before it begins it. Where two are at one all the same
the first to put its sidecar is right, and the other's work was for nothing.
"""

import hashlib
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from evals.bucket import Bucket, Location, cache_of
from evals.embeddings.shards import KEY_FILE, DamagedError, Sidecar, parse_sidecar, read_sidecar
from evals.files import put_if_absent, write_atomically
from evals.schema import InvalidError

log = logging.getLogger(__name__)

T = TypeVar("T")


@runtime_checkable
class Mirror(Protocol):
    """The other place of a store's shards; `folder` is that of a key, and named by it."""

    def exchange(self, folder: Path) -> None:
        """Make the folder and the other place name the same shards."""

    def look(self, folder: Path, shard: str) -> None:
        """Get the sidecar of a shard, if there is one by now."""

    def fetch(self, folder: Path, shards: Iterable[str]) -> None:
        """Get the rows of shards, as far as they are not in the folder and are there unharmed."""

    def publish(self, folder: Path, shard: str) -> None:
        """Put a shard that was committed in the folder."""

    def distrust(self, folder: Path, shard: str) -> None:
        """Forget a shard that was not fit for use: unless it is sound there, it is put anew."""

    def in_order(self, shards: Sequence[T]) -> Sequence[T]:
        """The order in which this process encodes shards."""


class OpenedStore(NamedTuple):
    """The folder that a process works in, and the other place of its shards."""

    folder: Path
    mirror: Mirror


class NoMirror:
    """That of a folder, which all who share it see: there is nothing to do."""

    def exchange(self, folder: Path) -> None:
        """Nothing."""

    def look(self, folder: Path, shard: str) -> None:
        """Nothing."""

    def fetch(self, folder: Path, shards: Iterable[str]) -> None:
        """Nothing."""

    def publish(self, folder: Path, shard: str) -> None:
        """Nothing."""

    def distrust(self, folder: Path, shard: str) -> None:
        """Nothing."""

    def in_order(self, shards: Sequence[T]) -> Sequence[T]:
        """As they come: claims keep processes from one another."""
        return shards


class BucketMirror:
    """A bucket, for the folder that is its cache.

    All but `in_order` raise MissingError when the bucket does not answer.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        # What is damaged in the bucket is left there, and written over.
        self._damaged: set[str] = set()

    def exchange(self, folder: Path) -> None:
        """List the key once, fetch the sidecars that are new, and upload what was not."""
        stored = _shards_in(self.bucket.sizes(folder.name))
        local = {file.stem for file in folder.glob("*.json")} - {Path(KEY_FILE).stem}
        new = stored - local - self._damaged
        if new:
            folder.mkdir(parents=True, exist_ok=True)
        self.bucket.each(lambda shard: self.look(folder, shard), sorted(new))
        # Those of a process that ended between its commit and its upload.
        self.bucket.each(lambda shard: self.publish(folder, shard), sorted(local - stored))

    def look(self, folder: Path, shard: str) -> None:
        """Get the sidecar; one that stays damaged is none."""
        file = folder / f"{shard}.json"
        if shard in self._damaged or file.exists():
            return
        try:
            data = self.bucket.get(
                f"{folder.name}/{file.name}",
                lambda data: _parsed(data, folder.name, shard) is not None,
            )
        except InvalidError as error:
            self._warn(shard, error)
            return
        if data is not None:
            put_if_absent(file, data)

    def fetch(self, folder: Path, shards: Iterable[str]) -> None:
        """Get rows whose checksum is that of the sidecar."""
        absent = [name for name in shards if not (folder / f"{name}.safetensors").exists()]
        self.bucket.each(lambda shard: self._fetch(folder, shard), absent)

    def publish(self, folder: Path, shard: str) -> None:
        """Put the rows, then the sidecar; where both are there, nothing changes."""
        try:
            sidecar = read_sidecar(folder, shard)
            rows = (folder / f"{shard}.safetensors").read_bytes()
            key = (folder / KEY_FILE).read_bytes()
        except (DamagedError, FileNotFoundError):  # whoever reads it here will say so
            return
        if not _has_checksum(rows, sidecar):
            return
        self.bucket.put_if_absent(f"{folder.name}/{KEY_FILE}", key)
        names = [f"{folder.name}/{shard}.safetensors", f"{folder.name}/{shard}.json"]
        data = [rows, (folder / f"{shard}.json").read_bytes()]
        if shard in self._damaged:
            for name, content in zip(names, data, strict=True):
                self.bucket.put(name, content)
            self._damaged.discard(shard)
            return
        # The rows first: whoever sees the sidecar can read them.
        if not self.bucket.put_if_absent(names[0], rows) and not self._is_committed(names[1]):
            self.bucket.put(names[0], rows)  # of a process that ended before its sidecar
        self.bucket.put_if_absent(names[1], data[1])

    def distrust(self, folder: Path, shard: str) -> None:
        """See whether the bucket's copy is sound: it is fetched again then."""
        prefix = f"{folder.name}/{shard}"
        try:
            data = self.bucket.get(
                f"{prefix}.json", lambda data: _parsed(data, folder.name, shard) is not None
            )
            sidecar = _parsed(data, folder.name, shard) if data is not None else None
            if sidecar is not None:
                rows = self.bucket.get(f"{prefix}.safetensors", _checks(sidecar))
                if rows is not None:
                    return
        except InvalidError as error:
            self._warn(shard, error)
        self._damaged.add(shard)

    def in_order(self, shards: Sequence[T]) -> Sequence[T]:
        """By chance, so that no two processes begin with the same ones."""
        return random.sample(shards, len(shards))

    def _fetch(self, folder: Path, shard: str) -> None:
        file = folder / f"{shard}.safetensors"
        try:
            sidecar = read_sidecar(folder, shard)
            data = self.bucket.get(f"{folder.name}/{file.name}", _checks(sidecar))
        except (DamagedError, InvalidError):
            return  # without rows it is set aside where it is read, and distrusted
        if data is not None:
            write_atomically(file, data)

    def _is_committed(self, name: str) -> bool:
        return self.bucket.get(name, lambda data: True) is not None

    def _warn(self, shard: str, error: InvalidError) -> None:
        log.warning("%s; its shard is encoded again", error)
        self._damaged.add(shard)


def open_store(place: Location) -> OpenedStore:
    """The folder to work in, and what is to be done beside it."""
    if isinstance(place, Path):
        return OpenedStore(place, NoMirror())
    folder = cache_of(place)
    folder.mkdir(parents=True, exist_ok=True)
    return OpenedStore(folder, BucketMirror(Bucket(place)))


def _shards_in(names: Iterable[str]) -> set[str]:
    """The shards whose sidecars are among some objects of a key."""
    files = [Path(name) for name in names]
    return {file.stem for file in files if file.suffix == ".json" and file.name != KEY_FILE}


def _parsed(data: bytes, key: str, shard: str) -> Sidecar | None:
    """A sidecar; None for bytes that are none, or that of another shard."""
    try:
        return parse_sidecar(data, key, shard)
    except DamagedError:
        return None


def _checks(sidecar: Sidecar) -> Callable[[bytes], bool]:
    return lambda data: _has_checksum(data, sidecar)


def _has_checksum(rows: bytes, sidecar: Sidecar) -> bool:
    return hashlib.sha256(rows).hexdigest() == sidecar.sha256
