"""The models behind the Encoder protocol: one small class each, loaded when first used."""

import inspect
from collections.abc import Callable
from typing import Any

from evals.schema import ConfigError, Encoder, MissingError


# One import per kind, inside its function: torch and the rival libraries take seconds.
def _jina_clip() -> Callable[..., Encoder]:
    from evals.encoders.jina import JinaEncoder

    return JinaEncoder


def _open_clip() -> Callable[..., Encoder]:
    from evals.encoders.open_clip import OpenClipEncoder

    return OpenClipEncoder


def _sentence_transformers() -> Callable[..., Encoder]:
    from evals.encoders.sentence_transformers import SentenceTransformersEncoder

    return SentenceTransformersEncoder  # type: ignore[return-value] # its `dim` is computed


def _api() -> Callable[..., Encoder]:
    try:
        from evals.encoders.api import ApiEncoder
    except ModuleNotFoundError as error:
        raise MissingError(
            f"{error.name} is not installed; api: models need it. "
            "Run: pip install 'jina-clip-evals[rivals]'."
        ) from None

    return ApiEncoder  # type: ignore[return-value] # its `dim` is computed, and may take a request


def _embeddings() -> Callable[..., Encoder]:
    from evals.encoders.embedding_files import embedding_file

    return embedding_file


ENCODERS: dict[str, Callable[[], Callable[..., Encoder]]] = {
    "jina_clip": _jina_clip,
    "open_clip": _open_clip,
    "sentence_transformers": _sentence_transformers,
    "api": _api,
    "embeddings": _embeddings,
}


def build(
    kind: str, place: dict[str, Any], options: dict[str, Any], defaults: dict[str, Any]
) -> Encoder:
    """The encoder of a kind, under the name that `place` gives it.

    `place` says where the model is, `options` how it is run. The encoder gets those of them that it
    has parameters for. ConfigError for an option that the user set (it differs from `defaults`) and
    the encoder does not have; MissingError for a library that it needs and that is not installed.
    """
    return construct(ENCODERS[kind](), kind, place, options, defaults)


def construct(
    make: Callable[..., Encoder],
    kind: str,
    place: dict[str, Any],
    options: dict[str, Any],
    defaults: dict[str, Any],
) -> Encoder:
    """The same by what makes the encoder, which may be of another package."""
    # The constructor's signature is the list of options: a class without a parameter cannot be
    # given one that it would ignore.
    parameters = inspect.signature(make).parameters
    for name, value in options.items():
        # A default says nothing; an option that was set and changes nothing would be believed.
        if name not in parameters and value != defaults[name]:
            raise ConfigError(
                f"--{name.replace('_', '-')} means nothing to {place['name']}, which is {kind}. "
                "Leave it out."
            )
    arguments = place | options
    return make(**{name: value for name, value in arguments.items() if name in parameters})
