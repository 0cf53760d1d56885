"""Vectors of a multi-vector model are encoded once, survive a kill, and come back per item, never as one row."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from evals.embeddings.cutting import expected_rows, limits_of
from evals.embeddings.keys import key_of
from evals.embeddings.shards import write_shard
from evals.embeddings.store import Store
from evals.schema import ConfigError, InvalidError, MissingError, Vectors
from tests.commands import PATIENCE
from tests.toys import HashEncoder, MultiHashEncoder, text_side

TEXTS = [f"text {i}" for i in range(23)]
# Another order than they were encoded in, with one that comes twice.
SIDE = text_side([*TEXTS[::-2], *TEXTS[::2], TEXTS[3]])


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", shard_rows=5)


def sidecars(store: Store) -> list:
    return sorted(path for path in store.root.rglob("*.json") if path.name != "key.json")


def same(vectors: Vectors, expected: Vectors) -> bool:
    return np.array_equal(vectors.rows, expected.rows) and np.array_equal(
        vectors.offsets, expected.offsets
    )


def test_each_item_is_encoded_once_and_has_its_vectors_in_any_order(store):
    encoder = MultiHashEncoder()
    assert store.encode(encoder, text_side(TEXTS)) == 23
    assert store.encode(encoder, SIDE) == 0
    vectors = store.vectors(encoder, SIDE)
    assert len(vectors) == len(SIDE)
    assert same(vectors.take(range(len(SIDE))), MultiHashEncoder().encode(SIDE))
    assert same(vectors.take([7, 0, 7]), MultiHashEncoder().encode(SIDE.select([7, 0, 7])))


def test_blocks_are_shards_and_hold_every_item_once(store):
    encoder = MultiHashEncoder()
    store.encode(encoder, text_side(TEXTS))
    blocks = list(store.vectors(encoder, SIDE).blocks())
    assert len(blocks) == 5
    positions = np.concatenate([block.positions for block in blocks])
    assert sorted(positions) == list(range(len(SIDE)))
    for block in blocks:
        assert same(block.vectors, MultiHashEncoder().encode(SIDE.select(block.positions.tolist())))


def test_the_key_says_multi_vector_and_parts_them_from_rows(store):
    single = HashEncoder(fingerprint={"weights": "toy"})
    assert key_of(single, SIDE).name != key_of(MultiHashEncoder(), SIDE).name
    assert json.loads(key_of(MultiHashEncoder(), SIDE).text)["encoder"]["layout"] == "multi-vector"


def test_what_needs_one_row_per_item_refuses_and_encodes_nothing(store):
    encoder = MultiHashEncoder()
    for ask in (store.embed, store.rows):
        with pytest.raises(ConfigError, match="multi gives several vectors per item"):
            ask(encoder, SIDE)
    assert encoder.calls == []


def test_vectors_that_are_not_stored_are_named(store):
    with pytest.raises(MissingError, match="t0 the first"):
        store.vectors(MultiHashEncoder(), SIDE)


class Odd(MultiHashEncoder):
    """One whose vectors are not what it promised."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def encode(self, side):
        return self.change(super().encode(side))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.rows[: len(v)], "gave ndarray, and its fingerprint says otherwise"),
        (lambda v: v.take([0]), "gave vectors of 1 items and width 8 for 5 items of width 8"),
        (lambda v: Vectors(v.rows[:, :3], v.offsets), "width 3 for 5 items of width 8"),
        (
            lambda v: Vectors.of([v.item(0), v.item(1)[:0], *map(v.item, (2, 3, 4))], 8),
            "1 of 5 texts have no vector, and nothing can be compared with them: t1",
        ),
        (
            lambda v: Vectors(np.where(np.arange(len(v.rows))[:, None], v.rows, np.nan), v.offsets),
            "1 of 5 embeddings hold NaN or infinity: t0",
        ),
    ],
)
def test_what_is_no_vector_is_never_stored(store, change, message):
    with pytest.raises(InvalidError, match=message):
        store.encode(Odd(change), text_side(TEXTS[:5]))
    assert sidecars(store) == []


def flip(sidecar):
    data = bytearray(sidecar.with_suffix(".safetensors").read_bytes())
    data[-3] ^= 1
    sidecar.with_suffix(".safetensors").write_bytes(data)


def move_an_offset(sidecar):
    """An edit that hashes itself anew: the offsets end before the rows do."""
    rewritten(sidecar, lambda offsets: np.minimum(offsets, offsets[-1] - 1))


def drop_an_item(sidecar):
    rewritten(sidecar, lambda offsets: np.delete(offsets, 1))


def rewritten(sidecar, change):
    import hashlib

    file = sidecar.with_suffix(".safetensors")
    tensors = load_file(file)
    tensors["offsets"] = change(tensors["offsets"])
    data = save(tensors, metadata={"key": file.parent.name})
    file.write_bytes(data)
    entry = {**json.loads(sidecar.read_text()), "sha256": hashlib.sha256(data).hexdigest()}
    sidecar.write_text(json.dumps(entry))


@pytest.mark.parametrize("damage", [flip, move_an_offset, drop_an_item])
def test_a_damaged_shard_is_set_aside_and_encoded_again(store, damage, caplog):
    store.encode(MultiHashEncoder(), text_side(TEXTS))
    damage(sidecars(store)[1])
    with pytest.raises(InvalidError, match="Run the evaluation again"):
        store.vectors(MultiHashEncoder(), SIDE).take(range(len(SIDE)))
    assert 3 <= store.encode(MultiHashEncoder(), text_side(TEXTS)) <= 5
    assert "set aside" in caplog.text
    vectors = store.vectors(MultiHashEncoder(), SIDE).take(range(len(SIDE)))
    assert same(vectors, MultiHashEncoder().encode(SIDE))


def test_a_shard_of_pages_holds_some_ten_megabytes():
    pages = text_side(TEXTS)
    images = type(pages)("image", pages.items, pages.ids, pages.hashes)
    encoder = MultiHashEncoder(dim=128)
    most = limits_of(encoder, images)
    assert most.items == 20  # of 1,024 vectors of 128 values
    assert expected_rows(encoder, images, [np.arange(20)]) * 128 * 4 == 10 << 20
    # Texts are closed by their characters: about four make a vector.
    assert limits_of(encoder, pages).characters == 4 * 20 * 1024
    assert limits_of(HashEncoder(dim=128), pages).items == 4096


WORKER = """
import sys
from pathlib import Path
from evals.embeddings.store import Store
from tests.toys import MultiHashEncoder, stopping, text_side

encoder, side = MultiHashEncoder(dim=64), text_side([f"text {i}" for i in range(200)])
stopping(encoder, after=int(sys.argv[2]))
store = Store(Path(sys.argv[1]), shard_rows=10)
print(store.encode(encoder, side), store.vectors(encoder, side).take(range(200)).rows.sum(dtype="f8").hex())
"""


def worker(root, after: int = 200):
    """A process that encodes 200 texts, or stops after some."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root), str(after)], stdout=subprocess.PIPE, text=True
    )


def finished(process) -> list[str]:
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    return out.split()


@pytest.mark.faults
def test_a_kill_loses_no_shard_that_was_committed(tmp_path):
    undisturbed = finished(worker(tmp_path / "undisturbed"))[1]
    killed = Store(tmp_path / "killed")
    process = worker(killed.root, after=50)
    assert process.stdout.readline() == "stopped\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(sidecars(killed)) == 5
    encoded, total = finished(worker(killed.root))
    assert int(encoded) == 200 - 50
    assert total == undisturbed
    assert not list(killed.root.rglob("*.part"))


def test_a_shard_that_is_committed_stays_as_it_is(store):
    folder = store.root / "key"
    folder.mkdir(parents=True)
    first, second = (Vectors.of([np.full((2, 3), x)] * 2, 3) for x in (1.0, 2.0))
    write_shard(folder, ["a", "b"], first)
    write_shard(folder, ["a", "b"], second)
    (file,) = folder.glob("*.safetensors")
    assert load_file(file)["rows"].max() == 1
