"""The words of the house: kinds of data, sides, the encoder's protocol, sources, and errors."""

from evals.schema.encoders import (
    LAYOUT,
    MULTI_VECTOR,
    AnyEncoder,
    Encoder,
    EncoderInfo,
    MultiVectorEncoder,
    StreamingEncoder,
    TruncatingEncoder,
    check_one_row,
    is_multi_vector,
)
from evals.schema.errors import (
    ConfigError,
    EvalError,
    InvalidError,
    MissingError,
    NotComparableError,
)
from evals.schema.kinds import Data, ImageText, Items, LabeledImages, TextPairs, TextRetrieval
from evals.schema.sides import TEXT_IMAGE, Kind, Role, Selection, Side
from evals.schema.sources import CaptionProtocol, ClassPrompts, Source
from evals.schema.text_images import Modality, TextImages, text_image_side
from evals.schema.vectors import VectorBlock, Vectors, VectorSource

__all__ = [
    "LAYOUT",
    "MULTI_VECTOR",
    "TEXT_IMAGE",
    "AnyEncoder",
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
    "Modality",
    "MultiVectorEncoder",
    "NotComparableError",
    "Role",
    "Selection",
    "Side",
    "Source",
    "StreamingEncoder",
    "TextImages",
    "TextPairs",
    "TextRetrieval",
    "TruncatingEncoder",
    "VectorBlock",
    "VectorSource",
    "Vectors",
    "check_one_row",
    "is_multi_vector",
    "text_image_side",
]
