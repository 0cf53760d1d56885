"""The rows of one record in one file, so that it can be scored again without a store: `--keep-embeddings`.

embeddings.safetensors holds, for each key of the store, the tensors NAME.rows (n, d), float32, and
NAME.hashes (n, 32), the sha256 of each item's content. Equal items have one row, as in the store.

Shapes: n rows, d dimensions.
"""

import numpy as np
from jaxtyping import Float

from evals.embeddings.keys import key_of
from evals.schema import Encoder, InvalidError, MissingError, Side

EMBEDDINGS = "embeddings.safetensors"
HASH_BYTES = 32


# The rows of a key by the content hash of the item.
_Rows = dict[str, Float[np.ndarray, "d"]]


class KeptRows:
    """Rows of several sides, held until they are written, or read back."""

    def __init__(self, by_key: dict[str, _Rows] | None = None) -> None:
        self._by_key = by_key or {}

    def add(self, encoder: Encoder, side: Side, rows: Float[np.ndarray, "n d"]) -> None:
        """Hold the full-width rows of a side."""
        held = self._by_key.setdefault(key_of(encoder, side).name, {})
        held.update(zip(side.hashes, rows, strict=True))

    def rows(self, encoder: Encoder, side: Side) -> Float[np.ndarray, "n d"]:
        """The rows of a side, in its order. MissingError when not all of them are held."""
        held = self._by_key.get(key_of(encoder, side).name, {})
        absent = [item for item in side.hashes if item not in held]
        if absent:
            raise MissingError(
                f"{EMBEDDINGS}: {len(absent):,} of {len(side):,} {side.kind}s by {encoder.name} are "
                "not in it. Name the store that has them with --store."
            )
        if not len(side):
            return np.zeros((0, encoder.dim), np.float32)
        return np.stack([held[item] for item in side.hashes])

    def as_bytes(self) -> bytes:
        """The bytes of the file."""
        from safetensors.numpy import save

        tensors: dict[str, np.ndarray] = {}
        for name, held in self._by_key.items():
            if not held:  # of a side without items
                continue
            tensors[f"{name}.rows"] = np.stack(list(held.values())).astype(np.float32)
            digests = b"".join(bytes.fromhex(item) for item in held)
            hashes = np.frombuffer(digests, np.uint8).reshape(-1, HASH_BYTES)
            tensors[f"{name}.hashes"] = hashes
        return save(tensors)


def read_kept(data: bytes, where: str) -> KeptRows:
    """The rows in the bytes of a file that `where` names in messages.

    InvalidError for a file that is damaged or holds other tensors.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
    except SafetensorError as error:
        raise InvalidError(f"{where}: no safetensors file that can be read ({error}).") from error
    by_key: dict[str, _Rows] = {}
    for name, rows in tensors.items():
        key, _, part = name.rpartition(".")
        hashes = tensors.get(f"{key}.hashes")
        if part not in ("rows", "hashes") or hashes is None or f"{key}.rows" not in tensors:
            raise InvalidError(f"{where}: {name!r} is no tensor of rows and hashes.")
        if part == "hashes":
            continue
        if rows.ndim != 2 or hashes.shape != (len(rows), HASH_BYTES):
            raise InvalidError(
                f"{where}: {name!r} and its hashes have other shapes than one row each."
            )
        items = [digest.tobytes().hex() for digest in hashes]
        by_key[key] = dict(zip(items, rows, strict=True))
    return KeptRows(by_key)
