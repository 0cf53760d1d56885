"""Damage to a file at random, from a seed: bits flipped, ends cut off, blocks lost, doubled or strange."""

import random
from collections.abc import Callable
from pathlib import Path


def flip(data: bytes, rng: random.Random) -> bytes:
    """One bit is another."""
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def truncate(data: bytes, rng: random.Random) -> bytes:
    """The end is missing, as after a full disk."""
    return data[: rng.randrange(len(data))]


def empty(data: bytes, rng: random.Random) -> bytes:
    """Only the name is left, as after a power cut on some file systems."""
    return b""


def blank(data: bytes, rng: random.Random) -> bytes:
    """A block is zeros, as after a power cut on others."""
    start, end = _block(data, rng)
    return data[:start] + bytes(end - start) + data[end:]


def double(data: bytes, rng: random.Random) -> bytes:
    """A block comes twice."""
    start, end = _block(data, rng)
    return data[:end] + data[start:]


def lose(data: bytes, rng: random.Random) -> bytes:
    """A block is missing."""
    start, end = _block(data, rng)
    return data[:start] + data[end:]


def append(data: bytes, rng: random.Random) -> bytes:
    """Something follows."""
    return data + rng.randbytes(rng.randint(1, 40))


def replace(data: bytes, rng: random.Random) -> bytes:
    """Nothing is as it was but the length."""
    return rng.randbytes(len(data))


KINDS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip,
    flip,
    flip,
    truncate,
    truncate,
    empty,
    blank,
    double,
    lose,
    append,
    replace,
)


def damage(path: Path, rng: random.Random) -> str:
    """Change a file, by a kind of damage that does change it, and say how."""
    data = path.read_bytes()
    while True:
        kind = rng.choice(KINDS)
        damaged = kind(data, rng)
        if damaged != data:
            path.write_bytes(damaged)
            return f"{kind.__name__} {path.name}"


def _block(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.randint(1, 64))
