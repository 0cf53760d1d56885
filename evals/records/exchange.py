"""Records in a bucket: uploaded whole with the seal last, and fetched whole, every file held against the seal.

A bucket's records lie in a folder of this machine, too, its cache, which is what commands read and
write. A file there names the bucket, so that whoever writes a record into the folder uploads it.
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from evals.bucket import Bucket, Location, cache_of, location
from evals.files import write_atomically
from evals.paths import leads_out
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


def upload_record(folder: Path, written: str = "") -> None:
    """Upload a record that lies in the cache of a bucket, or what it has more; no other folder.

    The file `written` was just laid into it, and takes the place of the bucket's. MissingError when
    the bucket does not answer.
    """
    folder = folder.absolute()
    root = Path(*folder.parts[:-DEPTH])
    mark = root / MARK
    if not mark.is_file():
        return
    bucket = Bucket(mark.read_text())
    name = folder.relative_to(root).as_posix()
    stored = _records_in(bucket.sizes(name)).get(name, {})
    _exchange(bucket, folder, name, stored, written)


def _exchange(bucket: Bucket, folder: Path, name: str, stored: Sizes, written: str = "") -> None:
    """Fetch what the bucket has of a record and the folder has not so, then upload what it has more.

    Of a file that both have, the bucket's counts, but for the one just `written`: whoever only
    reads must not put an old figure in the place of a new one.
    """
    if SEAL in stored and not _is_equal(folder, stored):
        _fetch(bucket, folder, name, stored, written)
    if (folder / MANIFEST).is_file():
        _upload(bucket, folder, name, stored, written)


def _is_equal(folder: Path, stored: Sizes) -> bool:
    """Whether a record looks the same here and there; contents are told apart by their size."""
    hashes = read_seal(folder) or {}
    if not (folder / MANIFEST).is_file() or stored[SEAL] != len(as_seal(hashes)):
        return False
    files = stored.keys() - {SEAL}
    return files == hashes.keys() and all(stored[file] == _size(folder / file) for file in files)


def _upload(bucket: Bucket, folder: Path, name: str, stored: Sizes, written: str) -> None:
    hashes = read_seal(folder) or {}
    is_new = False
    for file in sorted(hashes):
        if file != written and stored.get(file) == _size(folder / file):
            continue
        data = (folder / file).read_bytes()
        # What is not what the seal says stays here.
        if sha256(data) == hashes[file]:
            bucket.put(f"{name}/{file}", data)
            is_new = True
    seal = as_seal(hashes)
    if SEAL not in stored:
        bucket.put_if_absent(f"{name}/{SEAL}", seal)
    elif is_new or stored[SEAL] != len(seal):
        bucket.put(f"{name}/{SEAL}", seal)


def _fetch(bucket: Bucket, folder: Path, name: str, stored: Sizes, written: str) -> None:
    """Fetch what the folder has not so; the manifest last, whose presence means that all is there."""
    local = read_seal(folder) or {}
    where = f"{bucket.url}/{name}/{SEAL}"
    seal = bucket.get(f"{name}/{SEAL}", lambda data: len(data) == stored[SEAL])
    hashes = parse_seal(seal or b"", where)
    for file in hashes:
        if leads_out(file):
            raise InvalidError(f"{where}: names {file}, which is outside of the record.")
    for file in sorted(hashes.keys() - {MANIFEST, written}):
        if not (folder / file).exists() or local.get(file, hashes[file]) != hashes[file]:
            _fetch_file(bucket, folder, name, file, hashes[file])
    # What was laid into it on this machine, and is not uploaded yet, stays sealed.
    kept = {file: local[file] for file in local if file == written or file not in hashes}
    write_atomically(folder / SEAL, as_seal(hashes | kept))
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


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
