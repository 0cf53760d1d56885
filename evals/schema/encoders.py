"""What turns items into rows: the protocol that all models share, and what some offer beside it.

Shapes: n rows, d dimensions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from evals.schema.errors import ConfigError
from evals.schema.sides import Side
from evals.schema.vectors import Vectors

# The entry of a fingerprint that says what an item becomes, where that is not one row.
LAYOUT, MULTI_VECTOR = "layout", "multi-vector"


@runtime_checkable
class Encoder(Protocol):
    """What turns a side into rows. `fingerprint` holds everything that can change a row.

    These four are all that an encoder must have. What it may have beside them is stated by
    `EncoderInfo`, `StreamingEncoder` and `TruncatingEncoder`.
    """

    # What records, folders and tables call the model.
    name: str
    dim: int
    fingerprint: Mapping[str, str]

    def encode(self, side: Side) -> Float[np.ndarray, "n d"]:
        """One row per item, float32, full width, in the order of the items."""
        ...


@runtime_checkable
class MultiVectorEncoder(Protocol):
    """What turns an item into several vectors: ColBERT, ColPali. Scores are MaxSim.

    Its fingerprint has `"layout": "multi-vector"`, so that keys and records say so, too. What needs
    one row per item refuses it: a mean of its vectors would be another model.
    """

    name: str
    dim: int
    fingerprint: Mapping[str, str]

    def encode(self, side: Side) -> Vectors:
        """The vectors of each item, one or more, in the order of the items."""
        ...


# Either kind: most of what is done with an encoder does not look at what it gives.
AnyEncoder = Encoder | MultiVectorEncoder


def is_multi_vector(encoder: AnyEncoder) -> bool:
    """Whether an encoder gives several vectors per item, as its fingerprint says."""
    return encoder.fingerprint.get(LAYOUT) == MULTI_VECTOR


def check_one_row(encoder: AnyEncoder) -> None:
    """Refuse an encoder of several vectors per item where one row is needed. ConfigError."""
    if is_multi_vector(encoder):
        raise ConfigError(
            f"{encoder.name} gives several vectors per item, which are compared by MaxSim, and "
            "this needs one row per item. Choose another model; evals.run measures this one on "
            "captions:DIR, beir:DIR and retrieval tasks of mteb."
        )


@dataclass(frozen=True)
class EncoderInfo:
    """What an encoder says of itself by attributes of these names; the defaults are for the rest.

    `source` says where its weights come from: folder, repo, revision, file or URL. `batches` holds
    the sizes of a pass that were used, by what is counted; `usage` the requests and tokens of an
    API. These three go into the record as they are when it is written. An encoder `by_language`
    heeds `side.language`, so the texts of each language are stored apart.
    """

    source: Mapping[str, str | None] = field(default_factory=dict)
    batches: Mapping[str, Sequence[int]] = field(default_factory=dict)
    usage: Mapping[str, int] = field(default_factory=dict)
    by_language: bool = False

    @classmethod
    def read(cls, encoder: AnyEncoder) -> "EncoderInfo":
        """What this encoder says now."""
        # Read when asked for, not once: batches and usage grow while the encoder works.
        stated = [entry.name for entry in fields(cls) if hasattr(encoder, entry.name)]
        return cls(**{name: getattr(encoder, name) for name in stated})


@runtime_checkable
class StreamingEncoder(Encoder, Protocol):
    """An encoder that decodes or tokenizes the next side while it computes the rows of one."""

    def stream(self, sides: Iterable[Side]) -> Iterator[Float[np.ndarray, "n d"]]:
        """`encode` of each side, in their order; all are of one kind and role."""
        ...


@runtime_checkable
class TruncatingEncoder(Protocol):
    """An encoder that can tell, without its weights, how many texts are longer than it reads."""

    def truncated(self, side: Side) -> int | None:
        """How many texts of the side are cut; None for a model that does not say.

        MissingError, whose message is the reason, where counting needs what is not here.
        """
        ...
