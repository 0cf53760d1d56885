"""Records in a bucket: uploaded whole with the seal last, and fetched whole, every file held against the seal.

A bucket's records lie in a folder of this machine, too, its cache, which is what commands read and
write. A file there names the bucket, so that whoever writes a record into the folder uploads it.
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from evals.bucket import Bucket, Location, cache_of, location
from evals.files import write_atomically
from evals.records.manifest import MANIFEST
from evals.records.seal import SEAL, as_seal, parse_seal, read_seal, sha256
from evals.schema import InvalidError

# Begins with a dot, as nothing does that is a record.
MARK = ".bucket"
# benchmark, model, record: what a record's folder is called below the root
DEPTH = 3

# The bytes of each file of a record, by its path below the record.
Sizes = Mapping[str, int]


def open_records(place: Location) -> Path:
    """The folder of the records at a place. Those of a bucket are fetched, and the cache's uploaded.

    ConfigError for a URL of anything else; MissingError when the bucket does not answer;
    InvalidError for a record that is not what its seal says, five times in a row.
    """
    place = location(place)
    if isinstance(place, Path):
        return place
    root, bucket = cache_of(place), Bucket(place)
    root.mkdir(parents=True, exist_ok=True)
    write_atomically(root / MARK, place.encode())
    stored = _records_in(bucket.sizes(""))
    # Also those of a process that ended, or lost the bucket, before it had uploaded them.
    local = {
        folder.relative_to(root).as_posix()
        for folder in root.glob("/".join("*" * DEPTH))
        if (folder / MANIFEST).is_file()
    }
    bucket.each(
        lambda name: _exchange(bucket, root / name, name, stored.get(name, {})),
        sorted(local | stored.keys()),
    )
    return root


def upload_record(folder: Path) -> None:
    """Upload a record that lies in the cache of a bucket, or what it has more; no other folder.

    MissingError when the bucket does not answer.
    """
    folder = folder.absolute()
    root = Path(*folder.parts[:-DEPTH])
    mark = root / MARK
    if not mark.is_file():
        return
    bucket = Bucket(mark.read_text())
    name = folder.relative_to(root).as_posix()
    _exchange(bucket, folder, name, _records_in(bucket.sizes(name)).get(name, {}))


def _exchange(bucket: Bucket, folder: Path, name: str, stored: Sizes) -> None:
    """Fetch what the bucket has more of a record, then upload what the folder has more."""
    if SEAL in stored and not _is_equal(folder, stored):
        _fetch(bucket, folder, name, stored)
    if (folder / MANIFEST).is_file():
        _upload(bucket, folder, name, stored)


def _is_equal(folder: Path, stored: Sizes) -> bool:
    hashes = read_seal(folder) or {}
    is_whole = (folder / MANIFEST).is_file() and stored[SEAL] == len(as_seal(hashes))
    return is_whole and stored.keys() - {SEAL} == hashes.keys()


def _upload(bucket: Bucket, folder: Path, name: str, stored: Sizes) -> None:
    hashes = read_seal(folder) or {}
    is_new = False
    for file in sorted(hashes):
        data = (folder / file).read_bytes()
        # What is not what the seal says stays here.
        if stored.get(file) != len(data) and sha256(data) == hashes[file]:
            bucket.put(f"{name}/{file}", data)
            is_new = True
    seal = as_seal(hashes)
    if SEAL not in stored:
        bucket.put_if_absent(f"{name}/{SEAL}", seal)
    elif is_new or stored[SEAL] != len(seal):
        bucket.put(f"{name}/{SEAL}", seal)


def _fetch(bucket: Bucket, folder: Path, name: str, stored: Sizes) -> None:
    """Fetch what the folder has not; the manifest last, whose presence means that all is there."""
    local = read_seal(folder) or {}
    where = f"{bucket.url}/{name}/{SEAL}"
    seal = bucket.get(f"{name}/{SEAL}", lambda data: len(data) == stored[SEAL])
    hashes = parse_seal(seal or b"", where)
    for file in sorted(hashes):
        if file != MANIFEST and not (folder / file).exists():
            _refuse_outside(file, where)
            _fetch_file(bucket, folder, name, file, hashes[file])
    # What was laid into it on this machine, and is not uploaded yet, stays sealed.
    write_atomically(folder / SEAL, as_seal(local | hashes))
    if not (folder / MANIFEST).exists():
        _fetch_file(bucket, folder, name, MANIFEST, hashes.get(MANIFEST, ""))


def _fetch_file(bucket: Bucket, folder: Path, name: str, file: str, digest: str) -> None:
    data = bucket.get(f"{name}/{file}", lambda data: sha256(data) == digest)
    if data is None:
        raise InvalidError(f"{bucket.url}/{name}: {SEAL} names {file}, which is not there.")
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / file, data)


def _records_in(sizes: Sizes) -> dict[str, dict[str, int]]:
    """The files of each record, by its name, among the objects of a bucket."""
    records: dict[str, dict[str, int]] = defaultdict(dict)
    for name, size in sizes.items():
        parts = PurePosixPath(name).parts
        if len(parts) > DEPTH and ".." not in parts:
            records["/".join(parts[:DEPTH])]["/".join(parts[DEPTH:])] = size
    return records


def _refuse_outside(file: str, where: str) -> None:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidError(f"{where}: names {file}, which is outside of the record.")
