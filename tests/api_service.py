"""A small embeddings API on loopback that answers as it is told, or misbehaves, and items to send it."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from types import MappingProxyType
from typing import Any, NamedTuple

import anyio
import numpy as np
import pytest
from PIL import Image

from evals.data.images import Images
from evals.encoders import api_server
from evals.encoders.api import ApiEncoder
from evals.encoders.endpoint import KEYS, RATE
from evals.schema import Side

KEY = "sk-very-secret-0123"
WIDTH = 4


class Reply(NamedTuple):
    """What the server sends: a status of 0 is none at all, only a cut connection."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = MappingProxyType({})


class Raw(NamedTuple):
    """The bytes of an answer as they come, status line and all, until there are no more or nobody reads them."""

    parts: Callable[[], Iterator[bytes]]


Request = dict[str, Any]
Answer = Callable[[Request], Reply | Raw]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def endless() -> Iterator[bytes]:
    """A body that never ends, as fast as it is read."""
    yield CHUNKED
    while True:
        yield b"10000\r\n" + b" " * 0x10000 + b"\r\n"


def dripping() -> Iterator[bytes]:
    """A body that comes a byte at a time and never ends."""
    yield CHUNKED
    while True:
        time.sleep(0.02)
        yield b"1\r\n \r\n"


def slow_head() -> Iterator[bytes]:
    """A header that comes a byte at a time and never ends."""
    yield b"HTTP/1.1 200 OK\r\nX: "
    while True:
        time.sleep(0.02)
        yield b"x"


def row_of(item: Any, width: int = WIDTH) -> list[float]:
    """The embedding of an item: it depends on the item alone."""
    digest = hashlib.sha256(json.dumps(item, sort_keys=True).encode()).digest()
    return [byte - 127.5 for byte in digest[:width]]


def good(request: Request, width: int | None = None) -> Reply:
    width = width or request.get("dimensions", WIDTH)
    data = [
        {"index": i, "embedding": row_of(item, width)} for i, item in enumerate(request["input"])
    ]
    return Reply(
        200,
        json.dumps(
            {"data": data, "model": request["model"], "usage": {"total_tokens": 7 * len(data)}}
        ),
    )


def changed(change: Callable[[dict[str, Any]], Any]) -> Answer:
    """A good answer that `change` then edits."""

    def answer(request: Request) -> Reply:
        body = json.loads(good(request).body)
        change(body)
        return Reply(200, json.dumps(body))

    return answer


class Service(ThreadingHTTPServer):
    """A small embeddings API: answers by `script` while there is one, then by `answer`, and keeps the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Answer | Reply | Raw] = []
        self.answer: Answer = good
        self.requests: list[Request] = []
        self.headers: list[dict[str, str]] = []

    def spec(self, model: str = "jina-clip-v2;dim=4") -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/embeddings#{model}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are written apart
    server: Service

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        answer = self.server.script.pop(0) if self.server.script else self.server.answer
        reply = answer if isinstance(answer, Reply | Raw) else answer(request)
        try:
            if isinstance(reply, Raw):
                self.close_connection = True
                for part in reply.parts():
                    self.wfile.write(part)
            else:
                self.send(reply)
        except OSError:  # nobody reads it
            self.close_connection = True

    def send(self, reply: Reply) -> None:
        if not reply.status:
            self.close_connection = True
            return
        self.send_response(reply.status)
        length = {"Content-Length": str(len(reply.body.encode()))}
        for name, value in {**length, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body.encode())
        self.close_connection = "Content-Length" in reply.headers  # promises more than it sends

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The waits that were asked for: none is waited, and the clock moves by them."""
    seconds: list[float] = []

    async def pause(wait: float) -> None:
        seconds.append(wait)
        await anyio.sleep(0)

    monkeypatch.setattr(api_server, "_pause", pause)
    monkeypatch.setattr(api_server, "_clock", lambda: sum(seconds))
    for variable in (*KEYS, RATE):
        monkeypatch.delenv(variable, raising=False)
    return seconds


def encoder(service: Service, model: str = "jina-clip-v2;dim=4", **options: Any) -> ApiEncoder:
    return ApiEncoder(name="remote", spec=service.spec(model), **options)


def file(width: int, height: int, colour: int = 0, kind: str = "PNG") -> bytes:
    data = BytesIO()
    Image.new("L", (width, height), colour).save(data, kind)
    return data.getvalue()


def image_side(files: list[bytes]) -> Side:
    names = [f"{i}.png" for i in range(len(files))]
    return Side(
        "image",
        Images(names, files.__getitem__),
        names,
        [hashlib.sha256(data).hexdigest() for data in files],
    )


def items_side(items: list[Any]) -> Side:
    ids = [f"i{n}" for n in range(len(items))]
    return Side("image", items, ids, ids)


def unit(row: list[float]) -> np.ndarray:
    return np.array(row, np.float32) / np.linalg.norm(row)
