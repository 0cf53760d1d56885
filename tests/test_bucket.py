"""A store in a bucket is that of a folder to the byte, whatever the bucket does and whoever is killed."""

import logging
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from evals.bucket import Bucket, cache_of, location
from evals.embeddings.store import Store
from evals.schema import ConfigError, MissingError
from tests.bucket_dialects import DIALECTS, EXPIRED, TOKEN
from tests.bucket_server import FAULTS, KEY_ID, SECRET, Server, be_on, environment, serving
from tests.commands import ROOT, run, until
from tests.toys import HashEncoder, text_side

pytestmark = pytest.mark.faults

SIDE = text_side([f"text {number}" for number in range(120)])
SHARD_ROWS = 5
everywhere = pytest.mark.parametrize("scheme", DIALECTS)


@pytest.fixture
def scheme() -> str:
    """The provider of the bucket, unless a test names several."""
    return "s3"


@pytest.fixture
def server(tmp_path, monkeypatch, scheme):
    with serving(tmp_path / "server", scheme) as server:
        be_on(monkeypatch, server, tmp_path / "cache")
        yield server


@pytest.fixture
def local(tmp_path) -> Store:
    """The same rows, in a folder."""
    store = Store(tmp_path / "local", shard_rows=SHARD_ROWS)
    store.embed(HashEncoder(), SIDE)
    return store


def bucket_store(server: Server) -> Store:
    return Store(server.url(), shard_rows=SHARD_ROWS)


def files(store: Store) -> dict[str, bytes]:
    """The shards and keys of a folder; an index is made of them."""
    paths = [path for path in sorted(store.root.rglob("*")) if path.is_file()]
    names = {path.relative_to(store.root).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in names.items() if "index." not in name}


@everywhere
def test_a_bucket_holds_the_files_of_a_folder_to_the_byte(server, local):
    embedded = bucket_store(server).embed(HashEncoder(), SIDE)
    assert embedded.encoded == 120
    np.testing.assert_array_equal(embedded.rows, local.embed(HashEncoder(), SIDE).rows)
    assert server.objects() == files(local)


@everywhere
def test_a_bucket_that_misbehaves_changes_nothing(server, local, tmp_path, monkeypatch):
    server.every, server.slow = 10, 0.005
    bucket_store(server).encode(HashEncoder(), SIDE)
    assert server.objects() == files(local)
    be_on(monkeypatch, server, tmp_path / "another machine")
    server.every = 3
    store = bucket_store(server)
    again = store.embed(HashEncoder(), SIDE)
    assert again.encoded == 0
    np.testing.assert_array_equal(again.rows, local.embed(HashEncoder(), SIDE).rows)
    assert server.objects() == files(local)
    assert set(server.met) == set(FAULTS)
    # what came as half was never taken for the whole
    assert not list(store.root.rglob("damaged"))


def test_rows_are_streamed_from_a_bucket(server, local, tmp_path, monkeypatch):
    bucket_store(server).encode(HashEncoder(), SIDE)
    be_on(monkeypatch, server, tmp_path / "another machine")
    blocks = bucket_store(server).rows(HashEncoder(), SIDE).blocks(7)
    rows = np.concatenate([block.rows for block in blocks])
    np.testing.assert_array_equal(rows, local.embed(HashEncoder(), SIDE).rows)


def test_what_a_process_left_in_its_cache_is_uploaded_by_the_next(server, local, monkeypatch):
    store = bucket_store(server)
    monkeypatch.setattr(type(store._mirror), "publish", lambda *_: None)
    store.encode(HashEncoder(), SIDE)
    assert server.objects() == {}
    monkeypatch.undo()
    be_on(monkeypatch, server, store.root.parent)
    assert bucket_store(server).encode(HashEncoder(), SIDE) == 0
    assert server.objects() == files(local)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_what_is_damaged_in_the_bucket_is_encoded_again(
    suffix, server, local, tmp_path, monkeypatch, caplog
):
    bucket_store(server).encode(HashEncoder(), SIDE)
    damaged = next(
        path for path in sorted(server.folder.rglob(f"*{suffix}")) if path.name != "key.json"
    )
    damaged.write_bytes(damaged.read_bytes()[:-9])
    be_on(monkeypatch, server, tmp_path / "another machine")
    with caplog.at_level(logging.WARNING):
        again = bucket_store(server).embed(HashEncoder(), SIDE)
    assert again.encoded == SHARD_ROWS
    assert damaged.stem in caplog.text
    assert server.objects() == files(local)


def test_what_is_damaged_in_the_cache_is_fetched_again(server, local, caplog):
    store = bucket_store(server)
    store.encode(HashEncoder(), SIDE)
    for damaged in store.root.rglob("*.safetensors"):
        damaged.write_bytes(b"nothing")
    with caplog.at_level(logging.ERROR):
        again = bucket_store(server).embed(HashEncoder(), SIDE)
    assert again.encoded == 0
    np.testing.assert_array_equal(again.rows, local.embed(HashEncoder(), SIDE).rows)


@everywhere
@pytest.mark.parametrize("prefix", ["été/照片", "a+b&c=d", "a%20b", "a'b,c;d!(e)~*"])
def test_a_prefix_of_any_letters_is_one_place(server, prefix):
    bucket = Bucket(str(location(server.url(prefix))))
    assert bucket.put_if_absent("a folder/ö.json", b"one")
    assert not bucket.put_if_absent("a folder/ö.json", b"another")
    assert bucket.sizes("a folder") == {"a folder/ö.json": 3}
    assert server.objects(prefix) == {"a folder/ö.json": b"one"}


@everywhere
def test_of_many_who_put_one_object_one_succeeds(server):
    bucket = Bucket(server.url())
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: bucket.put_if_absent("one", b"%d" % i), range(8)))
    assert sorted(results) == [False] * 7 + [True]
    assert server.objects()["one"] == b"%d" % results.index(True)


WORKER = """
import sys
from evals.embeddings.store import Store
from tests.test_bucket import SHARD_ROWS, SIDE
from tests.toys import HashEncoder, stopping
encoder, store = HashEncoder(), Store(sys.argv[1], shard_rows=SHARD_ROWS)
stopping(encoder, after=2 * SHARD_ROWS)
print("ready", flush=True)
sys.stdin.readline()
store.encode(encoder, SIDE)
"""


def worker(server: Server, cache: Path) -> "subprocess.Popen[bytes]":
    """A process of its own, on a machine of its own, that begins when it reads a line, and stops after two shards."""
    started = subprocess.Popen(
        [sys.executable, "-c", WORKER, server.url()],
        env={**os.environ, **environment(server, cache), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == b"ready\n"
    return started


def committed(server: Server) -> int:
    """How many shards are in the bucket."""
    # By names alone: the server is writing, and its own unfinished files come and go.
    names = {file.name for file in (server.folder / "store").glob("*/*.json")}
    return len(names - {"key.json"})


def test_kills_of_two_workers_on_one_bucket_lose_nothing(server, local, tmp_path):
    server.every = 10
    rng = random.Random(0)
    for kill in range(4):
        # Every other kill is on a machine that never comes back.
        machines = [tmp_path / f"machine {number} {kill // 2}" for number in range(2)]
        workers = [worker(server, machine) for machine in machines]
        target = committed(server) + rng.randint(1, 2)
        for process in workers:
            process.stdin.write(b"go\n")
            process.stdin.flush()
        until(lambda: committed(server) >= target)  # noqa: B023
        for victim in workers:
            victim.send_signal(signal.SIGKILL)
        for victim in workers:
            assert victim.wait() == -signal.SIGKILL
            victim.stdin.close()
            victim.stdout.close()
    before = committed(server)
    assert 4 <= before <= 16
    # A request that was under way when its sender was killed may have been carried out since.
    encoded = bucket_store(server).encode(HashEncoder(), SIDE)
    assert 0 < encoded <= 120 - SHARD_ROWS * before
    assert server.objects() == files(local)


def test_a_run_with_a_bucket_has_the_numbers_of_one_with_a_folder(server, tmp_path):
    work = ("scenes", "--model", "tiny", "--subsets", "en", "--limit", "40")
    server.every = 10
    metrics = []
    for store in (server.url(), str(tmp_path / "store")):
        results = tmp_path / f"runs {len(metrics)}"
        done = run(*work, "--store", store, "--results", str(results), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        metrics.append([file.read_bytes() for file in results.rglob("metrics.jsonl")])
        [manifest] = results.rglob("manifest.json")
        assert store in manifest.read_text()
        for secret in (SECRET, KEY_ID):
            assert secret not in manifest.read_text() + done.stdout + done.stderr
    assert metrics[0] == metrics[1] != []


@everywhere
def test_credentials_that_expire_end_the_command_and_the_next_goes_on(
    server, local, scheme, tmp_path, monkeypatch
):
    server.expires = 17
    with pytest.raises(MissingError, match=EXPIRED[scheme].code) as error:
        bucket_store(server).encode(HashEncoder(), SIDE)
    assert "goes on" in str(error.value)
    assert TOKEN not in str(error.value)
    uploaded = len(server.objects())
    assert 0 < uploaded < len(files(local))
    server.expires = None
    # What was encoded and not uploaded is in the cache.
    assert bucket_store(server).encode(HashEncoder(), SIDE) < 120 - SHARD_ROWS
    assert server.objects() == files(local)


@everywhere
def test_an_error_names_the_object_and_no_credentials(server):
    server.forbidden = True
    with pytest.raises(MissingError, match="SignatureDoesNotMatch") as error:
        bucket_store(server).encode(HashEncoder(), SIDE)
    assert f"{server.scheme}://toys/store" in str(error.value)
    for secret in (SECRET, KEY_ID, TOKEN, "127.0.0.1"):
        assert secret not in str(error.value)
    assert error.value.__cause__ is error.value.__context__ is None


@everywhere
def test_an_error_says_that_there_are_no_credentials(server, monkeypatch, tmp_path):
    for name in environment(server, tmp_path):
        if not name.endswith(("ENDPOINT", "ACCOUNT_NAME", "BASE_URL", "URL", "HTTP", "CACHE")):
            monkeypatch.delenv(name)
    # The server stands in for that of the machine, which says no, too.
    server.forbidden = True
    machine = f"127.0.0.1:{server.port}"
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://{machine}")
    monkeypatch.setenv("GCE_METADATA_HOST", machine)
    monkeypatch.setenv("AZURE_MSI_ENDPOINT", f"http://{machine}/token")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(MissingError, match="no credentials in the environment"):
        Bucket(server.url()).sizes("")


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:hush-hush@bucket/prefix",
        "s3://bucket/prefix?token=hush-hush",
        "http://hush-hush/",
        "s3://",
        "s3://bucket//prefix",
        "s3://bucket/../prefix",
        "gs://bucket/pre fix",
    ],
)
def test_other_urls_are_refused_and_not_repeated(url):
    with pytest.raises(ConfigError, match="az://CONTAINER") as error:
        location(url)
    assert "hush-hush" not in str(error.value)


def test_folders_stay_folders():
    assert location("results/store") == location(Path("results/store")) == Path("results/store")
    assert location("s3://bucket/prefix/") == "s3://bucket/prefix"


@pytest.mark.parametrize(
    ("scheme", "variable"),
    [
        ("s3", "AWS_ENDPOINT_URL"),
        ("gs", "GOOGLE_BASE_URL"),
        ("az", "AZURE_STORAGE_ENDPOINT"),
        ("az", "AZURE_STORAGE_ACCOUNT_NAME"),
        ("az", "AZURE_STORAGE_USE_EMULATOR"),
    ],
)
def test_buckets_of_one_name_at_two_places_have_two_caches(scheme, variable, monkeypatch):
    url = f"{scheme}://bucket/prefix"
    first = cache_of(url)
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    second = cache_of(url)
    monkeypatch.setenv(variable, "http://127.0.0.1:2")
    assert len({first, second, cache_of(url)}) == 3


def test_without_the_library_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("EVALS_CACHE", str(tmp_path))
    for module in ("obstore", "obstore.exceptions", "obstore.store"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingError, match=r"jina-clip-evals\[buckets\]"):
        Store("s3://bucket/prefix").encode(HashEncoder(), SIDE)
