"""The store encodes once, notices damage, and survives being killed at any moment."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.embeddings.claims import Claims
from evals.embeddings.encoding import Work
from evals.embeddings.failures import FailedShardsError
from evals.embeddings.index import Index, digests_of
from evals.embeddings.keys import key_of
from evals.embeddings.mirror import NoMirror
from evals.embeddings.shards import name_of, read_rows, write_shard
from evals.embeddings.store import Store
from evals.schema import InvalidError, MissingError
from tests.commands import PATIENCE, until
from tests.toys import HashEncoder, text_side

pytestmark = pytest.mark.faults

TEXTS = [f"text {i}" for i in range(23)]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", shard_rows=5)


def shards(store: Store) -> list:
    return sorted(path for path in store.root.rglob("*.json") if path.name != "key.json")


def test_a_second_run_encodes_nothing_and_gives_the_same_rows(store):
    first = store.embed(HashEncoder(), text_side(TEXTS))
    again = HashEncoder()
    second = Store(store.root).embed(again, text_side(TEXTS))
    assert (first.encoded, second.encoded, again.calls) == (23, 0, [])
    np.testing.assert_array_equal(first.rows, second.rows)


def test_rows_come_in_the_order_of_the_side(store):
    rows = store.embed(HashEncoder(), text_side(TEXTS)).rows
    backwards = store.embed(HashEncoder(), text_side(TEXTS[::-1])).rows
    np.testing.assert_array_equal(backwards, rows[::-1])


def test_only_new_items_are_encoded_and_repeated_ones_once(store):
    encoder = HashEncoder()
    store.embed(encoder, text_side(TEXTS[:10]))
    result = store.embed(encoder, text_side([*TEXTS[5:12], "new", "new", TEXTS[0]]))
    assert result.encoded == 3
    assert encoder.encoded == 13
    np.testing.assert_array_equal(result.rows[7], result.rows[8])


def test_missing_names_first_occurrences(store):
    store.embed(HashEncoder(), text_side(TEXTS[:3]))
    assert store.missing(HashEncoder(), text_side(["a", TEXTS[1], "b", "a"])) == [0, 2]


@pytest.mark.parametrize("field", ["weights", "text.max_length"])
def test_whatever_can_change_a_row_is_part_of_the_key(store, field):
    encoder = HashEncoder()
    store.embed(encoder, text_side(TEXTS))
    other = HashEncoder(fingerprint={**encoder.fingerprint, field: "changed"})
    assert store.embed(other, text_side(TEXTS)).encoded == 23


def test_what_concerns_images_only_does_not_part_texts(store):
    encoder = HashEncoder()
    store.embed(encoder, text_side(TEXTS))
    other = HashEncoder(fingerprint={**encoder.fingerprint, "image.preprocess": "changed"})
    assert store.embed(other, text_side(TEXTS)).encoded == 0


def test_the_role_is_part_of_the_key(store):
    store.embed(HashEncoder(), text_side(TEXTS))
    assert store.embed(HashEncoder(), text_side(TEXTS, role="query")).encoded == 23


def test_the_key_is_written_in_clear_and_names_its_folder(store):
    store.embed(HashEncoder(), text_side(TEXTS))
    (key,) = store.root.glob("*/key.json")
    assert hashlib.sha256(key.read_bytes()).hexdigest().startswith(key.parent.name)
    assert json.loads(key.read_text())["encoder"] == {"weights": "toy", "text.max_length": "64"}


def damage_flip(path):
    data = bytearray(path.with_suffix(".safetensors").read_bytes())
    data[-3] ^= 1
    path.with_suffix(".safetensors").write_bytes(data)


def damage_truncate(path):
    data = path.with_suffix(".safetensors").read_bytes()
    path.with_suffix(".safetensors").write_bytes(data[: len(data) // 2])


def damage_remove(path):
    path.with_suffix(".safetensors").unlink()


def damage_sidecar(path):
    path.write_text(path.read_text()[:40])


def damage_items(path):
    sidecar = json.loads(path.read_text())
    sidecar["items"][0], sidecar["items"][1] = sidecar["items"][1], sidecar["items"][0]
    path.write_text(json.dumps(sidecar))


def damage_swap(path):
    other = next(p for p in path.parent.glob("*.safetensors") if p.stem != path.stem)
    shutil.copy(other, path.with_suffix(".safetensors"))


@pytest.mark.parametrize(
    "damage",
    [damage_flip, damage_truncate, damage_remove, damage_sidecar, damage_items, damage_swap],
)
@pytest.mark.parametrize("same_process", [True, False])
def test_a_damaged_shard_is_set_aside_and_encoded_again(store, damage, same_process, caplog):
    rows = store.embed(HashEncoder(), text_side(TEXTS)).rows
    damage(shards(store)[1])
    reader = store if same_process else Store(store.root, shard_rows=5)
    result = reader.embed(HashEncoder(), text_side(TEXTS))
    if damage is damage_items and same_process:
        assert result.encoded in (0, 5)  # the sidecar was read before it was damaged
    else:
        assert 3 <= result.encoded <= 5
        assert "set aside" in caplog.text
        assert list(store.root.glob("*/damaged/*"))
    np.testing.assert_array_equal(result.rows, rows)
    assert Store(store.root).embed(HashEncoder(), text_side(TEXTS)).encoded == 0


class Shifted(HashEncoder):
    """Other rows than those of the other model."""

    def encode(self, side):
        return super().encode(side) + 1


MODELS = {
    "a": HashEncoder(fingerprint={"weights": "a"}),
    "b": Shifted(fingerprint={"weights": "b"}),
}


@pytest.fixture
def folders(store) -> dict[str, Path]:
    """The key folders of two models, with the shards of the same texts."""
    places = {}
    for name, encoder in MODELS.items():
        store.embed(encoder, text_side(TEXTS))
        (places[name],) = set(store.root.iterdir()) - set(places.values())
    return places


def copy_shards(folders):
    for file in folders["b"].glob("*"):
        if file.name not in ("key.json", ".lock"):
            shutil.copy(file, folders["a"])


def copy_everything(folders):
    shutil.copytree(folders["b"], folders["a"], dirs_exist_ok=True)


def swap_folders(folders):
    folders["a"].rename(folders["a"].with_name("x"))
    folders["b"].rename(folders["a"])
    folders["a"].with_name("x").rename(folders["b"])


def rename_over(folders):
    shutil.rmtree(folders["a"])
    folders["b"].rename(folders["a"])


@pytest.mark.parametrize(
    "misplace", [copy_shards, copy_everything, swap_folders, rename_over], ids=lambda f: f.__name__
)
def test_shards_of_another_key_are_set_aside_whatever_folder_they_lie_in(
    store, folders, misplace, caplog
):
    misplace(folders)
    # by their sidecars alone
    assert len(Store(store.root).missing(MODELS["a"], text_side(TEXTS))) == len(TEXTS)
    for name, encoder in MODELS.items():
        rows = Store(store.root, shard_rows=5).embed(encoder, text_side(TEXTS)).rows
        np.testing.assert_array_equal(rows, encoder.encode(text_side(TEXTS)))
        (key,) = store.root.glob(f"{folders[name].name}/key.json")
        assert hashlib.sha256(key.read_bytes()).hexdigest().startswith(key.parent.name)
    assert f"it belongs to another key, '{folders['b'].name}'; set aside in" in caplog.text
    again = Store(store.root)
    assert [again.embed(encoder, text_side(TEXTS)).encoded for encoder in MODELS.values()] == [0, 0]


def test_an_edited_sidecar_does_not_make_rows_those_of_another_key(store, folders, caplog):
    copy_shards(folders)
    for path in folders["a"].glob("*.json"):
        if path.name != "key.json":
            path.write_text(path.read_text().replace(folders["b"].name, folders["a"].name))
    result = Store(store.root, shard_rows=5).embed(MODELS["a"], text_side(TEXTS))
    assert result.encoded == 23 and "belongs to another key" in caplog.text
    np.testing.assert_array_equal(result.rows, MODELS["a"].encode(text_side(TEXTS)))


def test_a_shard_of_the_first_schema_is_never_read(store, caplog):
    """It names no key: whoever moved it there, nobody can tell whose rows they are."""
    store.embed(HashEncoder(), text_side(TEXTS))
    path = shards(store)[0]
    sidecar = json.loads(path.read_text())
    del sidecar["key"]
    path.write_text(json.dumps(sidecar | {"schema": 1}))
    assert Store(store.root, shard_rows=5).embed(HashEncoder(), text_side(TEXTS)).encoded in (3, 5)
    assert "its schema is 1, and this is 2" in caplog.text


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff"])
def test_a_key_that_is_not_that_of_its_folder_is_written_anew(store, text, caplog):
    store.embed(HashEncoder(), text_side(TEXTS))
    (key,) = store.root.glob("*/key.json")
    whole = key.read_bytes()
    key.write_bytes(text)
    assert Store(store.root).embed(HashEncoder(), text_side(TEXTS)).encoded == 0
    assert key.read_bytes() == whole and (key.parent / "damaged" / "key.json").read_bytes() == text
    assert f"{key}: not the key that its folder is named by" in caplog.text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_or_infinity_stops_the_run_with_the_ids(store, value):
    class Broken(HashEncoder):
        def encode(self, side):
            rows = super().encode(side)
            rows[[i for i, name in enumerate(side.ids) if name == "t7"]] = value
            return rows

    with pytest.raises(
        InvalidError, match=r"1 of 5 embeddings hold NaN or infinity: t7"
    ) as failure:
        store.embed(Broken(), text_side(TEXTS))
    assert "float16" not in str(failure.value)
    assert len(shards(store)) == 4  # all others
    half = Broken(fingerprint={"weights": "half", "dtype": "float16"})
    with pytest.raises(InvalidError, match=r"t7\. float16 ends at 65,504: take --dtype bfloat16"):
        store.embed(half, text_side(TEXTS))


def test_another_shape_than_promised_is_refused(store):
    encoder = HashEncoder(dim=8)
    encoder.dim = 9
    encoder.encode = lambda side: np.zeros((len(side), 8), np.float32)
    with pytest.raises(InvalidError, match=r"shape \(5, 8\) for 5 items of width 9"):
        store.embed(encoder, text_side(TEXTS))


def test_what_others_are_at_is_waited_for_and_taken_when_they_let_go(store):
    encoder, side = HashEncoder(), text_side(TEXTS)
    folder = store.root / key_of(encoder, side).name
    folder.mkdir(parents=True)
    shards = store.shards(encoder, side)
    first = side.select(shards[0].tolist())
    taken = Claims(Index(folder)).take(first.hashes, digests_of(first.hashes), shards[0])
    counts = []
    thread = threading.Thread(
        target=lambda: counts.append(store.encode_shards(encoder, side, shards))
    )
    thread.start()
    until(lambda: encoder.encoded == 18)
    thread.join(0.2)
    assert thread.is_alive() and encoder.encoded == 18  # all but those that are claimed
    taken.claim.release()
    thread.join(PATIENCE)
    assert counts == [23] and encoder.encoded == 23


def test_shards_that_others_are_at_are_passed_over_without_a_look_at_the_folder_for_each(store):
    encoder, side = HashEncoder(), text_side([f"text {i}" for i in range(200)])
    folder = store.root / key_of(encoder, side).name
    folder.mkdir(parents=True)
    shards, digests = store.shards(encoder, side), digests_of(side.hashes)
    assert len(shards) == 40
    others = Claims(Index(folder))
    held = [
        others.take([side.hashes[i] for i in shard], digests.select(shard), shard)
        for shard in shards[:-1]
    ]

    class CountingIndex(Index):
        refreshes = 0

        def refresh(self):
            self.refreshes += 1
            super().refresh()

    index = CountingIndex(folder)
    work = Work(index, NoMirror(), side, digests, shards, lambda done, total: None)
    [claimed] = work.claims()
    assert claimed.ids == side.select(shards[-1].tolist()).ids
    assert len(work.waiting) == len(held) and index.refreshes == 2  # at the beginning, and to claim


def test_who_was_too_late_goes_on_elsewhere_and_comes_back_to_what_is_not_stored(store):
    """Else all who start together would be too late for each shard in turn."""
    encoder, side = HashEncoder(), text_side([f"text {i}" for i in range(200)])
    folder = store.root / key_of(encoder, side).name
    folder.mkdir(parents=True)
    shards, digests = store.shards(encoder, side), digests_of(side.hashes)
    work = Work(Index(folder), NoMirror(), side, digests, shards, lambda done, total: None)
    work._random.seed(0)  # of 39 places to go on at, the next one is not drawn
    others, claims = Claims(Index(folder)), work.claims()
    next(claims)
    second = shards[1]
    faster = others.take([side.hashes[i] for i in second], digests.select(second), second)
    taken = [side.ids.index(next(claims).ids[0]) // 5 for _ in range(30)]
    assert taken != list(range(2, 32)) and 1 not in taken
    assert sorted([0, *taken, *(waiting.number for waiting in work.waiting)]) == list(range(40))
    faster.claim.release()
    assert {claimed.ids[0] for claimed in [*claims, *work.claims()]} >= {side.ids[second[0]]}


def test_a_claim_that_outlived_its_process_is_swept_where_nothing_is_missing(store):
    store.embed(HashEncoder(), text_side(TEXTS))
    (folder,) = store.root.iterdir()
    (folder / ".claim-0.part").write_bytes(b"0" * 16)
    assert store.encode_shards(HashEncoder(), text_side(TEXTS), []) == 0
    assert not list(folder.glob(".*"))


def test_what_a_failed_encoder_was_at_is_free_at_once(store):
    class Failing(HashEncoder):
        def encode(self, side):
            if "t7" in side.ids:
                assert list(store.root.glob("*/.claim-*.part"))
                raise InvalidError("no")
            return super().encode(side)

    with pytest.raises(InvalidError, match="no"):
        store.embed(Failing(), text_side(TEXTS))
    assert not list(store.root.rglob(".*"))
    assert store.embed(HashEncoder(), text_side(TEXTS)).encoded == 5


def test_a_committed_shard_stays_as_it_is_and_rows_without_a_sidecar_do_not(tmp_path):
    folder = tmp_path / "key"
    folder.mkdir()
    first, second = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    items = [hashlib.sha256(text.encode()).hexdigest() for text in "ab"]
    write_shard(folder, items, first)
    write_shard(folder, items, second)
    np.testing.assert_array_equal(read_rows(folder, name_of(items), 3), first)
    (folder / f"{name_of(items)}.json").unlink()  # as when its writer was killed before it
    write_shard(folder, items, second)
    np.testing.assert_array_equal(read_rows(folder, name_of(items), 3), second)


def test_memory_holds_the_rows_once_and_a_shard(tmp_path):
    side = text_side([f"text {i}" for i in range(2000)])
    encoder = HashEncoder(dim=512)
    store = Store(tmp_path, shard_rows=50)
    size = 4 * 512 * len(side)
    for expected in (2000, 0):
        tracemalloc.start()
        assert store.embed(encoder, side).encoded == expected
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size < peak < 1.4 * size
    tracemalloc.start()
    assert Store(tmp_path).encode(encoder, side) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.4 * size


def test_a_disk_that_reads_back_something_else_ends_the_run(store, monkeypatch):
    def damage(folder, items, rows):
        write_shard(folder, items, rows)
        damage_flip(folder / f"{name_of(items)}.json")

    monkeypatch.setattr("evals.embeddings.encoding.write_shard", damage)
    with pytest.raises(InvalidError, match="reads back as something else, 3 times in a row"):
        store.embed(HashEncoder(), text_side(TEXTS))


def test_a_full_disk_is_noticed_before_anything_is_encoded(store, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 10))
    encoder = HashEncoder()
    with pytest.raises(MissingError, match="--store"):
        store.embed(encoder, text_side(TEXTS))
    assert encoder.calls == []


def test_progress_counts_what_has_to_be_encoded(store):
    reports = []
    store.embed(
        HashEncoder(), text_side(TEXTS), progress=lambda done, total: reports.append((done, total))
    )
    assert reports == [(0, 23), (5, 23), (10, 23), (15, 23), (20, 23), (23, 23)]


def test_no_items_give_no_rows(store):
    assert store.embed(HashEncoder(), text_side([])).rows.shape == (0, 8)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=6), st.integers(1, 7))
def test_any_history_of_requests_gives_the_encoder_s_rows(tmp_path_factory, requests, shard_rows):
    store = Store(tmp_path_factory.mktemp("store"), shard_rows=shard_rows)
    encoder = HashEncoder()
    for request in requests:
        side = text_side([f"text {i}" for i in request])
        np.testing.assert_array_equal(store.embed(encoder, side).rows, HashEncoder().encode(side))
    assert encoder.encoded == len({i for request in requests for i in request})


WORKER = """
import sys
from pathlib import Path
from evals.embeddings.store import Store
from tests.commands import until
from tests.toys import HashEncoder, stopping, text_side

encoder = HashEncoder(dim=64)
if sys.argv[2] == "stop":
    stopping(encoder, after=int(sys.argv[3]))
elif sys.argv[2] == "meet":
    encode = encoder.encode
    def meeting(side):
        Path(sys.argv[3]).touch()
        until(Path(sys.argv[4]).exists)
        return encode(side)
    encoder.encode = meeting
store = Store(Path(sys.argv[1]), shard_rows=10)
rows = store.embed(encoder, text_side([f"text {i}" for i in range(400)])).rows
print(encoder.encoded, rows.sum(dtype="f8").hex())
"""


def worker(root, *until):
    """A process that embeds 400 texts, or stops after some, or works as soon as another does."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root), *map(str, until or ("end",))],
        stdout=subprocess.PIPE,
        text=True,
    )


def finished(process) -> list[str]:
    try:
        out, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0
    return out.split()


def committed(root) -> int:
    return len([path for path in root.glob("*/*.json") if path.name != "key.json"])


def test_kill_9_at_any_moment_loses_less_than_a_shard(tmp_path):
    undisturbed = finished(worker(tmp_path / "undisturbed"))[1]
    rng = np.random.default_rng(0)
    for attempt in range(4):
        root = tmp_path / f"killed-{attempt}"
        process = worker(root, "stop", 390)
        until(lambda: committed(root), process)  # noqa: B023
        time.sleep(0.1 * rng.random())
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        kept = 10 * committed(root)
        (next(root.glob("*/key.json")).parent / ".left-over.part").touch()
        encoded, total = finished(worker(root))
        assert int(encoded) == 400 - kept > 0
        assert total == undisturbed
        assert not list(root.rglob("*.part"))


def test_two_processes_share_the_work(tmp_path):
    """Each begins a shard while the other is at one: neither waits until the other has done all of them."""
    root, a, b = (tmp_path / name for name in ("store", "a", "b"))
    first, second = worker(root, "meet", a, b), worker(root, "meet", b, a)
    (n_first, total), (n_second, same) = (finished(process) for process in (first, second))
    # each row once
    assert int(n_first) + int(n_second) == 400 and min(int(n_first), int(n_second)) >= 10
    assert total == same
    assert not list(root.rglob(".*"))


def test_a_worker_that_dies_costs_the_shard_that_it_was_at(tmp_path):
    dying = worker(tmp_path, "stop", 30)
    assert dying.stdout.readline() == "stopped\n"
    living = worker(tmp_path)
    until(lambda: committed(tmp_path) == 39, living)
    os.kill(dying.pid, signal.SIGKILL)
    dying.communicate()
    encoded, total = finished(living)
    assert int(encoded) == 400 - 30
    assert total == finished(worker(tmp_path / "alone"))[1]
    # every item in one shard, the claim of the dead process swept by the next command
    assert committed(tmp_path) == 40
    assert finished(worker(tmp_path))[0] == "0"
    assert not list(tmp_path.glob("*/.*"))


class BrokenAt(HashEncoder):
    """Fails at items of some names, so often each."""

    def __init__(self, failures: dict[str, int]) -> None:
        super().__init__()
        self.failures = failures

    def encode(self, side):
        for name in set(self.failures) & set(side.ids):
            if self.failures[name]:
                self.failures[name] -= 1
                self.calls.append([])
                raise InvalidError(f"text {name} is broken")
        return super().encode(side)


def test_a_shard_that_fails_twice_is_encoded_the_third_time(store):
    encoder = BrokenAt({"t7": 2})
    embedded = store.embed(encoder, text_side(TEXTS))
    assert embedded.encoded == 23 and len(encoder.calls) == 5 + 2
    np.testing.assert_array_equal(
        embedded.rows, Store(store.root).embed(HashEncoder(), text_side(TEXTS)).rows
    )


def test_a_shard_that_fails_three_times_is_named_and_the_rest_is_stored(store):
    encoder = BrokenAt({"t7": 9, "t22": 9})
    with pytest.raises(FailedShardsError) as caught:
        store.embed(encoder, text_side(TEXTS))
    assert caught.value.exit_code == 3
    assert str(caught.value) == (
        "toy: 2 shards could not be encoded, in 3 tries each. 5 texts, t5 to t9: text t7 is broken; "
        "3 texts, t20 to t22: text t22 is broken. All others are stored, and nothing is scored "
        "without them. Mend that, and run the same command again."
    )
    assert encoder.failures == {"t7": 6, "t22": 6}
    assert store.missing(HashEncoder(), text_side(TEXTS)) == [5, 6, 7, 8, 9, 20, 21, 22]
    assert not list(store.root.glob("*/.*"))
    # mended: only those are encoded
    assert store.embed(HashEncoder(), text_side(TEXTS)).encoded == 8


def test_when_no_shard_can_be_encoded_three_are_tried(store):
    encoder = BrokenAt({f"t{i}": 9 for i in range(23)})
    with pytest.raises(FailedShardsError, match="None could, so no others were tried"):
        store.embed(encoder, text_side(TEXTS))
    assert len(encoder.calls) == 9


def test_a_stream_that_ends_early_is_a_failed_try_and_not_waited_for(store):
    class Short(HashEncoder):
        def stream(self, sides):
            for side in sides:
                if "t7" in side.ids:
                    return
                yield self.encode(side)

    with pytest.raises(FailedShardsError, match="5 texts, t5 to t9: toy: its stream ended before"):
        store.embed(Short(), text_side(TEXTS))
    assert store.missing(HashEncoder(), text_side(TEXTS)) == [5, 6, 7, 8, 9]


def test_an_error_of_the_machine_ends_the_work_at_once(store):
    class Offline(HashEncoder):
        def encode(self, side):
            self.calls.append([])
            raise MissingError("no network")

    encoder = Offline()
    with pytest.raises(MissingError, match="no network"):
        store.embed(encoder, text_side(TEXTS))
    assert len(encoder.calls) == 1
