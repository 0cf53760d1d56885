"""The network: two towers that share one space, and the temperature between them.

Reads and writes no files; api.py does, and embeds texts and images with it.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from jina_clip.attention import kernels
from jina_clip.checkpoint import Checkpoint
from jina_clip.config import ClipConfig
from jina_clip.shapes import Features, Pixels, TokenIds
from jina_clip.text import TextTower
from jina_clip.vision import VisionTower
from jina_clip.weights import after_merging, official_tensors


class ClipOutput(NamedTuple):
    """What `forward` returns: embeddings are L2-normalised, `loss` is None unless asked for."""

    loss: Float[Tensor, ""] | None
    logits_per_image: Float[Tensor, "images texts"]
    logits_per_text: Float[Tensor, "texts images"]
    text_embeds: Features
    image_embeds: Features


class ClipModel(nn.Module):
    """Token ids and pixels to embeddings; its parts have the names of the official checkpoint."""

    def __init__(self, config: ClipConfig, *, attention: str = "sdpa", align: int = 1) -> None:
        """Random weights.

        `attention` is the text tower's backend, as `resolve_attention` names it; `align`: see
        layers.SwiGlu.
        """
        super().__init__()
        self.config = config
        self.text_model = TextTower(config.text, attention)
        self.vision_model = VisionTower(config.vision, align)
        self.logit_scale = nn.Parameter(
            torch.tensor(config.logit_scale_init_value, dtype=torch.float32)
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.logit_scale.device

    def get_text_features(self, input_ids: TokenIds) -> Features:
        """Unnormalised float32 features; the padding is where input_ids equal the pad id."""
        return self.text_model(input_ids)  # type: ignore[no-any-return]

    def get_image_features(self, pixel_values: Pixels) -> Features:
        """Unnormalised float32 features of preprocessed images."""
        # batches of a job have one shape, so cuDNN plans once; it is the fastest where it runs
        with kernels(
            "CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH", device=self.device
        ):
            return self.vision_model(pixel_values.to(self.device))  # type: ignore[no-any-return]

    def forward(
        self,
        input_ids: TokenIds,
        pixel_values: Pixels,
        return_dict: bool | None = None,
        return_loss: bool | None = None,
    ) -> ClipOutput:
        """Similarities of all texts and images, scaled by exp(logit_scale).

        The loss is CLIP's: row i of the texts belongs to row i of the images.

        `return_dict` is taken for the official signature: what comes back has names and is a tuple,
        either way.
        """
        texts = F.normalize(self.get_text_features(input_ids), dim=1)
        images = F.normalize(self.get_image_features(pixel_values), dim=1)
        logits = texts @ images.T * self.logit_scale.exp()
        loss = None
        # Radford et al. 2021: cross entropy over the rows and over the columns, averaged.
        if return_loss:
            target = torch.arange(len(logits), device=logits.device)
            loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        return ClipOutput(loss, logits.T, logits, texts, images)


def expected_shapes(config: ClipConfig) -> dict[str, tuple[int, ...]]:
    """Every key of the official model.safetensors with its shape: 395 for v1, 999 for v2."""
    with torch.device("meta"):
        return official_shapes(ClipModel(config))


def check_adapter(checkpoint: Checkpoint, config: ClipConfig) -> None:
    """CheckpointError when the adapter of a checkpoint does not fit it; its weights are not read."""
    if checkpoint.adapter is not None:
        checkpoint.check_adapter(after_merging(expected_shapes(config)))


def parameter_count(config: ClipConfig) -> int:
    """Values in the official checkpoint, LoRA included: 222,647,041 for v1, 865,278,477 for v2."""
    return sum(torch.Size(shape).numel() for shape in expected_shapes(config).values())


def official_shapes(model: ClipModel) -> dict[str, tuple[int, ...]]:
    """The keys and shapes that a model has in an official checkpoint."""
    tensors = official_tensors(model.state_dict(), model.config)
    return {name: tuple(tensor.shape) for name, tensor in tensors}
