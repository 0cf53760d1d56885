"""Prefetching keeps the order, its bound and its promises when a side stops early; batches hold every image once."""

import gc
import itertools
import signal
import threading
import time
import weakref

import pytest
import torch

from jina_clip import Preprocess
from jina_clip.prefetch import batches, prefetch
from tests.commands import until


def prefetching() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def images(count: int, side: int = 4) -> list[torch.Tensor]:
    return [torch.full((3, side, side), i, dtype=torch.uint8) for i in range(count)]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_results_come_in_the_order_of_the_items(workers):
    def late_when_even(item: int) -> int:
        time.sleep(0.01 * (item % 2 == 0))
        return item * item

    assert list(prefetch(late_when_even, range(20), workers=workers, ahead=6)) == [
        i * i for i in range(20)
    ]
    assert list(prefetch(late_when_even, [], workers=workers, ahead=6)) == []


def test_workers_load_at_the_same_time():
    """Three loads meet at a barrier that none passes alone."""
    meeting = threading.Barrier(3, timeout=60)
    names = set()

    def load(item: int) -> int:
        meeting.wait()
        names.add(threading.current_thread().name)
        return item

    assert list(prefetch(load, range(9), workers=3, ahead=3)) == list(range(9))
    assert len(names) == 3


def test_without_workers_the_caller_loads_when_it_asks():
    loaded = []
    results = prefetch(loaded.append, itertools.count(), workers=0, ahead=5)
    assert loaded == []
    next(results)
    assert loaded == [0]


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_items_are_taken_as_results_are_asked_for(ahead):
    """The items have no end; what was taken is never more than `ahead` beyond what was asked for."""
    taken = 0

    def endless():
        nonlocal taken
        for item in itertools.count():
            taken += 1
            yield item

    results = prefetch(lambda item: item, endless(), workers=2, ahead=ahead)
    assert taken == 0
    for i in range(50):
        assert next(results) == i
        assert taken == i + ahead
    results.close()


def test_results_alive_at_once_do_not_grow_with_the_items():
    """Counted at each load: those that wait, the consumer's own, and what a thread has just handed over."""
    workers, ahead = 2, 4
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    lock, most, loaded = threading.Lock(), 0, 0

    def load(item: int) -> torch.Tensor:
        nonlocal most, loaded
        made = torch.zeros(3, 8, 8, dtype=torch.uint8)
        with lock:
            alive.add(made)
            most = max(most, len(alive))
            loaded += 1
        return made

    for i, result in enumerate(prefetch(load, range(2000), workers=workers, ahead=ahead)):
        if i % 200 == 0:  # a consumer that dawdles lets all of them finish
            until(lambda: loaded == i + ahead)  # noqa: B023
        assert result.shape == (3, 8, 8)
    del result
    gc.collect()
    assert ahead <= most <= ahead + 1 + workers
    assert len(alive) == 0


def test_an_error_is_raised_at_its_place_and_the_first_in_order_wins():
    later_failed = threading.Event()

    def load(item: int) -> int:
        if item == 3:
            later_failed.wait(60)
            raise ValueError("item 3")
        if item == 5:
            later_failed.set()
            raise OSError("item 5, sooner")
        return item

    results = prefetch(load, range(8), workers=4, ahead=8)
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(ValueError, match="item 3"):
        next(results)
    assert prefetching() == []
    assert list(results) == []


def test_what_waits_is_cancelled_after_an_error():
    loaded = []

    def load(item: int) -> None:
        loaded.append(item)
        if item == 0:
            raise ValueError("broken")
        time.sleep(0.05)

    with pytest.raises(ValueError, match="broken"):
        list(prefetch(load, range(1000), workers=2, ahead=500))
    assert len(loaded) < 500


def test_an_error_of_the_items_ends_it():
    def items():
        yield from range(3)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(prefetch(lambda item: item, items(), workers=2, ahead=2))
    assert prefetching() == []


@pytest.mark.parametrize("stop", ["close", "forget"])
def test_no_thread_is_left_when_the_consumer_stops_early(stop):
    results = prefetch(lambda item: item, itertools.count(), workers=3, ahead=9)
    assert next(results) == 0
    assert prefetching() != []
    if stop == "close":
        results.close()
    del results
    assert prefetching() == []


def test_an_iterator_never_asked_starts_no_thread():
    prefetch(lambda item: item, range(5), workers=3, ahead=9)
    assert prefetching() == []


def test_ctrl_c_interrupts_the_wait():
    # a process that runs tests beside others ignores the signal
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def load(item: int) -> int:
        if item == 2:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.2)
        return item

    try:
        with pytest.raises(KeyboardInterrupt):
            list(prefetch(load, range(50), workers=1, ahead=10))
    finally:
        signal.signal(signal.SIGINT, before)
    assert prefetching() == []


@pytest.mark.parametrize(("workers", "ahead"), [(-1, 4), (2, 0)])
def test_an_impossible_bound_is_refused_at_once(workers, ahead):
    with pytest.raises(ValueError, match=f"not {workers} and {ahead}"):
        prefetch(lambda item: item, [], workers=workers, ahead=ahead)


def test_batches_hold_every_image_once_and_the_last_what_is_left():
    found = list(batches(iter(images(7)), 3))
    assert [len(batch) for batch in found] == [3, 3, 1]
    assert torch.equal(torch.cat(found), torch.stack(images(7)))
    assert list(batches([], 3)) == []
    assert [len(batch) for batch in batches(images(6), 3)] == [3, 3]


def test_a_batch_is_not_overwritten_by_the_next():
    found = batches(images(4), 2)
    first = next(found)
    copy = first.clone()
    next(found)
    assert torch.equal(first, copy)


def test_a_batch_takes_no_more_images_than_it_holds():
    source = iter(images(5))
    next(batches(source, 2))
    assert len(list(source)) == 3


def test_batches_refuse_what_they_cannot_hold():
    """An iterator hides its images from the type checker of the tests."""
    with pytest.raises(ValueError, match="at least 1 image, not 0"):
        batches([], 0)
    with pytest.raises(RuntimeError):
        list(batches(iter([*images(1, side=4), *images(1, side=5)]), 2))


def test_files_become_normalised_batches_as_one_by_one(tmp_path):
    """The whole pipeline in threads equals preprocessing each image alone."""
    from tests.test_preprocess import picture

    how, sources = Preprocess(size=32), [picture(50 + i, 70 - i, seed=i) for i in range(10)]
    batch = torch.cat(
        [how.normalize(b) for b in batches(prefetch(how.pixels, sources, workers=4, ahead=6), 4)]
    )
    assert torch.equal(batch, torch.stack([how(image) for image in sources]))


@pytest.mark.gpu
def test_pinned_batches_arrive_whole_while_the_device_is_busy():
    """Copies queued behind long work still read what was there when they were queued."""
    size, side = 8, 128
    busy = torch.randn(4096, 4096, device="cuda")
    arrived = []
    for batch in batches(
        (torch.full((3, side, side), i % 256, dtype=torch.uint8) for i in range(40 * size)),
        size,
        pin=True,
    ):
        assert batch.is_pinned()
        for _ in range(20):
            torch.mm(busy, busy)
        arrived.append(batch.to("cuda", non_blocking=True))
        del batch
    expected = torch.arange(40 * size) % 256
    assert torch.equal(torch.cat(arrived)[:, 0, 0, 0].cpu(), expected.to(torch.uint8))
    assert torch.equal(torch.cat(arrived).amax((1, 2, 3)).cpu(), expected.to(torch.uint8))
