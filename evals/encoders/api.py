"""Embeddings of an HTTP API, in the request shape of Jina and OpenAI, as an Encoder.

A remote model may change without notice: the fingerprint knows its URL and name and no date, the
record says when it was asked and by what name the server calls it. Shapes: n rows, d dimensions.
"""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
from jaxtyping import Float

from evals.encoders.api_answers import Answer, read_answer
from evals.encoders.api_inputs import Input, image_input, text_input
from evals.encoders.api_refusals import MESSAGE_KEYS, TooMuchError, message, one_line
from evals.encoders.api_server import SIDE_BY_SIDE, Server, wait_for
from evals.encoders.endpoint import read_endpoint, read_key
from evals.schema import InvalidError, Side

SCHEMA = "1"  # raise it when the same item is sent in another way
# As their makers publish them, so that the width costs no request.
DIMS = {
    "jina-clip-v1": 768,
    "jina-clip-v2": 1024,
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
}
BATCH = {"image": 32, "text": 128}  # items of a request
USAGE = ("requests", "retries", "tokens", "unreported", "image_tokens_expected", "unpriced")
log = logging.getLogger(__name__)


class _Todo:
    """The indices of a side that are not asked for yet, as spans in order."""

    def __init__(self, count: int) -> None:
        self._spans = deque([range(count)])

    def __bool__(self) -> bool:
        return bool(self._spans)

    def take(self, most: int) -> range:
        """The next indices, `most` of them or what is there in one piece."""
        span = self._spans.popleft()
        if len(span) > most:
            self._spans.appendleft(span[most:])
        return span[:most]

    def put_back(self, span: range) -> None:
        """These are to be asked for again, together with those behind them."""
        if self._spans and self._spans[0].start == span.stop:
            span = range(span.start, self._spans.popleft().stop)
        self._spans.appendleft(span)


class ApiEncoder:
    """A model behind an embeddings API: `URL#MODEL`, or `URL#MODEL;dim=N` to ask for a width.

    Every answer must name the model that was asked for, or name none. `;answers=NAME` allows a
    server another name for it, which then belongs to the fingerprint. `source["answered"]` records
    the name.

    `usage` counts requests and retries; the tokens that the server reports, and the answers that
    report none; the tokens of images by the published rules, and the images without a published
    price. `batches` holds the sizes of requests that were taken: more than one when the server
    wants less. The key and the pace come from the environment (`Server`).

    ConfigError for a spec that cannot be meant, or with a key that would travel in clear.
    """

    def __init__(self, *, name: str, spec: str, batch_images: int | None = None) -> None:
        self.endpoint = endpoint = read_endpoint(spec)
        self.name = name
        self.usage = dict.fromkeys(USAGE, 0)
        self.batches: dict[str, list[int]] = {}
        self.source: dict[str, str | None] = {
            "url": endpoint.url,
            "model": endpoint.model,
            "answered": None,
        }
        self._server = Server(endpoint, name, self.usage)
        self._limits = dict(BATCH)
        if batch_images:
            self._limits["image"] = batch_images
        # Rows to be stored or ranked are of norm 1; whoever looks at a server wants to see its own.
        self.keeps_norms = False
        # Good answers so far: the first of them settles the server's name for the model.
        self._answers = 0
        # Jina's models take a task; jina-clip takes objects, other models texts as plain strings
        self._jina = endpoint.model.startswith("jina")
        self._objects = endpoint.model.startswith("jina-clip")
        self.fingerprint: Mapping[str, str] = self._fingerprint()

    def _fingerprint(self) -> dict[str, str]:
        # In words, since the key of a store is by side: the rows of queries and documents differ.
        task = "retrieval.query for queries" if self._jina else "none"
        fingerprint = {
            "api": SCHEMA,
            "url": self.endpoint.url,
            "model": self.endpoint.model,
            "dimensions": str(self.endpoint.dimensions or "full"),
            "normalized": str(self._jina).lower(),
            "text.input": "object" if self._objects else "string",
            "text.task": task,
            "image.input": "base64",
            "image.task": task,
        }
        # Only where it is set, so that all other keys stay what they were.
        if self.endpoint.answers:
            fingerprint["answers"] = self.endpoint.answers
        return fingerprint

    @cached_property
    def dim(self) -> int:
        """The width of the rows: asked for, known, or learned by one request, which is counted."""
        width = self.endpoint.dimensions or DIMS.get(self.endpoint.model)
        return width or wait_for(self._learn_width)

    async def _learn_width(self) -> int:
        # Any text would do. It is a request, and so it is counted and may cost.
        inputs = [text_input("dimension", as_object=self._objects)]
        async with self._server.connect() as client:
            try:
                answer = await self._ask(client, inputs, task=None)
            except TooMuchError as failure:
                raise failure.alone("the text 'dimension'") from None
        return len(answer.rows[0])

    def encode(self, side: Side) -> Float[np.ndarray, "n d"]:
        """L2-normalised float32 rows; a zero row stays zero. Queries get the task of Jina's models.

        MissingError when the server cannot be reached or wants another key, ConfigError when it has
        no such endpoint or model, InvalidError when it refuses an item, its answer is no embedding
        of what was asked, or another model answers.
        """
        rows = np.zeros((len(side), self.dim), np.float32)
        if len(side):
            wait_for(self._fill, rows, side)
        return rows

    async def _fill(self, rows: Float[np.ndarray, "n d"], side: Side) -> None:
        """One request at a time until the server takes one of this size, then side by side."""
        todo = _Todo(len(side))
        async with self._server.connect() as client:
            # Four requests at once would each learn by a refusal that 128 texts are too many.
            while todo and f"{side.kind}s" not in self.batches:
                await self._request(client, rows, side, todo)
            try:
                async with anyio.create_task_group() as group:
                    for _ in range(SIDE_BY_SIDE):
                        group.start_soon(self._drain, client, rows, side, todo)
            except ExceptionGroup as failures:
                # The first failure cancelled the others: a group of one says no more than it.
                raise failures.exceptions[0] from None

    async def _drain(
        self, client: Any, rows: Float[np.ndarray, "n d"], side: Side, todo: _Todo
    ) -> None:
        while todo:
            await self._request(client, rows, side, todo)

    async def _request(
        self, client: Any, rows: Float[np.ndarray, "n d"], side: Side, todo: _Todo
    ) -> None:
        """Fill the rows of the next items, or put them back when the server finds them too many."""
        limit = self._limits[side.kind]
        indices = todo.take(limit)
        try:
            rows[indices.start : indices.stop] = await self._rows(client, side, indices)
        except TooMuchError as failure:
            self._halve(side, indices, failure)
            todo.put_back(indices)
        else:
            sizes = self.batches.setdefault(f"{side.kind}s", [])
            if limit not in sizes:
                sizes.append(limit)

    def _halve(self, side: Side, indices: range, failure: TooMuchError) -> None:
        if len(indices) == 1:
            raise failure.alone(f"{side.kind} {side.ids[indices.start]}")
        half = len(indices) // 2
        if half < self._limits[side.kind]:  # else a request beside this one was told the same
            self._limits[side.kind] = half
            log.warning(
                "%s; going on with %d %ss per request in place of %d",
                failure,
                half,
                side.kind,
                len(indices),
            )

    async def _rows(
        self, client: Any, side: Side, indices: Sequence[int]
    ) -> Float[np.ndarray, "n d"]:
        # Reading and encoding files would hold up the answers that other requests wait for.
        inputs = await anyio.to_thread.run_sync(self._inputs, side, indices)
        task = "retrieval.query" if self._jina and side.role == "query" else None
        rows = (await self._ask(client, inputs, task)).rows
        # A server that ignores `dimensions` answers 200 and gives the full width.
        if rows.shape[1] != self.dim:
            raise InvalidError(
                f"{self._server.where} gives rows of width {rows.shape[1]} for "
                f"{self.endpoint.model}, not {self.dim}. "
                "Check the model, or write its width behind it as ;dim=N."
            )
        if side.kind == "image":
            self.usage["image_tokens_expected"] += sum(item.tokens or 0 for item in inputs)
            self.usage["unpriced"] += sum(item.tokens is None for item in inputs)
        if self.keeps_norms:
            return rows.astype(np.float32)
        # not every server normalises
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)

    def _inputs(self, side: Side, indices: Sequence[int]) -> list[Input]:
        if side.kind == "text":
            return [text_input(side.items[i], as_object=self._objects) for i in indices]
        return [image_input(side, i, encoder=self.name, model=self.endpoint.model) for i in indices]

    async def _ask(self, client: Any, inputs: Sequence[Input], task: str | None) -> Answer:
        """The answer to the inputs, with rows as the server gives them, in float64."""
        body = self._body(inputs, task)
        content = await self._server.post(client, body)
        try:
            answer = read_answer(content, len(inputs))
        except ValueError as error:
            raise InvalidError(
                f"{self._server.where} answers with {error}{_reason(content)}. "
                "Check the URL and the model."
            ) from None
        # Before the rows are used: a router that falls back to another model says so only here.
        self._check_model(answer.model)
        self.usage["tokens"] += answer.tokens or 0
        self.usage["unreported"] += answer.tokens is None
        return answer

    def _body(self, inputs: Sequence[Input], task: str | None) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "input": [item.value for item in inputs],
        }
        if self._jina:
            # Floats rather than base64: `embedding_type` is Jina's word, `encoding_format` OpenAI's.
            body |= {"normalized": True, "embedding_type": "float"}
        else:
            body["encoding_format"] = "float"
        if self.endpoint.dimensions:
            body["dimensions"] = self.endpoint.dimensions
        if task:
            body["task"] = task
        return body

    def _check_model(self, answered: str | None) -> None:
        """Record the server's name of the model; InvalidError for another, or one that changes."""
        where, expected = self._server.where, self.endpoint.answers or self.endpoint.model
        if answered is not None and answered != expected:
            raise InvalidError(
                f"{where} was asked for {self.endpoint.model}, and the answer is by {answered!r}. "
                f"If that is its name for it, write ;answers={one_line(answered)} behind the model."
            )
        if self._answers and answered != self.source["answered"]:
            raise InvalidError(
                f"{where} named its model {self.source['answered']!r} at first, and now "
                f"{answered!r}. Find out which models answer there."
            )
        self._answers += 1
        self.source["answered"] = answered


def _reason(content: Any) -> str:
    """The server's message in an answer that calls itself good and is an error."""
    if not isinstance(content, dict) or not content.keys() & set(MESSAGE_KEYS):
        return ""
    return f" ({message(content, hidden=read_key().value)})"
