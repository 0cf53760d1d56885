"""Passes as CUDA graphs give the rows of plain passes; a stand-in that writes over its own rows plays the card."""

import numpy as np
import pytest
import torch
from PIL import Image

from evals.encoders.jina import JinaEncoder
from evals.schema import ConfigError
from jina_clip import JinaCLIP, graphs
from jina_clip.budget import Budget
from jina_clip.graphs import GraphedPass

FULL = torch.OutOfMemoryError("CUDA out of memory")


def batch(n: int, value: int = 0) -> torch.Tensor:
    return torch.full((n, 3, 2, 2), value, dtype=torch.uint8)


def plain(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1).float() * 2


class Card:
    """Captures passes as a card does: a replay computes from a tensor of its own, into one of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, shift: float = 0) -> None:
        self.captured: list[int] = []
        self.replayed: list[int] = []
        self.shift = shift
        monkeypatch.setattr(graphs, "capture", self.capture)

    def capture(self, compute, images, device):
        self.captured.append(len(images))
        static, rows = images.clone(), compute(images)

        def replay(images: torch.Tensor) -> torch.Tensor:
            self.replayed.append(len(images))
            static.copy_(images)
            rows.copy_(compute(static) + self.shift)
            return rows.clone()

        return replay


def test_a_number_of_images_is_captured_the_second_time_and_replayed_from_then_on(monkeypatch):
    card, graphed = Card(monkeypatch), GraphedPass(plain)
    for i in range(5):
        assert torch.equal(graphed(batch(3, i)), plain(batch(3, i)))
        assert card.captured == [3] * (i >= 1)
    assert card.replayed == [3] * 4  # once to compare, then for three passes
    assert torch.equal(graphed(batch(2)), plain(batch(2)))  # a last pass, which is shorter
    assert card.captured == [3]


def test_no_more_than_two_graphs_are_kept(monkeypatch):
    card, graphed = Card(monkeypatch), GraphedPass(plain)
    for n in (4, 4, 1, 1, 2, 2, 2, 4, 1):
        assert torch.equal(graphed(batch(n, n)), plain(batch(n, n)))
    assert card.captured == [4, 1]


def test_a_replay_with_other_rows_is_never_used_and_said_once(monkeypatch, caplog):
    card, graphed = Card(monkeypatch, shift=2.0**-20), GraphedPass(plain)
    for i in range(4):
        assert torch.equal(graphed(batch(3, i)), plain(batch(3, i)))
        graphed(batch(1, i))
    assert card.captured == [3] and card.replayed == [3]
    (record,) = caplog.records
    assert "without CUDA graphs: RuntimeError: a replay gives other rows" in record.getMessage()


def test_a_pass_that_cannot_be_captured_goes_on_plain(monkeypatch, caplog):
    def capture(*arguments: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(graphs, "capture", capture)
    graphed = GraphedPass(plain)
    for i in range(3):
        assert torch.equal(graphed(batch(3, i)), plain(batch(3, i)))
    assert caplog.text.count("not permitted when stream is capturing") == 1


def test_when_memory_runs_out_graphs_are_dropped_and_the_pass_is_made_again(monkeypatch, caplog):
    """So the pass is made smaller only where it does not fit without them."""
    card = Card(monkeypatch)

    def compute(images: torch.Tensor) -> torch.Tensor:
        # what the graphs hold is what five images take
        if len(images) > 7 or (len(images) > 4 and graphed._replays):
            raise FULL
        return plain(images)

    graphed = GraphedPass(compute)
    for _ in range(2):  # without graphs there is nothing to drop, and they may still come
        with pytest.raises(torch.OutOfMemoryError):
            graphed(batch(8))
    graphed(batch(3)), graphed(batch(3))
    assert graphed._replays and not caplog.records
    assert torch.equal(graphed(batch(5, 9)), plain(batch(5, 9)))
    assert not graphed._replays and caplog.text.count("without CUDA graphs: out of memory") == 1
    with pytest.raises(torch.OutOfMemoryError):
        graphed(batch(8))
    graphed(batch(3)), graphed(batch(3))
    assert card.captured == [3]


def test_a_replay_that_runs_out_of_memory_is_a_plain_pass_from_then_on(monkeypatch, caplog):
    def capture(compute, images, device):
        room = [images]  # enough to compare the rows once

        def replay(images: torch.Tensor) -> torch.Tensor:
            if not room:
                raise FULL
            room.pop()
            return compute(images)

        return replay

    monkeypatch.setattr(graphs, "capture", capture)
    graphed = GraphedPass(plain)
    for i in range(4):
        assert torch.equal(graphed(batch(3, i)), plain(batch(3, i)))
    assert caplog.text.count("without CUDA graphs: out of memory") == 1


def test_under_autocast_passes_are_plain(monkeypatch):
    card, graphed = Card(monkeypatch), GraphedPass(plain)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
    for _ in range(3):
        graphed(batch(3))
    assert not card.captured


def test_a_model_embeds_by_graphs_what_it_embeds_without(checkpoint, monkeypatch):
    card = Card(monkeypatch)
    model = JinaCLIP.from_pretrained(checkpoint, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (11, 40, 60, 3), dtype=np.uint8)
    images = [Image.fromarray(image) for image in pixels]
    model.set_budget("images", 3)
    expected = model.encode_image(images)
    with pytest.raises(ValueError, match="run on a card, and the model is on cpu"):
        model.graph_images()
    model._graphed = GraphedPass(model._image_pass)  # as on a card
    assert np.array_equal(model.encode_image(images), expected)
    assert card.captured == [3] and card.replayed == [3, 3]
    assert isinstance(model.budgets["images"], Budget) and model.budgets["images"].used == [3]


def test_where_there_is_no_card_graphs_are_refused(checkpoint):
    with pytest.raises(ConfigError, match="--cuda-graphs: they run on a card, not on cpu"):
        JinaEncoder(name="v2", folder=checkpoint, device="cpu", cuda_graphs=True)
