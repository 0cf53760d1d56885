"""Embeddings of an HTTP API, in the request shape of Jina and OpenAI, as an Encoder.

A remote model may change without notice: the fingerprint knows its URL and name and no date, the record says when it was asked.
Shapes: n rows, d dimensions.
"""

import base64
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from evals.encoders.endpoint import Server, TooLargeError, read_endpoint
from evals.encoders.pricing import image_tokens, version_of
from evals.schema import InvalidError, Selection, Side

SCHEMA = "1"  # raise it when the same item is sent in another way
DIMS = {
    "jina-clip-v1": 768,
    "jina-clip-v2": 1024,
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
}
BATCH = {"image": 32, "text": 128}  # items of a request
USAGE = ("requests", "retries", "tokens", "unreported", "image_tokens_expected", "unpriced")
PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
log = logging.getLogger(__name__)


class _Input(NamedTuple):
    """One item as the API takes it, and what an image should cost: None when that is not published."""

    value: str | dict[str, str]
    tokens: int | None


class ApiEncoder:
    """A model behind an embeddings API: `spec` is `URL#MODEL` or `URL#MODEL;dim=N`, where N is sent as `dimensions`.

    `usage` counts requests and retries; the tokens that the server reports, and the answers that report none; the tokens of
    images by the published rules, and the images without a published price. The key and the pace come from the environment
    (`Server`). ConfigError for a spec that cannot be meant, or with a key that would travel in clear.
    """

    def __init__(self, *, name: str, spec: str, batch_images: int | None = None) -> None:
        self.endpoint = read_endpoint(spec)
        self.name = name
        self.usage = dict.fromkeys(USAGE, 0)
        self.batches: dict[
            str, list[int]
        ] = {}  # the sizes of requests that were used; more than one when the server wants less
        self._server = Server(self.endpoint, name, self.usage)
        self._size = BATCH | ({"image": batch_images} if batch_images else {})
        self._jina = self.endpoint.model.startswith("jina")
        self._objects = self.endpoint.model.startswith(
            "jina-clip"
        )  # others take texts as plain strings
        self.source = {"url": self.endpoint.url, "model": self.endpoint.model}
        self.fingerprint: Mapping[str, str] = {
            "api": SCHEMA,
            "url": self.endpoint.url,
            "model": self.endpoint.model,
            "dimensions": str(self.endpoint.dimensions or "full"),
            "normalized": str(self._jina).lower(),
            "text.input": "object" if self._objects else "string",
            "text.task": "retrieval.query for queries" if self._jina else "none",
            "image.input": "base64",
            "image.task": "retrieval.query for queries" if self._jina else "none",
        }

    @cached_property
    def dim(self) -> int:
        """The width of the rows: as asked for, of a known model, or learned by one request, which is counted."""
        if known := self.endpoint.dimensions or DIMS.get(self.endpoint.model):
            return known
        with self._server.client() as client:
            return len(self._ask(client, [self._text("dimension")], task=None)[0])

    def encode(self, side: Side) -> Float[np.ndarray, "n d"]:
        """L2-normalised rows; a zero row stays zero. Queries get the task `retrieval.query` of Jina's models.

        MissingError when the server cannot be reached or wants another key, ConfigError when it has no such endpoint or model,
        InvalidError when it refuses an item or its answer is no embedding of what was asked.
        """
        rows = np.empty((len(side), self.dim), np.float32)
        done = 0
        with self._server.client() as client:
            while done < len(side):
                count = min(self._size[side.kind], len(side) - done)
                try:
                    rows[done : done + count] = self._rows(client, side, range(done, done + count))
                except TooLargeError:
                    self._halve(side, done, count)
                else:
                    done += count
        return rows

    def _rows(self, client: Any, side: Side, indices: Sequence[int]) -> Float[np.ndarray, "n d"]:
        inputs = [
            self._text(side.items[i]) if side.kind == "text" else self._image(side, i)
            for i in indices
        ]
        found = self._ask(
            client, inputs, task="retrieval.query" if self._jina and side.role == "query" else None
        )
        if found.shape[1] != self.dim:
            raise InvalidError(
                f"{self._server.where} gives rows of width {found.shape[1]} for {self.endpoint.model}, not {self.dim}. "
                "Check the model, or write its width behind it as ;dim=N."
            )
        if side.kind == "image":
            self.usage["image_tokens_expected"] += sum(given.tokens or 0 for given in inputs)
            self.usage["unpriced"] += sum(given.tokens is None for given in inputs)
        used = self.batches.setdefault(f"{side.kind}s", [])
        if self._size[side.kind] not in used:
            used.append(self._size[side.kind])
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        return (found / np.where(norms > 0, norms, 1)).astype(np.float32)

    def _halve(self, side: Side, index: int, count: int) -> None:
        if count == 1:
            what = f"{side.kind} {side.ids[index]}"
            raise InvalidError(
                f"{self._server.where} finds {what} too large (413). Make it smaller, or remove it."
            )
        self._size[side.kind] = count // 2
        log.warning(
            "%s finds %d %ss too many for a request; going on with %d",
            self._server.where,
            count,
            side.kind,
            count // 2,
        )

    def _text(self, text: str) -> _Input:
        return _Input({"text": text} if self._objects else text, None)

    def _image(self, side: Side, index: int) -> _Input:
        """The bytes of the file where there is one, so that the server decodes what was published; a URL as it is."""
        items, at = _unwrapped(side.items, index)
        what = f"{self.name}: image {side.ids[index]}"
        if hasattr(items, "read"):
            data = items.read(at)
        elif isinstance(item := items[at], str) and item.startswith(("http://", "https://")):
            return _Input({"image": item}, None)
        else:
            data = _png(item, what)
        version = version_of(self.endpoint.model)
        tokens = image_tokens(*_pixels(data, what), version) if version else None
        return _Input({"image": base64.b64encode(data).decode()}, tokens)

    def _ask(
        self, client: Any, inputs: Sequence[_Input], task: str | None
    ) -> Float[np.ndarray, "n d"]:
        """The embeddings of the inputs as the server gives them, in float64."""
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "input": [given.value for given in inputs],
        }
        body |= (
            {"normalized": True, "embedding_type": "float"}
            if self._jina
            else {"encoding_format": "float"}
        )
        body |= {"dimensions": self.endpoint.dimensions} if self.endpoint.dimensions else {}
        body |= {"task": task} if task else {}
        answer = self._server.post(client, body)
        try:
            rows = _embeddings(answer, len(inputs))
        except (ValueError, OverflowError) as error:
            raise InvalidError(
                f"{self._server.where} answers with {error}. Check the URL and the model."
            ) from None
        usage = answer.get("usage")
        tokens = (
            usage.get("total_tokens", usage.get("prompt_tokens"))
            if isinstance(usage, dict)
            else None
        )
        self.usage["tokens"] += tokens if isinstance(tokens, int) else 0
        self.usage["unreported"] += not isinstance(tokens, int)
        return rows


def _embeddings(answer: Any, count: int) -> Float[np.ndarray, "n d"]:
    """The rows of an answer in the order of the input, whatever its own; ValueError says what is wrong with it."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        raise ValueError("no list `data` of objects")
    if len(data) != count:
        raise ValueError(f"{len(data)} embeddings for {count} inputs")
    by_index = {
        entry.get("index"): entry.get("embedding")
        for entry in data
        if type(entry.get("index")) is int
    }
    if set(by_index) != set(range(count)):
        raise ValueError(f"embeddings whose `index` is not 0 to {count - 1}, each once")
    vectors = [by_index[index] for index in range(count)]
    if not all(
        isinstance(vector, list) and vector and {*map(type, vector)} <= {int, float}
        for vector in vectors
    ):
        raise ValueError("an `embedding` that is no list of numbers")
    if len(widths := {len(vector) for vector in vectors}) > 1:
        raise ValueError(f"embeddings of several widths ({', '.join(map(str, sorted(widths)))})")
    rows = np.array(vectors, np.float64)
    if not (np.abs(rows) <= np.finfo(np.float32).max).all():
        raise ValueError("numbers that are not finite")
    return rows


def _unwrapped(items: Sequence[Any], index: int) -> tuple[Any, int]:
    """The sequence below all selections, and the item's place in it: only there the stored bytes can be read."""
    below: Any = items
    while isinstance(below, Selection):
        below, index = below.items, below.indices[index]
    return below, index


def _png(image: Any, what: str) -> bytes:
    if not hasattr(image, "save"):
        raise InvalidError(
            f"{what} is neither an image nor a URL, but a {type(image).__name__}. Check the data."
        )
    data = BytesIO()
    (image if image.mode in PNG_MODES else image.convert("RGB")).save(data, "PNG")
    return data.getvalue()


def _pixels(data: bytes, what: str) -> tuple[int, int]:
    """Width and height, from the header alone."""
    from PIL import Image

    try:
        with Image.open(BytesIO(data)) as header:
            return header.size
    except (OSError, Image.DecompressionBombError) as error:
        raise InvalidError(f"{what} cannot be read ({error}). Replace the file.") from None
