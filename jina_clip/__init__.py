"""The jina-clip models, v1 and v2, in plain torch: official weights, no remote code."""

from jina_clip.config import CheckpointError, ClipConfig, TextConfig, VisionConfig
from jina_clip.model import ClipOutput, JinaCLIP
from jina_clip.preprocess import Preprocess
from jina_clip.presets import V1, V2

__all__ = [
    "V1",
    "V2",
    "CheckpointError",
    "ClipConfig",
    "ClipOutput",
    "JinaCLIP",
    "Preprocess",
    "TextConfig",
    "VisionConfig",
]
