"""The jina-clip models, v1 and v2, in plain torch: official weights, no remote code."""

from jina_clip.api import JinaCLIP
from jina_clip.checkpoint import Checkpoint
from jina_clip.config import ClipConfig
from jina_clip.model import ClipOutput
from jina_clip.official_json import CheckpointError
from jina_clip.preprocess import Preprocess
from jina_clip.presets import V1, V2
from jina_clip.text_config import TextConfig
from jina_clip.vision_config import VisionConfig

__all__ = [
    "V1",
    "V2",
    "Checkpoint",
    "CheckpointError",
    "ClipConfig",
    "ClipOutput",
    "JinaCLIP",
    "Preprocess",
    "TextConfig",
    "VisionConfig",
]
