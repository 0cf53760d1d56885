"""Both towers against golden outputs, timm's Eva and transformers' JinaEmbeddingsV3Model."""

import json
import shutil

import numpy as np
import pytest
import torch

from benchmarks.vision_tower import timm_eva
from jina_clip import V1, V2, ClipConfig, JinaCLIP, TextConfig
from jina_clip.attention import alibi_attention, alibi_slopes
from jina_clip.layers import rope_1d, rope_2d
from jina_clip.model import expected_shapes, parameter_count
from jina_clip.text import TextTower
from jina_clip.vision import VisionTower
from tests.conftest import GOLDEN, golden_config, official_config, word_tokenizer


@pytest.fixture(params=["v1", "v2"])
def golden(request, tmp_path):
    """A golden checkpoint read from a folder in the official layout, with its inputs and outputs."""
    version = request.param
    config = golden_config(version)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"size": config["vision_config"]["image_size"]})
    )
    pad = config["text_config"]["hf_model_config_kwargs"]["pad_token_id"]
    word_tokenizer(pad=pad).save(str(tmp_path / "tokenizer.json"))
    shutil.copy(GOLDEN / f"{version}_tiny.safetensors", tmp_path / "model.safetensors")
    return JinaCLIP.from_pretrained(tmp_path, device="cpu"), np.load(
        GOLDEN / f"{version}_tiny_io.npz"
    )


def test_golden_texts_are_reproduced(golden):
    model, expected = golden
    with torch.inference_mode():
        features = model.get_text_features(torch.from_numpy(expected["input_ids"]))
    torch.testing.assert_close(
        features, torch.from_numpy(expected["text_embeds"]), atol=1e-5, rtol=0
    )


def test_golden_images_are_reproduced(golden):
    model, expected = golden
    with torch.inference_mode():
        features = model.get_image_features(torch.from_numpy(expected["pixel_values"]))
    torch.testing.assert_close(
        features, torch.from_numpy(expected["image_embeds"]), atol=1e-5, rtol=0
    )


def test_forward_normalises_and_scales(golden):
    model, expected = golden
    with torch.inference_mode():
        out = model(
            torch.from_numpy(expected["input_ids"][:2]),
            torch.from_numpy(expected["pixel_values"]),
            return_loss=True,
        )
    assert np.abs(out.text_embeds.numpy() - expected["text_norm"][:2]).max() < 1e-5
    assert np.abs(out.image_embeds.numpy() - expected["image_norm"]).max() < 1e-5
    similarities = (
        expected["text_norm"][:2] @ expected["image_norm"].T * np.exp(model.logit_scale.item())
    )
    np.testing.assert_allclose(out.logits_per_text.numpy(), similarities, atol=1e-4)
    np.testing.assert_array_equal(out.logits_per_image.numpy(), out.logits_per_text.numpy().T)
    rows = torch.log_softmax(torch.from_numpy(similarities), 1).diag().mean()
    columns = torch.log_softmax(torch.from_numpy(similarities), 0).diag().mean()
    assert out.loss.item() == pytest.approx(-(rows + columns).item() / 2, abs=1e-4)


@pytest.mark.parametrize(
    ("config", "version", "total"), [(V1, "v1", 222_647_041), (V2, "v2", 865_278_477)]
)
def test_official_keys_shapes_and_parameter_totals(config: ClipConfig, version: str, total: int):
    official = json.loads((GOLDEN / f"keys_{version}.json").read_text())
    assert expected_shapes(config) == {name: tuple(shape) for name, shape in official.items()}
    assert parameter_count(config) == total


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights everywhere, norms and biases too, so that no parameter can be left out unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.1
            parameter.copy_(
                noise * scale
                + (1.0 if "norm" in name or "ln" in name else 0.0) * name.endswith("weight")
            )
    return module.eval()


def clip_config(**sizes) -> ClipConfig:
    text = {
        "vocab_size": 8,
        "hidden_size": sizes["width"],
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
    }
    return ClipConfig.from_dict(official_config("v2", text, sizes))


@pytest.mark.parametrize(
    "sizes",
    [
        dict(
            width=96,
            head_width=32,
            layers=3,
            image_size=56,
            patch_size=14,
            pt_hw_seq_len=16,
            intp_freq=True,
        ),
        dict(
            width=96,
            head_width=32,
            layers=2,
            image_size=61,
            patch_size=14,
            pt_hw_seq_len=16,
            intp_freq=True,
        ),
        dict(
            width=64,
            head_width=16,
            layers=2,
            image_size=64,
            patch_size=16,
            pt_hw_seq_len=4,
            intp_freq=False,
        ),
    ],
)
def test_vision_tower_equals_timm_eva(sizes):
    whole = clip_config(**sizes)
    config = whole.vision
    tower = randomised(VisionTower(config))
    eva = timm_eva(whole, tower)
    pixels = torch.randn(
        2, 3, config.image_size, config.image_size, generator=torch.Generator().manual_seed(1)
    )
    inside = config.grid * config.patch_size  # the rest is not seen
    with torch.inference_mode():
        torch.testing.assert_close(
            tower(pixels), eva(pixels[:, :, :inside, :inside]), atol=1e-5, rtol=0
        )


def text_config(version: str, **sizes) -> TextConfig:
    vision = dict(
        width=sizes["hidden_size"],
        head_width=8,
        layers=1,
        image_size=16,
        patch_size=16,
        pt_hw_seq_len=1,
    )
    return ClipConfig.from_dict(official_config(version, sizes, vision | {"intp_freq": False})).text


def test_text_tower_equals_transformers_jina_embeddings_v3():
    from transformers import JinaEmbeddingsV3Config, JinaEmbeddingsV3Model

    sizes = dict(
        vocab_size=100,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
    )
    tower = randomised(TextTower(text_config("v2", **sizes)))
    peer = JinaEmbeddingsV3Model(JinaEmbeddingsV3Config(**sizes), add_pooling_layer=False).eval()
    state = {}
    renamed = [
        ("emb_ln", "embeddings.LayerNorm"),
        ("encoder.layers", "layers"),
        ("mixer.out_proj", "self_attn.o_proj"),
    ]
    renamed += [("norm1", "post_attention_layernorm"), ("norm2", "post_mlp_layernorm")]
    for name, tensor in tower.state_dict().items():
        for ours, theirs in renamed:
            name = name.replace(ours, theirs)
        if "mixer.Wqkv" in name:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                state[name.replace("mixer.Wqkv", f"self_attn.{letter}_proj")] = part
        else:
            state[name] = tensor
    left = peer.load_state_dict(state, strict=False)
    assert not left.unexpected_keys
    assert all("rotary" in name or "position_ids" in name for name in left.missing_keys)
    ids = torch.randint(2, 100, (4, 37), generator=torch.Generator().manual_seed(2))
    for row, length in enumerate([37, 5, 1, 20]):
        ids[row, length:] = 1
    keep = (ids != 1).long()
    with torch.inference_mode():
        hidden = peer(input_ids=ids, attention_mask=keep).last_hidden_state
        pooled = (hidden * keep[..., None]).sum(1) / keep.sum(1, keepdim=True)
        torch.testing.assert_close(tower(ids), pooled, atol=1e-5, rtol=0)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_padding_changes_nothing(version):
    sizes = dict(
        vocab_size=100,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=12,
        intermediate_size=64,
    )
    config = text_config(version, **sizes)
    tower = randomised(TextTower(config))
    ids = torch.randint(5, 100, (1, 9), generator=torch.Generator().manual_seed(3))
    padded = torch.cat([ids, torch.full((1, 30), config.pad_token_id)], dim=1)
    with torch.inference_mode():
        torch.testing.assert_close(tower(padded), tower(ids), atol=1e-6, rtol=0)


def test_alibi_slopes_of_12_heads():
    assert alibi_slopes(12) == [2.0**-i for i in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    assert alibi_slopes(8) == [2.0**-i for i in range(1, 9)]


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_alibi_attention_is_eager_softmax_with_the_bias_for_every_block(block, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 11, 4, generator=generator) for _ in range(3))
    distance = (torch.arange(11)[:, None] - torch.arange(11)).abs()
    scores = q @ k.transpose(2, 3) / 2 - torch.tensor(alibi_slopes(3))[:, None, None] * distance
    monkeypatch.setattr("jina_clip.attention.BIAS_ELEMENTS", block * 3 * 11)
    torch.testing.assert_close(
        alibi_attention(q, k, v, alibi_slopes(3)), scores.softmax(-1) @ v, atol=1e-5, rtol=0
    )


def test_tables_are_float32_whatever_the_default_dtype():
    torch.set_default_dtype(torch.bfloat16)
    try:
        tables = [
            *rope_1d(3, 4, 10000.0, torch.device("cpu")),
            *rope_2d(2, 4, 8, True, torch.device("cpu")),
        ]
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(table.dtype == torch.float32 for table in tables)
    assert tables[2].shape == (5, 4)  # CLS and four patches, a column for each pair of channels


def test_bf16_towers_keep_close_to_float32():
    """The weights are rounded; positions, norms and pooling are not."""
    config = ClipConfig.from_dict(golden_config("v2"))
    torch.manual_seed(0)
    model = JinaCLIP(config).eval()
    ids = torch.randint(4, 100, (2, 30))
    pixels = torch.randn(2, 3, 36, 36)
    with torch.inference_mode():
        exact = model.get_text_features(ids), model.get_image_features(pixels)
        model.to(torch.bfloat16)
        rounded = model.get_text_features(ids), model.get_image_features(pixels)
    for a, b in zip(exact, rounded, strict=True):
        assert b.dtype == torch.float32
        assert torch.cosine_similarity(a, b).min() > 0.999


def test_another_image_size_is_refused():
    tower = VisionTower(ClipConfig.from_dict(golden_config("v2")).vision)
    with pytest.raises(ValueError, match=r"\(28, 28\); this model takes \(36, 36\)"):
        tower(torch.zeros(1, 3, 28, 28))
