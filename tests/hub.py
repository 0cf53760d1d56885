"""A Hub on loopback that serves the API paths huggingface_hub asks for, and goes wrong as it is told."""

import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

COMMIT, OLDER = "a" * 40, "b" * 40


class Hub:
    """A server with one repo at one commit; what it does wrong is set before it is asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.head = COMMIT
        self.status = 0  # answer everything with this
        self.busy = 0  # answer so many calls of the API with 503
        self.cut = 0  # end so many downloads of large files half-way
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        path = request.path.partition("?")[0]
        self.asked.append(f"{request.command} {path}")
        data, headers, status = b"", {}, self.status
        if status:
            pass
        elif "/resolve/" in path:
            name = path.partition(f"/resolve/{self.head}/")[2]
            data, status = self.files.get(name, b""), 200 if name in self.files else 404
            digest = sha256(data).hexdigest()
            headers = {
                "X-Repo-Commit": self.head,
                "ETag": f'"{digest}"',
                "X-Linked-Etag": f'"{digest}"',
            }
            headers |= (
                {"X-Linked-Size": str(len(data))}
                if status == 200
                else {"X-Error-Code": "EntryNotFound"}
            )
        elif self.busy:
            status, self.busy = 503, self.busy - 1
        elif "/tree/" in path:
            status = 200
            listing = [
                {"type": "file", "path": name, "size": len(d), "oid": "0" * 40}
                for name, d in self.files.items()
            ]
            data = json.dumps(listing).encode()
        else:
            known = "/revision/" not in path or path.endswith((f"/{self.head}", "/main"))
            data, status = (
                json.dumps({"id": "org/set", "sha": self.head}).encode(),
                200 if known else 404,
            )
        size = len(data)
        if start := int(
            request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
        ):
            data, status = data[start:], 206
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        request.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            request.send_header(key, value)
        request.end_headers()
        if body and self.cut and path.endswith((".parquet", ".safetensors", ".tar")):
            self.cut -= 1
            request.wfile.write(data[: len(data) // 2])
            request.close_connection = True
        elif body:
            request.wfile.write(data)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    use(monkeypatch, server.url, tmp_path / "hub")
    yield server
    server.server.shutdown()
    server.server.server_close()
    close_session()


def use(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    close_session()
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
