"""The hashes of all files of a folder, in a file that `sha256sum -c SHA256SUMS` reads, too.

A record's manifest holds its own hash and those of metrics and queries. The seal beside it covers
the bytes of the manifest as well, and what commands lay into the record later: figures, findings,
the files of mteb. Records of earlier versions have none, and are read like all others.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from evals.files import PART
from evals.reading import read_bytes
from evals.schema import InvalidError

SEAL = "SHA256SUMS"
# The form of coreutils: the hash, two spaces, the name. Names with line breaks have no line here.
_LINE = re.compile(r"([0-9a-f]{64})  ([^\\\n]+)")


class Checked(NamedTuple):
    """What came of a seal: files that are not what it says, and those that it does not name."""

    files: int
    problems: list[str]
    unnamed: list[str]


def sha256(data: bytes) -> str:
    """The hash of a file's bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def as_seal(hashes: Mapping[str, str]) -> bytes:
    """The bytes of a seal, from the hash of each file by its path below the folder."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes)).encode()


def read_seal(folder: Path) -> dict[str, str] | None:
    """The hash of each file by its path; None for a folder without a seal.

    InvalidError names a line that is none. MissingError for a seal that cannot be read.
    """
    file = folder / SEAL
    if not os.path.lexists(file):
        return None
    return parse_seal(read_bytes(file), str(file))


def parse_seal(data: bytes, where: str) -> dict[str, str]:
    """The hash of each file in the bytes of a seal that `where` names in messages."""
    text = data.decode("utf-8", "replace")
    hashes = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise InvalidError(
                f"{where}, line {number}: no line of a hash, two spaces and a name. It was changed."
            )
        hashes[match[2]] = match[1]
    return hashes


def check_seal(folder: Path) -> Checked | None:
    """Every file that the seal names, held against its hash; None for a folder without a seal.

    InvalidError for a seal that cannot be read.
    """
    hashes = read_seal(folder)
    if hashes is None:
        return None
    problems = []
    for name, expected in hashes.items():
        file = folder / name
        if not file.is_file():
            problems.append(f"{file}: missing; {SEAL} names it.")
        elif sha256(read_bytes(file)) != expected:
            problems.append(f"{file}: not the file that {SEAL} names: it was changed.")
    # Parts are files that are being written, or that a killed process left.
    there = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(PART)
    }
    return Checked(len(hashes), problems, sorted(there - hashes.keys() - {SEAL, f"{SEAL}.sig"}))
