"""Rows are read from the store block by block, in the order of the side, and never unchecked."""

import pickle

import numpy as np
import pytest

from evals.embeddings import rows as rows_module
from evals.embeddings.store import Store
from evals.schema import InvalidError, MissingError
from tests.toys import HashEncoder, text_side

TEXTS = [f"text {i}" for i in range(23)]
# Another order than they were encoded in, with one that comes twice.
SIDE = text_side([*TEXTS[::-2], *TEXTS[::2], TEXTS[3]])


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path, shard_rows=5)
    store.embed(HashEncoder(), text_side(TEXTS))
    return store


@pytest.mark.parametrize("size", [1, 4, 100])
def test_blocks_are_the_rows_in_the_order_of_the_side(store, size):
    stored = store.rows(HashEncoder(), SIDE)
    blocks = list(stored.blocks(size))
    assert [block.first for block in blocks] == list(range(0, len(SIDE), size))
    expected = HashEncoder().encode(SIDE)
    np.testing.assert_array_equal(np.concatenate([block.rows for block in blocks]), expected)
    assert (len(stored), stored.shape, stored.dim) == (25, (25, 8), 8)


def test_rows_are_taken_by_their_positions_and_belong_to_the_caller(store):
    stored = store.rows(HashEncoder(), SIDE)
    taken = stored.take([7, 0, 7])
    np.testing.assert_array_equal(taken, HashEncoder().encode(SIDE)[[7, 0, 7]])
    taken[:] = 0
    assert stored.take([7]).any()


def test_a_process_that_is_sent_stored_rows_reads_them_itself(store):
    stored = store.rows(HashEncoder(), SIDE)
    whole = stored.take(range(len(stored)))
    received = pickle.loads(pickle.dumps(stored))  # noqa: S301 - bytes of this test
    assert not received._mapped  # a map would be sent as a copy of its rows
    np.testing.assert_array_equal(received.take(range(len(stored))), whole)


def test_no_more_shards_are_mapped_than_is_said(store, monkeypatch):
    monkeypatch.setattr(rows_module, "MAPPED", 2)
    stored = store.rows(HashEncoder(), SIDE)
    for _ in range(2):
        stored.take(range(len(stored)))
        assert len(stored._mapped) == 2


def test_what_is_not_stored_is_named(store):
    with pytest.raises(MissingError, match=r"1 text by toy not stored, t1 the first"):
        store.rows(HashEncoder(), text_side([TEXTS[0], "new"]))


def test_a_shard_that_was_damaged_since_is_refused_by_its_name(store):
    stored = store.rows(HashEncoder(), SIDE)
    path = sorted(store.root.glob("*/*.safetensors"))[0]
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidError, match=f"{path.stem}: its checksum does not match. Run"):
        list(stored.blocks())


def test_an_empty_side_has_no_blocks(store):
    assert not list(store.rows(HashEncoder(), text_side([])).blocks())
