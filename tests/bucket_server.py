"""A server of buckets on loopback that misbehaves when told to: localbucket, with faults between it and the wire.

It speaks S3, and Google's and Azure's dialects by tests/bucket_dialects.py.
"""

import base64
import io
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path

import localbucket
import pytest

from tests.bucket_dialects import ACCOUNT, DIALECTS, EXPIRED, TOKEN, refuse

BUCKET = "toys"
SECRET, KEY_ID = "a-secret-nobody-may-read", "AKIANOBODYMAYREAD"
# What befalls every tenth request, in turn.
FAULTS = ("refused", "answer lost", "cut off", "half a body", "failed after it was done")


@dataclass
class Server:
    """The folder of the bucket, and what its clients have met."""

    folder: Path
    scheme: str = "s3"
    port: int = 0
    every: int = 0  # 0: it behaves
    slow: float = 0.0
    forbidden: bool = False
    # How many requests the credentials are good for; None: as long as the server runs.
    expires: int | None = None
    requests: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    met: list[str] = field(default_factory=list)

    def url(self, prefix: str = "store") -> str:
        return f"{self.scheme}://{BUCKET}/{prefix}"

    def objects(self, prefix: str = "store") -> dict[str, bytes]:
        """What lies below a prefix, by name."""
        root = self.folder / prefix
        files = [path for path in root.rglob("*") if path.is_file()]
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(files)}


class Faults(localbucket.S3Handler):
    """Answers as the dialect beside it does, unless it is time for a fault."""

    server_state: Server

    def _dispatch(self, action):
        state = self.server_state
        time.sleep(state.slow)
        number = next(state.requests)
        is_time = state.every and number % state.every == 0
        fault = FAULTS[number // state.every % len(FAULTS)] if is_time else None
        if state.forbidden:
            # As S3 answers a wrong signature: with the id of the key.
            body = f"<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId></Error>"
            self._read_body()
            self._send(localbucket.HTTPStatus.FORBIDDEN, body.encode())
            return
        if state.expires is not None and number > state.expires:
            refuse(self, EXPIRED[state.scheme])
            return
        if fault is None:
            super()._dispatch(action)
            return
        state.met.append(fault)
        if fault == "refused":
            self._read_body()
            self._send(localbucket.HTTPStatus.SERVICE_UNAVAILABLE, b"slow down")
            return
        wire, self.wfile = self.wfile, io.BytesIO()
        super()._dispatch(action)
        answer, self.wfile = self.wfile.getvalue(), wire
        head, _, body = answer.partition(b"\r\n\r\n")
        if fault == "failed after it was done":
            self._send(localbucket.HTTPStatus.INTERNAL_SERVER_ERROR, b"who knows")
            return
        self.close_connection = True
        if fault == "answer lost":
            return
        half = body[: len(body) // 2]
        if fault == "half a body":  # and it says that this is all
            head = head.replace(
                f"Content-Length: {len(body)}".encode(), f"Content-Length: {len(half)}".encode()
            )
        self.wfile.write(head + b"\r\n\r\n" + half)


class Quiet(ThreadingHTTPServer):
    """It says nothing of clients that went away: they were killed."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


@contextmanager
def serving(folder: Path, scheme: str = "s3") -> Iterator[Server]:
    """A server of a bucket below `folder`, until the block ends."""
    (folder / BUCKET).mkdir(parents=True)
    state = Server(folder / BUCKET, scheme)
    attributes = {"data_root": folder, "server_state": state}
    handler = type("OurHandler", (Faults, DIALECTS[scheme]), attributes)
    server = Quiet(("127.0.0.1", 0), handler)
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def environment(server: Server, cache: Path) -> dict[str, str]:
    """What a client on one machine is told, by variables alone."""
    endpoint = f"http://127.0.0.1:{server.port}"
    variables = {
        "s3": {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        },
        "gs": {"GOOGLE_BASE_URL": endpoint, "GOOGLE_BEARER_TOKEN": TOKEN},
        "az": {
            "AZURE_STORAGE_ENDPOINT": f"{endpoint}/{ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(SECRET.encode()).decode(),
        },
    }
    return variables[server.scheme] | {"EVALS_CACHE": str(cache)}


def be_on(monkeypatch: pytest.MonkeyPatch, server: Server, cache: Path) -> None:
    """This process is on the machine with this cache."""
    for name, value in environment(server, cache).items():
        monkeypatch.setenv(name, value)
