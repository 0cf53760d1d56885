"""In float8 weights and activations of the blocks are rounded to 8 bits, row by row, and nothing else is."""

import numpy as np
import pytest
import torch
from PIL import Image

from evals.encoders.devices import whole_dtype
from evals.encoders.jina import JinaEncoder
from evals.schema import ConfigError
from jina_clip import JinaCLIP, layers
from jina_clip.float8 import LARGEST, float8_fault, linear, quantise
from tests.conftest import small_model

TEXTS = ["a cat sits on the red dog", "blue", "the dog runs under a cat"]


def test_the_largest_value_of_a_row_becomes_the_largest_of_8_bits_and_zeros_stay():
    values, scales = quantise(torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-448.0, 7, 0]]))
    assert values.dtype == torch.float8_e4m3fn
    assert values.float().tolist() == [[448, -224, 112], [0, 0, 0], [-448, 7, 0]]
    assert (values.float() * scales).tolist() == [[2, -1, 0.5], [0, 0, 0], [-448, 7, 0]]


def test_a_value_keeps_three_bits_behind_its_first():
    """1.0625 lies between 1 and 1.125, nearer to neither: to even. 1.07 is nearer to 1.125."""
    values, scales = quantise(torch.tensor([[LARGEST, 1.0625, 1.07, 1.19, -17.0]]))
    assert scales.item() == 1
    assert values.float().tolist() == [[448, 1, 1.125, 1.25, -16]]


@pytest.mark.parametrize("shape", [(64,), (5, 64), (2, 3, 64)])
def test_products_are_those_of_the_rounded_rows_rounded_once_more(shape):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(shape).bfloat16(), torch.randn(32, 64), torch.randn(32).bfloat16()
    rounded, scales = quantise(weight)
    # in float64, by numpy, of what 8 bits stand for
    rows, row_scales = (part.double().numpy() for part in quantise(x.reshape(-1, 64)))
    exact = (rows * row_scales) @ (rounded.double() * scales.double()).numpy().T
    y = linear(x, rounded, scales, None)
    assert y.dtype == torch.bfloat16 and y.shape == (*shape[:-1], 32)
    np.testing.assert_allclose(y.double().numpy().reshape(-1, 32), exact, rtol=2**-8, atol=2**-8)
    assert torch.equal(linear(x, rounded, scales, bias), y + bias)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_model_has_blocks_of_8_bits_and_rows_near_those_of_float32(version, tmp_path):
    folder = small_model(version).save_pretrained(tmp_path)
    exact, rounded = (
        JinaCLIP.from_pretrained(folder, device="cpu", dtype=dtype)
        for dtype in ("float32", "float8")
    )
    in_blocks = [module for module in rounded.modules() if isinstance(module, layers.Linear)]
    assert len(in_blocks) == 2 * 4 + 2 * 4  # two blocks of each tower, four layers in each block
    for layer in in_blocks:
        assert layer.weight.dtype == torch.float8_e4m3fn
        assert layer.scales.shape == (len(layer.weight), 1)
    of_blocks = {id(layer.weight) for layer in in_blocks}
    for name, weight in rounded.named_parameters():
        if id(weight) not in of_blocks and name != "logit_scale":  # which multiplies no row
            assert weight.dtype == torch.bfloat16, name
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
    images = [Image.fromarray(image) for image in pixels]
    for encode, items in (("encode_text", TEXTS), ("encode_image", images)):
        expected, rows = (getattr(model, encode)(items) for model in (exact, rounded))
        cosines = (expected * rows).sum(axis=1)
        assert ((cosines > 0.99) & (cosines < 1 - 1e-5)).all(), cosines


def test_rounded_weights_are_not_saved_as_a_checkpoint(checkpoint, tmp_path):
    model = JinaCLIP.from_pretrained(checkpoint, device="cpu", dtype="float8")
    with pytest.raises(ValueError, match="rounded to 8 bits: load the checkpoint without dtype="):
        model.save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy" / "model.safetensors").exists()


def test_the_fingerprint_says_float8_and_a_device_that_cannot_is_refused(checkpoint, monkeypatch):
    encoder = JinaEncoder(name="v2", folder=checkpoint, device="cpu", dtype="float8")
    assert encoder.fingerprint["dtype"] == "float8"
    assert float8_fault(torch.device("cpu")) is None

    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("compute capability >= 8.9 is needed")

    monkeypatch.setattr(torch, "_scaled_mm", broken)
    with pytest.raises(ConfigError, match=r"--dtype float8 on cpu: .* 8\.9 is needed\. Take bfl"):
        JinaEncoder(name="v2", folder=checkpoint, device="cpu", dtype="float8")
    with pytest.raises(ValueError, match=r"dtype float8 cannot be computed on cpu: .* 8\.9 is"):
        JinaCLIP.from_pretrained(checkpoint, device="cpu", dtype="float8")


def test_products_that_are_wrong_are_a_fault(monkeypatch):
    right = torch._scaled_mm
    monkeypatch.setattr(
        torch, "_scaled_mm", lambda *args, **options: right(*args, **options) * 1.05
    )
    assert "not those of plain torch" in str(float8_fault(torch.device("cpu")))


def test_models_of_other_libraries_take_no_float8():
    assert whole_dtype("bfloat16", "open_clip") == "bfloat16" and whole_dtype(None, "x") is None
    with pytest.raises(ConfigError, match="models of open_clip take float32, bfloat16 or float16"):
        whole_dtype("float8", "open_clip")
