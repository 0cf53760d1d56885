"""Passes fit in the memory of a simulated card: nothing is lost, and only an item too large alone is an error."""

import logging

import numpy as np
import pytest
import torch

from jina_clip.attention import WINDOW
from jina_clip.budget import PATIENCE, Budget, ItemTooLargeError, passes
from jina_clip.passes import image_rows, text_rows
from jina_clip.text import TextTower
from tests.test_packing import SIZES, some_texts
from tests.test_towers import randomised, text_config

FULL = torch.OutOfMemoryError("CUDA out of memory")
BESIDE = [
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.fixture(autouse=True)
def no_garbage_collection(monkeypatch):
    """A collection takes a tenth of a second in a process with all of pytest, and frees nothing here."""
    monkeypatch.setattr("jina_clip.budget.gc.collect", lambda: 0)


class Card:
    """Memory for so many places; `allocate` raises as torch does when a pass takes more."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.passes: list[int] = []

    def allocate(self, places: int) -> None:
        self.passes.append(places)
        if places > self.places:
            raise torch.OutOfMemoryError("CUDA out of memory")


class ToyTower(TextTower):
    """A text tower whose row depends on its text alone, to the bit, on a card of limited memory."""

    def __init__(self, card: Card, window: int) -> None:
        super().__init__(text_config("v2", **SIZES))
        self.card, self._window = card, window

    @property
    def window(self) -> int:
        return self._window

    def features(self, packed):
        self.card.allocate(len(packed.ids))
        places = range(len(packed.ids)) if packed.places is None else packed.places.tolist()
        ids = packed.ids[list(places)][: sum(packed.lengths)]
        rows = [part.double().sin().sum() for part in ids.split(list(packed.lengths))]
        return torch.stack(rows).float()[:, None].expand(-1, self.config.hidden_size)


@pytest.mark.parametrize("window", [0, WINDOW])
def test_random_budgets_on_a_full_card_lose_nothing_and_keep_the_order(window):
    """100 budgets for either way to pack, each from ruinous to far too large."""
    rng = np.random.default_rng(window)
    tower = ToyTower(Card(0), window)
    for _ in range(100):
        texts = some_texts(rng.integers(1, 200, rng.integers(1, 60)).tolist())
        expected = torch.stack([torch.tensor(text).double().sin().sum().float() for text in texts])
        # a runs-pass is filled up to a multiple of 32 places
        least = max(map(len, texts)) + 32
        tower.card = Card(int(rng.integers(least, 40 * least)))
        budget = Budget(int(2 ** rng.uniform(0, 20)), "tokens")
        rows = text_rows(tower, texts, budget)
        assert torch.equal(rows[:, 0], expected)
        assert 1 <= budget.size <= budget.limit


@pytest.mark.parametrize("one_size", [False, True])
def test_random_budgets_of_images_lose_nothing_and_keep_the_order(one_size):
    rng = np.random.default_rng(int(one_size))
    for _ in range(100):
        images = torch.from_numpy(
            rng.integers(0, 256, (int(rng.integers(1, 50)), 3, 2, 2), np.uint8)
        )
        card = Card(int(rng.integers(1, 40)))

        def features(batch, card=card):
            card.allocate(len(batch))
            return batch.flatten(1).float()

        budget = Budget(int(rng.integers(1, 60)), "images")
        rows = torch.cat(image_rows(features, images, budget, one_size=one_size))
        assert torch.equal(rows, images.flatten(1).float())


def test_one_short_text_takes_one_window_whatever_the_budget():
    card = Card(WINDOW)
    text_rows(ToyTower(card, WINDOW), some_texts([3, 9]), Budget(1 << 20, "tokens"))
    assert card.passes == [WINDOW]


def test_windows_are_halved_from_what_they_allocate():
    """300 texts of 3 tokens are 8 windows: what failed cost 1,024 places, not 900."""
    card, budget = Card(600), Budget(1 << 20, "tokens")
    text_rows(ToyTower(card, WINDOW), some_texts([3] * 300), budget)
    assert (card.passes, budget.used) == ([1024, 512, 512], [1 << 20, 512])


def test_a_window_that_does_not_fit_is_taken_apart():
    card = Card(100)
    rows = text_rows(ToyTower(card, WINDOW), some_texts([60, 60]), Budget(4096, "tokens"))
    assert card.passes[0] == WINDOW and max(card.passes[2:]) <= 100
    assert len(rows) == 2


def test_a_compiled_pass_is_halved_from_its_filled_up_size():
    card, budget = Card(4), Budget(16, "images")
    images = torch.zeros(3, 3, 2, 2, dtype=torch.uint8)

    def features(batch):
        card.allocate(len(batch))
        return batch.flatten(1).float()

    assert len(torch.cat(image_rows(features, images, budget, one_size=True))) == 3
    assert card.passes == [16, 8, 4]


def test_a_text_too_large_alone_is_named_by_its_position_and_no_other():
    tower = ToyTower(Card(100), 0)
    with pytest.raises(ItemTooLargeError, match="item 2 does not fit even alone, in a pass of 150"):
        text_rows(tower, some_texts([10, 20, 150, 30]), Budget(64, "tokens"))


def test_an_image_too_large_alone_is_named_by_its_position_over_all_batches():
    def features(batch):
        if batch.max() > 9:
            raise FULL
        return batch.flatten(1).float()

    images = torch.zeros(7, 3, 2, 2, dtype=torch.uint8)
    images[5] = 10
    with pytest.raises(ItemTooLargeError, match="item 5 "):
        image_rows(features, images, Budget(2, "images"))


def test_a_budget_comes_back_up_when_memory_is_free_again():
    free = [4]

    def run(part: slice) -> int:
        if part.stop - part.start > free[0]:
            raise FULL
        return part.stop - part.start

    budget = Budget(16, "images")
    list(passes([1] * 16, budget, run))
    assert budget.size == 4
    free[0] = 100
    sizes = [size for _, size in passes([1] * 200, budget, run)]
    assert (budget.size, sizes[-2]) == (16, 16)
    assert budget.used == [16, 8, 4]


def test_attempts_at_more_become_rare_while_memory_stays_short():
    failed = 0

    def run(part: slice) -> None:
        nonlocal failed
        if part.stop - part.start > 5:
            failed += 1
            raise FULL

    list(passes([1] * 4000, Budget(8, "images"), run))
    # 8 full passes, then 16, 32, ...: of 1,000 passes some 7 attempts fail
    assert 3 < failed < 10


def test_passes_that_are_hardly_filled_say_nothing_about_larger_ones():
    budget = Budget(16, "images")
    budget.halve(16)
    for _ in range(3 * PATIENCE):
        budget.fitted(4)
    assert budget.size == 8


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        RuntimeError("can't allocate memory: 1 GB"),
        # beside torch's allocator, as on a card that it has nearly filled
        *BESIDE,
    ],
)
def test_out_of_memory_halves_the_pass_and_keeps_what_is_finished(error, caplog):
    tried = []

    def run(part: slice) -> list[int]:
        tried.append(part.stop - part.start)
        if len(tried) > 1 and part.stop - part.start > 3:
            raise error
        return list(range(part.start, part.stop))

    budget = Budget(8, "images")
    with caplog.at_level(logging.WARNING):
        finished = [i for _, done in passes([1] * 20, budget, run) for i in done]
    assert finished == list(range(20))
    assert tried == [8, 8, 4, 2, 2, 2, 2, 2, 2]
    assert budget.used == [8, 4, 2]
    assert "going on with 4" in caplog.text


@pytest.mark.parametrize("error", BESIDE)
def test_an_item_alone_is_not_called_too_large_where_torch_s_allocator_had_memory(error):
    """A driver that cannot load a kernel, or cuBLAS without its handle, fails with the smallest item."""
    tried = []

    def run(part: slice) -> None:
        tried.append(part.stop - part.start)
        raise error

    with pytest.raises(torch.OutOfMemoryError, match="beside torch's allocator, also in") as caught:
        list(passes([3, 5], Budget(8, "tokens"), run))
    assert not isinstance(caught.value, ItemTooLargeError)
    assert str(error) in str(caught.value) and tried == [2, 1, 1]


@pytest.mark.parametrize("error", BESIDE)
def test_an_item_alone_goes_once_more_with_the_memory_that_torch_kept_and_did_not_use(error):
    """torch's allocator holds on to blocks: nobody else has them until they are given back."""
    kept_by_torch = [True]
    tried = []

    def run(part: slice) -> None:
        tried.append(part.start)
        if kept_by_torch:
            kept_by_torch.clear()
            raise error

    assert len(list(passes([8, 8], Budget(8, "tokens"), run))) == 2
    assert tried == [0, 0, 1]


@pytest.mark.parametrize(
    "message",
    [
        "mat1 and mat2 shapes cannot be multiplied",
        "CUDA error: an illegal memory access was encountered",
        "out of resource: shared memory",  # the kernel is too large for this card
    ],
)
def test_other_errors_are_not_taken_for_a_lack_of_memory(message):
    def run(part: slice) -> None:
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match=message):
        list(passes([1, 1], Budget(8, "images"), run))


def test_windows_on_a_real_tower_equal_single_texts_after_memory_ran_out(monkeypatch):
    tower = randomised(TextTower(text_config("v1", **SIZES)))
    monkeypatch.setattr(TextTower, "window", property(lambda self: WINDOW))
    features, card = TextTower.features, Card(256)

    def limited(self, packed):
        card.allocate(len(packed.ids))
        return features(self, packed)

    texts = some_texts([7, 100, 3, 40, 128, 1, 129, 60, 28])
    with torch.inference_mode():
        expected = torch.cat([tower(torch.tensor([text])) for text in texts])
        monkeypatch.setattr(TextTower, "features", limited)
        rows = text_rows(tower, texts, Budget(4096, "tokens"))
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)
    assert max(card.passes) > 256
