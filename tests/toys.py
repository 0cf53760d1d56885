"""Stand-ins for models and data: an encoder that hashes, and images and texts whose match is known."""

import hashlib
import sys
import time
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from evals.schema import LAYOUT, MULTI_VECTOR, ImageText, Side, Vectors


def text_side(texts: list[str], role=None) -> Side:
    """Texts with ids t0, t1, …"""
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    return Side("text", texts, [f"t{i}" for i in range(len(texts))], hashes, role)


def image_text(image_of_text: list[int]) -> ImageText:
    """Images and texts that are only names; encoded by `HashEncoder` they match by chance."""
    images = text_side([f"image {i}" for i in range(max(image_of_text) + 1)])
    images = Side("image", images.items, [f"i{i}" for i in range(len(images))], images.hashes)
    texts = text_side([f"text {j}" for j in range(len(image_of_text))])
    return ImageText(images, texts, np.array(image_of_text), {"layout": "toy"})


class HashEncoder:
    """Rows that depend on the item alone, so that any order, batch or resumption gives the same; it counts its work."""

    def __init__(
        self, dim: int = 8, name: str = "toy", fingerprint: Mapping[str, str] | None = None
    ) -> None:
        self.name, self.dim = name, dim
        self.fingerprint = fingerprint or {
            "weights": "toy",
            "text.max_length": "64",
            "image.preprocess": "toy",
        }
        self.calls: list[list[str]] = []

    @property
    def encoded(self) -> int:
        """Items encoded so far."""
        return sum(map(len, self.calls))

    def encode(self, side: Side) -> Float[np.ndarray, "n d"]:
        self.calls.append(list(side.ids))
        rows = [
            np.random.default_rng(int(item[:8], 16)).standard_normal(self.dim)
            for item in side.hashes
        ]
        return np.array(rows, np.float32).reshape(len(side), self.dim)


class MultiHashEncoder:
    """Two to five vectors per item that depend on the item and its role alone; it counts its work."""

    def __init__(self, dim: int = 8, name: str = "multi") -> None:
        self.name, self.dim = name, dim
        self.fingerprint = {"weights": "toy", LAYOUT: MULTI_VECTOR}
        self.source = {"similarity": "maxsim"}
        self.calls: list[list[str]] = []

    @property
    def encoded(self) -> int:
        """Items encoded so far."""
        return sum(map(len, self.calls))

    def encode(self, side: Side) -> Vectors:
        self.calls.append(list(side.ids))
        items = []
        for item in side.hashes:
            number = int(item[:8], 16)
            rng = np.random.default_rng([number, side.role == "query"])
            items.append(rng.standard_normal((2 + number % 4, self.dim)))
        return Vectors.of(items, self.dim)


def stopping(encoder: HashEncoder | MultiHashEncoder, after: int) -> None:
    """Let it encode so many items; then it says so on stdout, and waits until its process is killed.

    So a process is killed while it works however slow the machine is that kills it.
    """
    encode = encoder.encode

    def encode_some(side: Side) -> object:
        if encoder.encoded >= after:
            sys.stdout.write("stopped\n")
            sys.stdout.flush()
            time.sleep(600)
        return encode(side)

    encoder.encode = encode_some  # type: ignore[method-assign,assignment]
