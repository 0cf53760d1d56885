"""The index finds the row of each item, by 24 bytes an item, and a damaged one is made anew."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file

from evals.embeddings import index as index_module
from evals.embeddings import index_file
from evals.embeddings.index import INDEX_FILE, Digests, Index, digests_of, first_positions
from evals.embeddings.index_file import Columns, read_columns, write_merged
from evals.embeddings.shards import DamagedError, read_sidecar
from evals.embeddings.store import Store
from tests.toys import HashEncoder, text_side

TEXTS = [f"text {i}" for i in range(40)]
KEY = "0" * 32


def columns(high: list[int], low: list[int] | None = None, shard: int = 0) -> Columns:
    return Columns(
        np.array(high, np.uint64),
        np.array(low if low is not None else high, np.uint64),
        np.full(len(high), shard, np.uint32),
        np.arange(len(high), dtype=np.uint32),
    )


@pytest.fixture
def eager(monkeypatch):
    """The file is written as soon as there is a shard."""
    monkeypatch.setattr(index_module, "TAIL", 0)
    monkeypatch.setattr(index_module, "SHARE", 1 << 30)


@pytest.fixture
def store(tmp_path, eager):
    store = Store(tmp_path, shard_rows=5)
    store.embed(HashEncoder(), text_side(TEXTS))
    return store


def file_of(store: Store):
    (file,) = store.root.glob(f"*/{INDEX_FILE}")
    return file


def test_an_item_is_known_by_the_first_128_bits_of_its_hash_and_an_id_by_those_of_its_own():
    digest = hashlib.sha256(b"a").hexdigest()
    other = hashlib.sha256(digest.upper().encode()).hexdigest()
    digests = digests_of([digest, "img_7", digest.upper()])
    assert f"{digests.high[0]:016x}{digests.low[0]:016x}" == digest[:32]
    assert f"{digests.high[1]:016x}" == hashlib.sha256(b"img_7").hexdigest()[:16]
    assert f"{digests.high[2]:016x}" == other[:16]


def test_first_positions_tell_apart_what_agrees_in_one_half():
    digests = Digests(np.array([7, 7, 7, 3], np.uint64), np.array([1, 2, 1, 1], np.uint64))
    assert first_positions(digests).tolist() == [0, 1, 3]


def test_another_process_finds_everything_by_the_file_alone(store, monkeypatch):
    monkeypatch.setattr(index_module, "read_sidecar", None)  # none is read
    result = Store(store.root).missing(HashEncoder(), text_side([*TEXTS, "new"]))
    assert result == [40]


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_file_that_another_process_puts_there_at_once_leads_to_no_rows_of_other_items(
    store, monkeypatch, is_whole
):
    """Shards are numbered as a process meets them, and two that write the file may differ in that."""
    file_of(store).unlink()
    encoder, side = HashEncoder(), text_side(TEXTS)

    def write_twice(file, key, shards, filed, recent):
        write_merged(file, key, shards, filed, recent)
        if not is_whole:  # as one looks that is replaced while it is read
            file.write_bytes(file.read_bytes()[:-1] + b"x")
            return
        others = (len(shards) - 1 - recent.shard).astype(np.uint32)
        write_merged(file, key, shards[::-1], filed, recent._replace(shard=others))

    monkeypatch.setattr(index_module, "write_merged", write_twice)
    rows, encoded = Store(store.root).embed(encoder, side)
    assert encoded == 0
    np.testing.assert_array_equal(rows, encoder.encode(side))


def test_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was(store, monkeypatch):
    file, key = file_of(store), file_of(store).parent.name
    before = read_columns(file, key)
    read_header = index_file.read_header

    def read_and_replace(opened):
        header = read_header(opened)
        write_merged(file, key, ["shorter"], Columns.empty(), columns([1, 2]))
        return header

    monkeypatch.setattr(index_file, "read_header", read_and_replace)
    filed = read_columns(file, key)
    assert filed.shards == before.shards
    for column, expected in zip(filed.columns, before.columns, strict=True):
        np.testing.assert_array_equal(column, expected)
    assert filed.version == before.version != index_file.version_of(file)


def test_a_process_takes_over_what_another_has_filed_and_writes_no_file_of_its_own(
    store, monkeypatch
):
    folder, side = file_of(store).parent, text_side([f"new {i}" for i in range(10)])
    early = Index(folder)
    early.refresh()
    Store(store.root, shard_rows=5).embed(HashEncoder(), side)
    assert len(load_file(file_of(store))["row"]) == 50
    monkeypatch.setattr(index_module, "write_merged", None)  # nothing is written
    early.refresh()
    places = early.find(digests_of(side.hashes))
    for shard, row, item in zip(places.shard.tolist(), places.row, side.hashes, strict=True):
        assert read_sidecar(folder, early.name(shard)).items[row] == item


def test_the_file_takes_24_bytes_an_item_and_is_one_that_safetensors_reads(store):
    tensors = load_file(file_of(store))
    assert sum(tensor.nbytes for tensor in tensors.values()) == 24 * len(TEXTS)
    assert (np.diff(tensors["high"].astype(object)) > 0).all()
    assert sorted(zip(tensors["shard"].tolist(), tensors["row"].tolist(), strict=True)) == [
        (shard, row) for shard in range(8) for row in range(5)
    ]


def test_shards_that_came_since_are_taken_in_and_in_time_filed(store, monkeypatch):
    monkeypatch.setattr(index_module, "TAIL", 2)
    before = file_of(store).read_bytes()
    Store(store.root, shard_rows=5).embed(HashEncoder(), text_side([f"new {i}" for i in range(10)]))
    assert file_of(store).read_bytes() == before
    assert not Store(store.root).missing(HashEncoder(), text_side([f"new {i}" for i in range(10)]))
    Store(store.root, shard_rows=5).embed(HashEncoder(), text_side([f"more {i}" for i in range(9)]))
    assert not Store(store.root).missing(HashEncoder(), text_side([f"more {i}" for i in range(9)]))
    # with the third of them; the fourth is read by its sidecar again
    assert len(load_file(file_of(store))["row"]) == 55


def test_a_shard_that_is_gone_is_not_found_and_is_found_when_it_is_back(store, caplog):
    sidecar = sorted(path for path in store.root.glob("*/*.json") if path.name != "key.json")[0]
    text = sidecar.read_text()
    sidecar.unlink()
    reader = Store(store.root, shard_rows=5)
    assert len(reader.missing(HashEncoder(), text_side(TEXTS))) == 5
    sidecar.write_text(text)
    assert reader.missing(HashEncoder(), text_side(TEXTS)) == []
    sidecar.unlink()
    assert reader.embed(HashEncoder(), text_side(TEXTS)).encoded == 5
    assert sidecar.read_text() == text and not caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data + b"more",
        lambda data: data.replace(b'"schema": "2"', b'"schema": "1"'),
        lambda data: data.replace(b'"key": "', b'"key": "x'),
        lambda data: b"\xff" * len(data),
    ],
)
def test_a_damaged_index_is_set_aside_and_made_anew(store, damage, caplog):
    file = file_of(store)
    file.unlink()
    assert not Store(store.root).missing(HashEncoder(), text_side(TEXTS))
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert Store(store.root).embed(HashEncoder(), text_side(TEXTS)).encoded == 0
    assert file.read_bytes() == whole
    assert (file.parent / "damaged" / INDEX_FILE).read_bytes() == damage(whole)
    assert f"{file}: " in caplog.text and "set aside and made anew" in caplog.text


def test_an_index_of_another_key_is_not_believed(store):
    file = file_of(store)
    with pytest.raises(DamagedError, match="no index of this key"):
        read_columns(file, KEY)


def test_equal_halves_are_passed_over(tmp_path):
    """What 64 bits do not tell apart, 128 do; and of two places the shard decides that is there."""
    index = Index(tmp_path)
    index._names = ["gone", "here"]
    index._is_present = np.array([False, True])
    index._recent = Columns.empty().merged(
        columns([5, 5, 5], [1, 2, 3], shard=0), columns([5, 5], [3, 1], shard=1)
    )
    digests = Digests(np.full(4, 5, np.uint64), np.array([1, 2, 3, 4], np.uint64))
    places = index.find(digests)
    assert places.shard.tolist() == [1, -1, 1, -1]
    assert (places.row[0], places.row[2]) == (1, 0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 30), max_size=40),
    st.lists(st.integers(0, 30), min_size=1, max_size=40),
    st.integers(1, 7),
)
def test_merging_in_chunks_is_sorting_all_at_once(tmp_path_factory, old, new, chunk):
    file = tmp_path_factory.mktemp("index") / INDEX_FILE
    filed = Columns.empty().merged(columns(sorted(old)))
    recent = Columns.empty().merged(columns(sorted(new), shard=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_file, "CHUNK", chunk)
        write_merged(file, KEY, ["a", "b"], filed, recent)
        read = read_columns(file, KEY)
    assert read.shards == ["a", "b"]
    for column, expected in zip(read.columns, filed.merged(recent), strict=True):
        np.testing.assert_array_equal(column, expected)


def test_an_index_of_many_items_is_built_in_parts(store, monkeypatch):
    file_of(store).unlink()
    monkeypatch.setattr(index_module, "ITEMS_IN_MEMORY", 7)
    reader = Store(store.root)
    assert reader.missing(HashEncoder(), text_side(TEXTS)) == []
    with safe_open(file_of(store), "numpy") as opened:
        assert len(opened.metadata()["shards"].split(",")) == 8
