"""The models behind the Encoder protocol: one small class each, loaded when first used."""

from collections.abc import Callable
from typing import Any

from evals.schema import Encoder


def _jina_clip(**options: Any) -> Encoder:
    from evals.encoders.jina import JinaEncoder

    return JinaEncoder(**options)


ENCODERS: dict[str, Callable[..., Encoder]] = {"jina_clip": _jina_clip}
