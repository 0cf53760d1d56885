"""jina-clip as broken servers run it: each fault is written by itself, not by the variants that look for it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from evals.encoders.jina import JinaEncoder
from evals.parity.probe import Runner
from evals.schema import Side
from jina_clip import JinaCLIP

TINY = Path(__file__).parents[1] / "configs" / "tiny"
BATCH = 16  # texts that a server pads together


def tiny(**settings) -> Runner:
    """The bundled model as it should be."""
    return Runner("tiny", JinaEncoder(name="tiny", folder=TINY, **settings))


class Server:
    """The bundled model with its faults: `texts` and `images` turn lists into rows."""

    def __init__(self, texts: Callable, images: Callable) -> None:
        self.name, self.dim, self.fingerprint = "server", 256, {"weights": "those of tiny"}
        self.texts, self.images = texts, images

    def encode(self, side: Side) -> np.ndarray:
        items = [side.items[place] for place in range(len(side))]
        return np.asarray(self.texts(items) if side.kind == "text" else self.images(items))


def loaded() -> JinaCLIP:
    return JinaCLIP.from_pretrained(TINY)


def server(fault: str) -> Runner:
    """A server with one fault, by its name."""
    return Runner("server", FAULTS[fault]())


def not_normalised() -> Server:
    model = loaded()
    return Server(
        lambda texts: model.encode_text(texts, normalize_embeddings=False),
        lambda images: model.encode_image(images, normalize_embeddings=False),
    )


def first_token() -> Server:
    """The states of the last layer are caught by a hook, text by text."""
    model, caught = loaded(), []
    model.text_model.encoder.register_forward_hook(lambda _m, _i, out: caught.append(out))

    def texts(items):
        rows = []
        for text in items:
            model.encode_text([text])
            rows.append(F.normalize(caught.pop()[0], dim=0).numpy())
        return np.stack(rows)

    return Server(texts, model.encode_image)


def left_padded() -> Server:
    """Batches of 16, padded on the left, whose mask lets the first places through."""
    model = loaded()
    pad = model.config.text.pad_token_id

    def batch(items):
        ids = model.tokenize(items)
        longest = max(map(len, ids))
        rows = []
        for text in ids:
            padded = [pad] * (longest - len(text)) + list(text)
            mask = [True] * len(text) + [False] * (longest - len(text))
            seen = [token for token, visible in zip(padded, mask, strict=True) if visible]
            rows.append(model.text_rows([seen])[0])
        return F.normalize(torch.stack(rows), dim=1).numpy()

    def texts(items):
        starts = range(0, len(items), BATCH)
        return np.concatenate([batch(items[start : start + BATCH]) for start in starts])

    return Server(texts, model.encode_image)


def tanh_gelu() -> Server:
    model = loaded()
    for layer in model.text_model.encoder.layers:
        mlp = layer.mlp
        mlp.forward = torch.nn.Sequential(mlp.fc1, torch.nn.GELU("tanh"), mlp.fc2).forward
    return Server(model.encode_text, model.encode_image)


def bilinear() -> Server:
    model = loaded()
    model.preprocess = replace(model.preprocess, interpolation="bilinear")
    return Server(model.encode_text, model.encode_image)


def squashed() -> Server:
    model = loaded()
    model.preprocess = replace(model.preprocess, resize_mode="squash")
    return Server(model.encode_text, model.encode_image)


def prompted() -> Server:
    model = loaded()
    return Server(
        lambda texts: model.encode_text(texts, task="retrieval.query"), model.encode_image
    )


def cut(limit: int = 77) -> Server:
    model = loaded()
    return Server(lambda texts: model.encode_text(texts, max_length=limit), model.encode_image)


def with_tokens(change: Callable[[list[int]], list[int]]) -> Server:
    """The tokens of each text changed, special ones included."""
    model = loaded()

    def texts(items):
        tokens = [change(list(text)) for text in model.tokenize(items)]
        return F.normalize(torch.cat([model.text_rows([text]) for text in tokens]), dim=1).numpy()

    return Server(texts, model.encode_image)


def blue_first() -> Server:
    model = loaded()

    def images(items):
        return model.encode_image([picture_of(np.asarray(item)[:, :, [2, 1, 0]]) for item in items])

    return Server(model.encode_text, images)


def picture_of(pixels: np.ndarray):
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels))


def shuffled() -> Server:
    """Answers come back as they are ready, and nobody puts them in order."""
    model = loaded()

    def texts(items):
        order = np.random.default_rng(0).permutation(len(items))
        return model.encode_text(items)[order]

    return Server(texts, model.encode_image)


def half_precision() -> Server:
    model = JinaCLIP.from_pretrained(TINY, dtype="bfloat16")
    return Server(model.encode_text, model.encode_image)


FAULTS: dict[str, Callable[[], Server]] = {
    "no norm": not_normalised,
    "pooling": first_token,
    "padding side": left_padded,
    "GELU": tanh_gelu,
    "resize": bilinear,
    "squash": squashed,
    "prompt": prompted,
    "truncation": cut,
    "colour order": blue_first,
    "order": shuffled,
}
