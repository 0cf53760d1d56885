"""Packed texts equal single texts whatever the executor."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness import peak_memory
from jina_clip import ClipConfig, JinaCLIP
from jina_clip.attention import WINDOW
from jina_clip.budget import Budget, fill
from jina_clip.model import expected_shapes
from jina_clip.packing import into_windows, pack_runs, pack_windows, runs_of
from jina_clip.passes import text_rows
from jina_clip.text import TextTower
from jina_clip.weights import official_tensors, read_weights, write_weights
from tests.conftest import official_config
from tests.test_towers import randomised, text_config

CPU = torch.device("cpu")
SIZES = dict(
    vocab_size=100,
    hidden_size=48,
    num_hidden_layers=2,
    num_attention_heads=12,
    intermediate_size=64,
)


@pytest.fixture(scope="module", params=["v1", "v2"])
def tower(request) -> TextTower:
    return randomised(TextTower(text_config(request.param, **SIZES)))


def some_texts(lengths: list[int]) -> list[list[int]]:
    rng = np.random.default_rng(5)
    return [rng.integers(5, 100, length).tolist() for length in lengths]


def one_by_one(tower: TextTower, texts: list[list[int]]) -> torch.Tensor:
    return torch.cat([tower(torch.tensor([text])) for text in texts])


def test_runs_equal_single_texts_in_the_order_given(tower):
    texts = some_texts([7, 7, 3, 40, 3, 1, 128, 200])
    with torch.inference_mode():
        rows = text_rows(tower, texts, Budget(150, "tokens"))
        torch.testing.assert_close(rows, one_by_one(tower, texts), atol=1e-5, rtol=0)


def test_windows_equal_single_texts_in_the_order_given(tower, monkeypatch):
    monkeypatch.setattr(TextTower, "window", property(lambda self: WINDOW))  # as on CUDA
    texts = some_texts([7, 100, 3, 40, 128, 1, 129, 60, 28])
    with torch.inference_mode():
        rows = text_rows(tower, texts, Budget(256, "tokens"))
        torch.testing.assert_close(rows, one_by_one(tower, texts), atol=1e-5, rtol=0)


def test_packed_texts_equal_padded_ones_under_gradients(tower):
    """The padded interface packs too; gradients flow through it to every weight."""
    texts = some_texts([6, 2, 6])
    padded = torch.full((3, 6), tower.config.pad_token_id)
    for row, text in zip(padded, texts, strict=True):
        row[: len(text)] = torch.tensor(text)
    rows = tower(padded)
    torch.testing.assert_close(rows, one_by_one(tower, texts), atol=1e-5, rtol=0)
    rows.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tower.parameters())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, WINDOW), max_size=200))
def test_windows_hold_every_text_once_and_never_more_than_fits(lengths):
    windows = into_windows(lengths)
    assert sorted(i for window in windows for i in window) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in window) <= WINDOW for window in windows)


def test_captions_fill_windows_almost_wholly():
    lengths = (
        np.exp(np.random.default_rng(0).normal(2.6, 0.35, 2000)).clip(5, 77).astype(int).tolist()
    )
    assert sum(lengths) / (WINDOW * len(into_windows(lengths))) > 0.98


def test_an_overfull_window_is_refused():
    with pytest.raises(ValueError, match="holds 128 tokens, not 130"):
        pack_windows([some_texts([65, 65])], CPU, pad=1)


def test_on_a_cpu_a_filler_makes_round_shapes_and_belongs_to_no_text(tower):
    for lengths, places in (([5, 4], 16), ([200, 100], 320), ([16], 16)):
        packed = pack_runs(some_texts(lengths), CPU, tower.slopes)
        assert (len(packed.ids), len(packed.positions), sum(packed.lengths)) == (
            places,
            places,
            sum(lengths),
        )
        with torch.inference_mode():
            alone = torch.cat(
                [
                    tower.features(pack_runs([text], CPU, tower.slopes))
                    for text in some_texts(lengths)
                ]
            )
            assert torch.allclose(tower.features(packed), alone, atol=1e-5)


def test_equal_neighbours_are_one_run():
    assert [tuple(run) for run in runs_of([5, 5, 3, 5])] == [(2, 5), (1, 3), (1, 5)]
    assert runs_of([]) == []


def test_a_pass_is_filled_up_to_the_budget_and_takes_one_unit_at_least():
    assert fill([5, 4, 3, 9], 0, 12) == 3
    assert fill([50, 1], 0, 12) == 1


def test_the_budget_bounds_the_tokens_of_a_pass(tower, monkeypatch):
    seen = []
    features = TextTower.features
    monkeypatch.setattr(
        TextTower,
        "features",
        lambda self, packed: seen.append(sum(packed.lengths)) or features(self, packed),
    )
    with torch.inference_mode():
        text_rows(tower, some_texts([10] * 20 + [70]), Budget(64, "tokens"))
        assert max(seen) == 70  # it goes alone
        assert sorted(seen)[-2] <= 64
        seen.clear()
        text_rows(tower, some_texts([10] * 20), Budget(1000, "tokens"), most=3)
    assert max(seen) == 30


def test_a_text_without_tokens_is_refused_by_number(tower):
    with pytest.raises(ValueError, match="text 1 has no tokens"):
        text_rows(tower, [[5], []], Budget(64, "tokens"))


def test_a_long_text_needs_memory_in_proportion_to_its_length():
    """Eager attention would hold 12 heads x 5,000^2 scores twice: 2.4 GB."""
    for version in ("v1", "v2"):
        tower = randomised(TextTower(text_config(version, **SIZES)))

        def run(tower: TextTower = tower) -> None:
            with torch.inference_mode():
                rows = text_rows(tower, some_texts([5000]), Budget(2048, "tokens"))
            assert rows.isfinite().all()

        # NaN where the host does not tell: then nothing is known, and nothing fails.
        assert not peak_memory(run) > 1000


def test_padded_swiglu_changes_no_value_and_is_not_written(tmp_path):
    sizes = dict(
        width=80,
        head_width=16,
        layers=2,
        image_size=56,
        patch_size=14,
        pt_hw_seq_len=16,
        intp_freq=True,
    )
    text = {
        "vocab_size": 40,
        "hidden_size": 80,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 96,
    }
    config = ClipConfig.from_dict(official_config("v2", text, sizes))
    plain = randomised(JinaCLIP(config))
    write_weights(tmp_path / "plain.safetensors", plain.state_dict(), config, dtype=torch.float32)
    padded = JinaCLIP(config, align=64).eval()
    files, official = [tmp_path / "plain.safetensors"], expected_shapes(config)
    state = read_weights(files, config, official, device=CPU, dtype=torch.float32, align=64)
    padded.load_state_dict(state, strict=True)
    assert padded.vision_model.blocks[0].mlp.w3.weight.shape == (80, 256)
    assert plain.vision_model.blocks[0].mlp.w3.weight.shape == (80, 213)
    pixels = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(
            padded.vision_model(pixels), plain.vision_model(pixels), atol=1e-5, rtol=0
        )
    assert {
        n: tuple(t.shape) for n, t in official_tensors(padded.state_dict(), config)
    } == expected_shapes(config)


def test_padding_of_swiglu_stays_zero_in_training():
    sizes = dict(
        width=80,
        head_width=16,
        layers=1,
        image_size=28,
        patch_size=14,
        pt_hw_seq_len=2,
        intp_freq=True,
    )
    text = {
        "vocab_size": 40,
        "hidden_size": 80,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 96,
    }
    model = JinaCLIP(ClipConfig.from_dict(official_config("v2", text, sizes)), align=64)
    optimizer = torch.optim.AdamW(model.vision_model.parameters(), lr=0.1)
    for seed in range(3):
        pixels = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        model.vision_model(pixels).square().sum().backward()
        optimizer.step()
    mlp = model.vision_model.blocks[0].mlp
    for part in (*mlp.w12.weight.chunk(2), *mlp.w12.bias.chunk(2), mlp.w3.weight.T):
        assert not part[mlp.hidden :].any()
