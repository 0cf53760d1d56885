"""The words of the house: kinds of data, sides, the encoder's protocol, sources, and errors."""

from evals.schema.encoders import Encoder, EncoderInfo, StreamingEncoder, TruncatingEncoder
from evals.schema.errors import (
    ConfigError,
    EvalError,
    InvalidError,
    MissingError,
    NotComparableError,
)
from evals.schema.kinds import Data, ImageText, Items, LabeledImages, TextPairs, TextRetrieval
from evals.schema.sides import Kind, Role, Selection, Side
from evals.schema.sources import CaptionProtocol, ClassPrompts, Source

__all__ = [
    "CaptionProtocol",
    "ClassPrompts",
    "ConfigError",
    "Data",
    "Encoder",
    "EncoderInfo",
    "EvalError",
    "ImageText",
    "InvalidError",
    "Items",
    "Kind",
    "LabeledImages",
    "MissingError",
    "NotComparableError",
    "Role",
    "Selection",
    "Side",
    "Source",
    "StreamingEncoder",
    "TextPairs",
    "TextRetrieval",
    "TruncatingEncoder",
]
