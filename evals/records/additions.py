"""Adds files to a record after it was written: figures, findings, signatures."""

from pathlib import Path

from evals.files import PART, alone, write_atomically
from evals.records.exchange import upload_record
from evals.records.manifest import MANIFEST
from evals.records.seal import SEAL, as_seal, read_seal, sha256

_LOCK = f".{SEAL}.lock{PART}"


def write_into(path: Path, data: bytes) -> None:
    """Write a file, and where its folder is a record with a seal, add it to that."""
    write_atomically(path, data)
    # Not every folder with such a file is ours: figures may be written anywhere.
    if not ((path.parent / MANIFEST).is_file() and (path.parent / SEAL).is_file()):
        return
    # Of two commands at one record each adds its line to what the other has written.
    with alone(path.parent / _LOCK):
        # What the seal says of other files stays: it must not bless what somebody changed.
        hashes = read_seal(path.parent) or {}
        write_atomically(path.parent / SEAL, as_seal(hashes | {path.name: sha256(data)}))
    upload_record(path.parent, path.name)
