"""An encoder of another package, whose key in the store holds that package and its version."""

from collections.abc import Mapping
from typing import Any

from evals.schema import InvalidError, Side


class Plugged:
    """What a plug-in made, with `plugin` in its fingerprint: a new version encodes again.

    InvalidError for an object that is no encoder: it lacks `name`, `dim`, `fingerprint` or
    `encode`, or its fingerprint is empty.
    """

    def __init__(self, encoder: Any, package: str) -> None:
        lacking = [
            name for name in ("name", "dim", "fingerprint", "encode") if not hasattr(encoder, name)
        ]
        if lacking:
            raise InvalidError(
                f"{package}: what it made has no {', '.join(lacking)}. See docs/plugins.md."
            )
        if not encoder.fingerprint:
            raise InvalidError(
                f"{package}: the fingerprint of its encoder is empty. It must hold all that can "
                "change an embedding, such as a hash of the weights. See docs/plugins.md."
            )
        self._encoder = encoder
        self.fingerprint: Mapping[str, str] = {**encoder.fingerprint, "plugin": package}

    def encode(self, side: Side) -> Any:
        """A row per item, of `dim` values."""
        return self._encoder.encode(side)

    # Whatever else an encoder may have, such as `name`, `dim` or `by_language`, is the plug-in's.
    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)
