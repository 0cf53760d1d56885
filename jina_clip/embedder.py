"""The network together with what makes its inputs: tokenizer, image pipeline, and a budget for each pass.

It turns token ids and pixels into unnormalised rows, in passes that fit in memory. The official
calls that take texts and images, and give what a caller asks for, are in api.py.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from tokenizers import Tokenizer

from jina_clip.attention_backends import resolve_attention
from jina_clip.budget import Budget
from jina_clip.config import ClipConfig
from jina_clip.graphs import GraphedPass
from jina_clip.layers import Linear
from jina_clip.model import ClipModel
from jina_clip.packing import Ids
from jina_clip.passes import image_rows, inference, text_rows
from jina_clip.preprocess import Preprocess
from jina_clip.shapes import Bytes, Features
from jina_clip.tokens import instruction, tokenize

# Tokens per pass. On a GPU enough to keep it busy; on a CPU larger passes only take memory.
PASS_TOKENS = {"cuda": 32_768, "cpu": 1_024}


class Embedder(ClipModel):
    """A model that embeds tokens and pixels. `Embedder(config)` has random weights."""

    def __init__(
        self,
        config: ClipConfig,
        *,
        tokenizer: Tokenizer | None = None,
        preprocess: Preprocess | None = None,
        attention: str = "sdpa",
        align: int = 1,
    ) -> None:
        """`attention`, `align`: see ClipModel. Without a tokenizer it embeds token ids only."""
        super().__init__(config, attention=attention, align=align)
        self.tokenizer = tokenizer
        self.preprocess = preprocess or Preprocess(size=config.vision.image_size)
        self.compiled, self.in_float8 = False, False
        self._graphed: GraphedPass | None = None
        self._budgets: dict[str, Budget] = {}

    def compile_images(self) -> None:
        """Compile the image tower for batches of one size; the first one takes the time of that."""
        self.vision_model.compile_blocks()
        self.compiled = True

    def graph_images(self) -> None:
        """Replay passes of images as CUDA graphs, see graphs.py; ValueError where there is no card."""
        if self.device.type != "cuda":
            raise ValueError(f"CUDA graphs run on a card, and the model is on {self.device}")
        self._graphed = GraphedPass(self._image_pass)

    def round_to_float8(self) -> None:
        """Multiply by 8-bit floats in all layers of the blocks, see float8.py. The weights stay rounded."""
        for layer in self.modules():
            if isinstance(layer, Linear):
                layer.round_to_float8()
        self.in_float8 = True

    @property
    def budgets(self) -> dict[str, Budget]:
        """What a pass may hold: "tokens" of texts, "images"; each halves when memory runs out."""
        for unit in ("tokens", "images"):
            if unit not in self._budgets:
                self.set_budget(unit, None)
        return self._budgets

    def set_budget(self, unit: str, size: int | None) -> None:
        """Allow `size` "tokens" or "images" per pass; None: what suits the device."""
        tokens = PASS_TOKENS.get(self.device.type, PASS_TOKENS["cpu"])
        # An image is its patches and CLS: 1,297 tokens for v2, so 25 images a pass on a GPU.
        suits = tokens if unit == "tokens" else max(1, tokens // (self.config.vision.grid**2 + 1))
        self._budgets[unit] = Budget(suits if size is None else size, unit)

    def tokenize(
        self, texts: list[str], *, prefix: str = "", max_length: int | None = 512
    ) -> list[Ids]:
        """Token ids of the texts, the prefix before each; ValueError without a tokenizer."""
        if self.tokenizer is None:
            raise ValueError("the model has no tokenizer: pass tokenizer=... to JinaCLIP")
        return tokenize(self.tokenizer, [prefix + text for text in texts], max_length)

    def text_rows(
        self,
        ids: Sequence[Ids],
        *,
        batch_size: int | None = None,
        done: Callable[[int], object] = lambda n: None,
    ) -> Features:
        """Unnormalised rows of tokenized texts, in their order, on the model's device.

        `done(n)` is called whenever n are finished.
        """
        with inference(self):
            return text_rows(
                self.text_model, ids, self.budgets["tokens"], most=batch_size, done=done
            )

    def image_rows(
        self,
        pixels: Iterable[Bytes],
        *,
        batch_size: int | None = None,
        done: Callable[[int], object] = lambda n: None,
    ) -> Features:
        """Unnormalised rows of images, in their order, on the model's device.

        `pixels` are what `preprocess.pixels` gives.
        """
        with inference(self):
            rows = image_rows(
                self._graphed or self._image_pass,
                pixels,
                self.budgets["images"],
                most=batch_size,
                one_size=self.compiled,
                pin=self.device.type == "cuda",
                done=done,
            )
            return torch.cat([torch.empty(0, self.config.dim, device=self.device), *rows])

    def _image_pass(self, batch: Bytes) -> Features:
        on_device = batch.to(self.device, non_blocking=True)
        return self.get_image_features(self.preprocess.normalize(on_device))

    def instruction(self, task: str | None) -> str:
        """What `task` puts before a text; ValueError names the tasks of the model."""
        return instruction(self.config.text, task)

    def move(self, device: str | torch.device | None) -> None:
        """Move the model for good; None leaves it where it is. Budgets start anew elsewhere."""
        place = self.device if device is None else torch.device(device)
        if place.type == self.device.type and place.index in (None, self.device.index):
            return
        self.to(place)
        self._budgets.clear()
        self._graphed = None  # graphs are of the old device
        # the kernel of the old device may not run on the new one
        dtype = self.text_model.emb_ln.weight.dtype
        self.text_model.attention = resolve_attention("auto", self.config.text, place, dtype)
