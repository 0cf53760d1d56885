"""A store in Azurite, Microsoft's own emulator of Azure's Blob service: EVALS_AZURITE names its azurite-blob.

    npm install azurite
    EVALS_AZURITE=node_modules/.bin/azurite-blob python -m pytest -m slow tests/test_bucket_azurite.py

It needs node, so `make test` does without it, and asks tests/bucket_dialects.py.
"""

import base64
import hashlib
import hmac
import http.client
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import numpy as np
import pytest

from evals.bucket import Bucket
from evals.embeddings.store import Store
from evals.records.exchange import open_records
from evals.records.record import list_runs
from tests.records import line, write
from tests.toys import HashEncoder, text_side

AZURITE = os.environ.get("EVALS_AZURITE")
ACCOUNT = "devstoreaccount1"
KEY = base64.b64encode(b"a key that Azurite is told in its environment").decode()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(AZURITE is None, reason="EVALS_AZURITE names no azurite-blob"),
]


@pytest.fixture
def container(tmp_path, monkeypatch) -> str:
    """The URL of a container in an Azurite that runs until the test ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--blobPort", str(port)]
    running = subprocess.Popen(
        [str(AZURITE), *options, "--location", str(tmp_path / "azurite")],
        env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
        stdout=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    for name, value in {
        "AZURE_STORAGE_ENDPOINT": endpoint,
        "AZURE_ALLOW_HTTP": "true",
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        "EVALS_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    try:
        until(lambda: answers(port), running)
        create(port, "toys")
        yield "az://toys/store"
    finally:
        running.terminate()
        running.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def create(port: int, name: str) -> None:
    """Create a container, which obstore cannot."""
    # https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
    lines = ["PUT", *[""] * 11, *(f"{key}:{value}" for key, value in headers.items())]
    text = "\n".join([*lines, f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"])
    digest = hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("PUT", f"/{ACCOUNT}/{name}?restype=container", b"", headers)
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    connection.close()


def test_a_container_holds_what_a_folder_holds_and_another_machine_reads_it(
    container, tmp_path, monkeypatch
):
    side = text_side([f"text {number} \u00e9" for number in range(120)])
    local = Store(tmp_path / "local", shard_rows=5).embed(HashEncoder(), side)
    assert Store(container, shard_rows=5).encode(HashEncoder(), side) == 120
    monkeypatch.setenv("EVALS_CACHE", str(tmp_path / "another machine"))
    again = Store(container, shard_rows=5).embed(HashEncoder(), side)
    assert again.encoded == 0
    np.testing.assert_array_equal(again.rows, local.rows)
    names = [path for path in (tmp_path / "local").rglob("*") if "index." not in path.name]
    sizes = {path.relative_to(tmp_path / "local").as_posix(): path for path in names}
    expected = {name: path.stat().st_size for name, path in sizes.items() if path.is_file()}
    assert Bucket(container).sizes("") == expected


def test_of_many_who_put_one_blob_one_succeeds(container):
    bucket = Bucket(container)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: bucket.put_if_absent("a b", b"%d" % i), range(8)))
    assert sorted(results) == [False] * 7 + [True]
    assert bucket.get("a b", lambda data: True) == b"%d" % results.index(True)


def test_records_are_uploaded_and_fetched(container, tmp_path, monkeypatch):
    write(open_records(container), [line()])
    monkeypatch.setenv("EVALS_CACHE", str(tmp_path / "another machine"))
    assert len(list_runs(open_records(container))) == 1
