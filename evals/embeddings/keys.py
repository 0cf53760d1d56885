"""The key of embeddings: everything that can change a row, and the name that is its hash."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from evals.schema import TEXT_IMAGE, AnyEncoder, EncoderInfo, Side

# Of the store as a whole. Folders of schema 1, whose shards name no key, lie under other names:
# the schema is part of the key.
SCHEMA = 2


class Key(NamedTuple):
    """The bytes of `key.json`, and the folder's name: the first half of what `sha256sum` says."""

    text: bytes
    name: str


def key_of(encoder: AnyEncoder, side: Side) -> Key:
    """The key of what an encoder makes of a side."""
    text = canonical_json(_identity(encoder, side))
    return Key(text, hashlib.sha256(text).hexdigest()[:32])


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """JSON that equal values have in common to the byte."""
    text = json.dumps(
        value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode() + b"\n"


def _identity(encoder: AnyEncoder, side: Side) -> dict[str, Any]:
    """What can change a row.

    Entries `text.…` of the fingerprint do not concern images, nor `image.…` texts; items of both
    depend on all.
    """
    unconcerned = {"text": ("image.",), "image": ("text.",), TEXT_IMAGE: ()}[side.kind]
    fingerprint = {
        name: value
        for name, value in encoder.fingerprint.items()
        if not name.startswith(unconcerned)
    }
    identity: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": side.kind,
        "role": side.role,
        "dim": encoder.dim,
        "encoder": fingerprint,
    }
    if side.kind == "text" and EncoderInfo.read(encoder).by_language:
        identity["language"] = side.language
    return identity
