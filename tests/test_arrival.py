"""While a card computes a shard the former one is written; whatever ends the work, what was queued before is kept."""

import threading
from collections.abc import Generator

import numpy as np
import pytest
import torch

from evals.embeddings import encoding
from evals.embeddings.failures import FailedShardsError
from evals.embeddings.store import Store
from evals.encoders import jina
from evals.schema import InvalidError, MissingError
from jina_clip.arrival import Arriving, one_behind, to_host
from tests.test_encoder import encoder, pictures, texts


class Awaited:
    """An event that tells when it is waited for."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def synchronize(self) -> None:
        self.log.append(f"await {self.name}")


class Card:
    """A card that is the CPU: rows are there at once, and are said to come only when they are awaited."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.n_queued = 0
        monkeypatch.setattr(jina, "to_host", self.to_host)
        write = encoding.write_shard

        def written(folder, items, rows):
            self.log.append("write")
            return write(folder, items, rows)

        monkeypatch.setattr(encoding, "write_shard", written)

    def to_host(self, rows: torch.Tensor) -> Arriving:
        self.n_queued += 1
        self.log.append(f"queue {self.n_queued}")
        return Arriving(rows.cpu(), Awaited(self.log, str(self.n_queued)))


def queue(log: list[str], names: str, error: BaseException | None = None) -> Generator[Arriving]:
    for name in names:
        log.append(f"queue {name}")
        yield Arriving(torch.full((1, 2), float(ord(name))), Awaited(log, name))
    if error is not None:
        raise error


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_shard_is_awaited_and_written_when_the_next_is_queued_and_never_later(
    kind: str, tmp_path, monkeypatch
):
    side = texts(["a cat", "two dogs", "red", "blue"]) if kind == "text" else pictures(4)
    expected = Store(tmp_path / "plain", shard_rows=1).embed(encoder(), side).rows
    card = Card(monkeypatch)
    rows = Store(tmp_path / "card", shard_rows=1).embed(encoder(), side).rows
    assert card.log == [
        *("queue 1", "queue 2", "await 1", "write"),
        *("queue 3", "await 2", "write"),
        *("queue 4", "await 3", "write"),
        *("await 4", "write"),
    ]
    assert rows.tobytes() == expected.tobytes()
    files = [sorted(p.relative_to(tmp_path / way) for p in (tmp_path / way).rglob("*.safetensors"))
             for way in ("plain", "card")]  # fmt: skip
    assert files[0] == files[1] and len(files[0]) == 4
    for file in files[0]:
        assert (tmp_path / "plain" / file).read_bytes() == (tmp_path / "card" / file).read_bytes()


def test_on_a_cpu_rows_come_before_the_next_side_is_looked_at():
    taken = []

    def sides():
        for i in range(4):
            taken.append(i)
            yield i

    looked_at = []
    for _ in one_behind(to_host(torch.ones(1, 2)) for _ in sides()):
        looked_at.append(len(taken))  # noqa: PERF401
    assert looked_at == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "error", [InvalidError("image 3 is broken"), MissingError("memory"), KeyboardInterrupt()]
)
def test_what_was_queued_before_an_error_or_an_interrupt_comes_first(error: BaseException):
    log: list[str] = []
    stream = one_behind(queue(log, "ab", error))
    assert [next(stream)[0, 0], next(stream)[0, 0]] == [ord("a"), ord("b")]
    with pytest.raises(type(error)):
        next(stream)
    assert log == ["queue a", "queue b", "await a", "await b"]
    assert list(stream) == []


def test_a_broken_image_costs_its_own_shard_alone(tmp_path, monkeypatch):
    card = Card(monkeypatch)
    side, store = pictures(4), Store(tmp_path, shard_rows=1)
    side.items[2] = side.items[2].convert("I;16")
    with pytest.raises(FailedShardsError, match="i2"):
        store.embed(encoder(), side)
    assert card.log.count("write") == 3
    assert store.missing(encoder(), side) == [2]


def test_an_interrupt_while_the_next_shard_is_made_leaves_the_former_one_stored(
    tmp_path, monkeypatch
):
    Card(monkeypatch)
    model, store, side = encoder(), Store(tmp_path, shard_rows=1), pictures(4)
    features, calls = model.model.image_rows, iter(range(9))

    def interrupted(pixels):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return features(pixels)

    monkeypatch.setattr(model.model, "image_rows", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        store.embed(model, side)
    assert threading.active_count() == before
    assert store.missing(model, side) == [2, 3]
    assert not list(tmp_path.rglob(".claim-*"))


def test_a_stream_that_is_left_early_awaits_nothing_and_closes_its_queue():
    log: list[str] = []
    made = queue(log, "abc")
    stream = one_behind(made)
    next(stream)
    stream.close()
    assert log == ["queue a", "queue b", "await a"]
    assert made.gi_frame is None


class OnCard(torch.Tensor):
    """A tensor that says it is on a card."""

    device = torch.device("cuda:1")


def test_rows_leave_a_card_by_a_copy_to_pinned_memory_that_nobody_waits_for(monkeypatch):
    log: list[object] = []
    empty, copy = torch.empty, torch.Tensor.copy_

    def pinned(*shape, pin_memory=False, **options):
        log.append(("pinned", pin_memory, options["device"]))
        return empty(*shape, **options)

    def copied(target, source, non_blocking=False):
        log.append(("copy", non_blocking))
        return copy(target, source.as_subclass(torch.Tensor))

    class Stream:
        def __init__(self, device: torch.device) -> None:
            log.append(device)

        def record_event(self) -> Awaited:
            log.append("record")
            return Awaited([], "")

    rows = torch.arange(6.0).reshape(2, 3)
    monkeypatch.setattr(torch, "empty", pinned)
    monkeypatch.setattr(torch.Tensor, "copy_", copied)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    arriving = to_host(rows.as_subclass(OnCard))
    assert log == [("pinned", True, "cpu"), ("copy", True), torch.device("cuda:1"), "record"]
    np.testing.assert_array_equal(arriving.wait(), rows.numpy())
    assert to_host(rows).arrived is None
