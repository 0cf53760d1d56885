"""JinaCLIP as its users call it: checkpoints in and out, encode_text and encode_image, and what is refused."""

import json
import logging
import socket
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from jina_clip import V1, V2, CheckpointError, ClipConfig, JinaCLIP
from jina_clip.weights import FILES, fetch
from tests.conftest import SMALL_TEXT, SMALL_VISION, golden_config, official_config, small_model
from tests.hub import COMMIT

TEXTS = ["a cat", "the dog runs under a red cat on a blue dog", "a", "the cat sits"]


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (40 + 5 * i, 50, 3), dtype=np.uint8)) for i in range(3)
    ]


@pytest.fixture(scope="module")
def model(checkpoint):
    return JinaCLIP.from_pretrained(checkpoint, device="cpu")


def edited(folder, tmp_path, change):
    """A copy of a checkpoint with its config.json (a dict) or weights (tensors) changed in place."""
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    change(config, tensors)
    for name in ("tokenizer.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


def test_the_official_config_of_v2_round_trips():
    official = {
        "add_projections": False,
        "architectures": ["JinaCLIPModel"],
        "auto_map": {
            "AutoConfig": "jinaai/jina-clip-implementation--configuration_clip.JinaCLIPConfig",
            "AutoModel": "jinaai/jina-clip-implementation--modeling_clip.JinaCLIPModel",
        },
        "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592,
        "matryoshka_dimensions": [32, 64, 128, 256, 512, 768, 1024],
        "model_type": "jina_clip",
        "projection_dim": 1024,
        "text_config": {
            "default_instruction_task": None,
            "default_lora_task": "retrieval.query",
            "embed_dim": 1024,
            "hf_model_config_kwargs": {
                "load_trained_adapters": False,
                "lora_adaptations": ["retrieval.query"],
                "lora_alpha": 4,
                "lora_dropout_p": 0.0,
                "lora_main_params_trainable": False,
                "lora_rank": 4,
                "task_instructions": {
                    "retrieval.query": "Represent the query for retrieving evidence documents: "
                },
                "use_flash_attn": True,
            },
            "hf_model_name_or_path": "jinaai/jina-embeddings-v3",
            "model_type": "jina_clip_text",
            "pooler_type": "mean_pooler",
            "proj_bias": False,
            "proj_type": None,
        },
        "torch_dtype": "bfloat16",
        "transformers.js_config": {"use_external_data_format": {"model.onnx": True}},
        "truncate_dim": None,
        "use_text_flash_attn": None,
        "use_vision_xformers": None,
        "vision_config": {
            "embed_dim": 1024,
            "fused_layer_norm": False,
            "head_width": 64,
            "image_size": 512,
            "intp_freq": True,
            "layers": 24,
            "ls_init_value": None,
            "mlp_ratio": 2.6667,
            "model_type": "jina_clip_vision",
            "naive_swiglu": True,
            "patch_dropout": 0.1,
            "patch_size": 14,
            "post_norm": False,
            "proj_type": None,
            "pt_hw_seq_len": 16,
            "qkv_bias": True,
            "rope_embeddings": True,
            "subln": True,
            "width": 1024,
            "x_attention": True,
        },
    }
    config = ClipConfig.from_dict(official)
    assert config == V2
    assert config.to_dict() == official
    assert (config.text.rotary_emb_base, config.text.vocab_size, config.text.adapter) == (
        20000.0,
        250002,
        0,
    )
    assert (config.vision.grid, config.vision.hidden) == (36, 2730)


def test_v1_is_sized_like_its_backbone():
    assert (V1.text.vocab_size, V1.text.layer_norm_eps, V1.text.position_embedding_type) == (
        30528,
        1e-12,
        "alibi",
    )
    assert (V1.vision.grid, V1.vision.hidden, V1.text.adapter) == (14, 2048, None)


def test_backbone_sizes_come_through_hf_model_config_kwargs():
    config = ClipConfig.from_dict(golden_config("v2"))
    assert (config.text.hidden_size, config.text.num_hidden_layers, config.text.vocab_size) == (
        64,
        2,
        120,
    )
    defaults = official_config(
        "v2",
        {"hidden_size": 64, "num_attention_heads": 4},
        {**SMALL_VISION, "width": 64, "intp_freq": True},
    )
    assert ClipConfig.from_dict(defaults).text.num_hidden_layers == 24


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        (None, "model_type", "clip", "model_type is 'clip'"),
        (None, "add_projections", True, "add_projections is true"),
        (None, "text_config", None, "text_config is None, not an object"),
        ("text_config", "hf_model_name_or_path", "bert-base-uncased", "known are jinaai/"),
        ("text_config", "pooler_type", "cls_pooler", "pooler_type is 'cls_pooler'"),
        ("text_config", "embed_dim", 99, "embed_dim is 99, but the backbone is 32 wide"),
        ("text_config", "default_lora_task", "separation", "'separation' is not in"),
        ("vision_config", "width", 48, "the text tower is 32 wide, the image tower 48"),
        ("vision_config", "post_norm", True, "post_norm is True; only False"),
        ("vision_config", "head_width", 20, "heads of 20 do not divide width 32"),
        ("vision_config", "head_width", 2, "a multiple of 4"),
        ("vision_config", "layers", "2", "layers is '2', not a whole number"),
        (None, "torch_dtype", "float8", "torch_dtype is 'float8'"),
        ("kwargs", "hidden_act", "relu", "hidden_act is 'relu'; only 'gelu'"),
        ("kwargs", "position_embedding_type", "absolute", "position_embedding_type is 'absolute'"),
        ("kwargs", "no_such_key", 1, "hf_model_config_kwargs.no_such_key is not known"),
        ("kwargs", "num_attention_heads", 5, "5 heads do not divide hidden_size 32"),
    ],
)
def test_a_config_that_is_no_jina_clip_is_refused_by_key(section, key, value, message):
    config = official_config("v2", SMALL_TEXT, {**SMALL_VISION, "intp_freq": True})
    target = {None: config, "kwargs": config["text_config"]["hf_model_config_kwargs"]}.get(
        section
    ) or config[section]
    target[key] = value
    if (section, key) == ("vision_config", "width"):
        target["embed_dim"] = value
    with pytest.raises(CheckpointError, match=message):
        ClipConfig.from_dict(config)


@pytest.mark.parametrize("section", ["text_config", "vision_config"])
def test_a_missing_key_is_named(section):
    config = official_config("v2", SMALL_TEXT, {**SMALL_VISION, "intp_freq": True})
    del config[section]
    with pytest.raises(CheckpointError, match=f"{section} is missing"):
        ClipConfig.from_dict(config)


def test_lora_is_merged_as_the_official_code_applies_it(checkpoint, tmp_path):
    """W + B A * alpha / rank for a Linear, W + A B * alpha / rank for an Embedding."""
    rng = torch.Generator().manual_seed(0)

    def randomise(config, tensors):
        config["text_config"]["hf_model_config_kwargs"]["lora_alpha"] = 6
        for name in tensors:
            if ".lora_" in name:
                tensors[name] = torch.randn(tensors[name].shape, generator=rng)

    folder = edited(checkpoint, tmp_path, randomise)
    raw = load_file(folder / "model.safetensors")
    state = JinaCLIP.from_pretrained(folder, device="cpu").state_dict()
    roberta = "text_model.transformer.roberta."
    for stem in (
        "encoder.layers.1.mixer.Wqkv",
        "encoder.layers.0.mlp.fc2",
        "embeddings.word_embeddings",
    ):
        original, a, b = (
            raw[f"{roberta}{stem}.parametrizations.weight.{part}"]
            for part in ("original", "0.lora_A", "0.lora_B")
        )
        delta = a[0] @ b[0] if "embeddings" in stem else b[0] @ a[0]
        torch.testing.assert_close(state[f"text_model.{stem}.weight"], original + delta * 6 / 4)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_saved_model_is_a_checkpoint_like_any_other(version, tmp_path):
    model = small_model(version)
    folder = model.save_pretrained(tmp_path / "saved")
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
    ]
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o644
    again = JinaCLIP.from_pretrained(folder, device="cpu")
    assert again.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    np.testing.assert_array_equal(again.encode_text(TEXTS), model.encode_text(TEXTS))


def test_weights_are_stored_in_the_dtype_asked_for(tmp_path):
    folder = small_model().save_pretrained(tmp_path, dtype="bfloat16")
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "bfloat16"
    tensors = load_file(folder / "model.safetensors")
    assert tensors.pop("logit_scale").dtype == torch.float32  # exp() of it scales every score
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert (
        JinaCLIP.from_pretrained(folder, device="cpu").vision_model.pos_embed.dtype == torch.float32
    )  # CPU default
    assert (
        JinaCLIP.from_pretrained(
            folder, device="cpu", dtype="bfloat16"
        ).vision_model.pos_embed.dtype
        == torch.bfloat16
    )


WRONG = "vision_model.blocks.0.attn.q_bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _, tensors: tensors.pop(WRONG), f"missing: {WRONG}"),
        (lambda _, tensors: tensors.update(surprise=torch.zeros(1)), "not known: surprise"),
        (
            lambda _, tensors: tensors.update({WRONG: torch.zeros(7)}),
            r"misshapen: .*q_bias is \[7\], the config asks for \[32\]",
        ),
        (
            lambda config, _: config["vision_config"].update(layers=3),
            r"missing: vision_model\.blocks\.2.* and \d+ more",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(checkpoint, tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        JinaCLIP.from_pretrained(edited(checkpoint, tmp_path, change), device="cpu")


def test_computed_tables_in_a_checkpoint_are_passed_over(checkpoint, tmp_path):
    folder = edited(
        checkpoint,
        tmp_path,
        lambda _, tensors: tensors.update({"vision_model.rope.freqs_cos": torch.zeros(2)}),
    )
    JinaCLIP.from_pretrained(folder, device="cpu")


def test_a_truncated_file_is_refused(checkpoint, tmp_path):
    folder = edited(checkpoint, tmp_path, lambda *_: None)
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        JinaCLIP.from_pretrained(folder, device="cpu")


def test_a_missing_file_is_named(checkpoint, tmp_path):
    folder = edited(checkpoint, tmp_path, lambda *_: None)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json is missing"):
        JinaCLIP.from_pretrained(folder)
    with pytest.raises(FileNotFoundError, match="neither a folder nor a Hub id"):
        JinaCLIP.from_pretrained("./no-such-folder")


def test_a_local_folder_never_touches_the_network(checkpoint, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    JinaCLIP.from_pretrained(checkpoint, device="cpu").encode_text("a cat")


def test_nothing_is_initialised_at_random_before_loading(checkpoint, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("random numbers were drawn in memory")

    monkeypatch.setattr(
        torch.Tensor, "uniform_", lambda tensor, *a, **k: tensor if tensor.is_meta else refuse()
    )
    monkeypatch.setattr(
        torch.Tensor, "normal_", lambda tensor, *a, **k: tensor if tensor.is_meta else refuse()
    )
    JinaCLIP.from_pretrained(checkpoint, device="cpu")


def test_rows_come_back_in_order_normalised_and_float32(model):
    rows = model.encode_text(TEXTS, batch_size=2)
    assert rows.dtype == np.float32
    assert rows.shape == (4, 32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    for text, row in zip(TEXTS, rows, strict=True):
        np.testing.assert_allclose(model.encode_text(text), row, atol=1e-6)


def test_a_single_item_gives_one_vector(model, images):
    assert model.encode_text("a cat").shape == (32,)
    assert model.encode_text(["a cat"]).shape == (1, 32)
    assert model.encode_image(images[0]).shape == (32,)
    assert model.encode_image(images[:1]).shape == (1, 32)
    assert model.encode_text([]).shape == (0, 32)


def test_tensors_and_unnormalised_rows_on_request(model, images):
    raw = model.encode_image(images, normalize_embeddings=False, convert_to_tensor=True)
    assert isinstance(raw, torch.Tensor)
    np.testing.assert_allclose(
        torch.nn.functional.normalize(raw, dim=1).numpy(), model.encode_image(images), atol=1e-6
    )


def test_truncation_comes_before_the_normalisation(model):
    full = model.encode_text(TEXTS, normalize_embeddings=False)[:, :8]
    expected = full / np.linalg.norm(full, axis=1, keepdims=True)
    np.testing.assert_allclose(model.encode_text(TEXTS, truncate_dim=8), expected, atol=1e-6)


@pytest.mark.parametrize("dim", [0, -1, 33])
def test_an_impossible_dimension_is_refused(model, dim):
    with pytest.raises(ValueError, match=f"between 1 and 32, not {dim}"):
        model.encode_text("a", truncate_dim=dim)


def test_a_dimension_the_checkpoint_was_not_trained_for_is_warned_of(model, checkpoint_v1):
    with pytest.warns(
        UserWarning, match="12 dimensions: this checkpoint was trained for 8, 16, 32"
    ):
        model.encode_text("a", truncate_dim=12)
    with pytest.warns(UserWarning, match="trained for 32 only"):
        JinaCLIP.from_pretrained(checkpoint_v1, device="cpu").encode_text("a", truncate_dim=16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode_text("a", truncate_dim=16)


def test_the_query_instruction_is_a_prefix(model):
    prefix = "Represent the query for retrieving evidence documents: "
    np.testing.assert_allclose(
        model.encode_text("a cat", task="retrieval.query"),
        model.encode_text(prefix + "a cat"),
        atol=1e-6,
    )
    with pytest.raises(
        ValueError, match=r"'retrieval\.passage' is not known; this model has retrieval\.query"
    ):
        model.encode_text("a cat", task="retrieval.passage")


def test_v1_has_no_instructions_and_only_warns(checkpoint_v1):
    model = JinaCLIP.from_pretrained(checkpoint_v1, device="cpu")
    with pytest.warns(UserWarning, match="changes nothing"):
        row = model.encode_text("a cat", task="retrieval.query")
    np.testing.assert_array_equal(row, model.encode_text("a cat"))


def test_encoding_keeps_the_training_flag_and_gradients_work_afterwards(model, images):
    model.train()
    model.encode_text(TEXTS)
    assert model.training
    ids = torch.tensor([[0, 4, 6, 2]])
    model(ids, torch.stack([model.preprocess(images[0])]), return_loss=True).loss.backward()
    assert model.vision_model.pos_embed.grad is not None
    model.zero_grad()
    model.eval()


def test_a_broken_image_leaves_the_training_flag_alone(model):
    model.train()
    model.text_model.eval()
    with pytest.raises(FileNotFoundError):
        model.encode_image("absent.jpg")
    assert (model.training, model.vision_model.training, model.text_model.training) == (
        True,
        True,
        False,
    )
    model.eval()


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"batch_size": -1}, {"max_length": 2}])
def test_sizes_that_leave_nothing_to_encode_are_refused(model, arguments):
    with pytest.raises(ValueError, match=r"batch_size|max_length"):
        model.encode_text("a cat", **arguments)


def test_encoding_changes_nothing_that_is_saved(model, tmp_path):
    before = (model.save_pretrained(tmp_path / "a") / "tokenizer.json").read_bytes()
    model.encode_text("the cat sits on a dog", max_length=4)
    assert (model.save_pretrained(tmp_path / "b") / "tokenizer.json").read_bytes() == before


def test_files_that_do_not_fit_each_other_are_refused(checkpoint, tmp_path):
    def shrink(config, tensors):
        config["text_config"]["hf_model_config_kwargs"]["vocab_size"] = 10

    with pytest.raises(
        CheckpointError, match=r"tokenizer\.json has the id 13, config\.json a vocabulary of 10"
    ):
        JinaCLIP.from_pretrained(edited(checkpoint, tmp_path, shrink), device="cpu")
    (tmp_path / "preprocessor_config.json").write_text('{"size": 64}')
    with pytest.raises(CheckpointError, match=r"images of 64 pixels, config\.json takes 32"):
        JinaCLIP.from_pretrained(tmp_path, device="cpu")


def test_the_second_of_two_adapters_is_merged_when_the_config_says_so(checkpoint, tmp_path):
    def second(config, tensors):
        kwargs = config["text_config"]["hf_model_config_kwargs"]
        kwargs["lora_adaptations"] = ["separation", "retrieval.query"]
        for name in [name for name in tensors if ".lora_" in name]:
            first = torch.full_like(tensors[name], 9.0)
            tensors[name] = torch.cat([first, torch.ones_like(first)])

    state = JinaCLIP.from_pretrained(
        edited(checkpoint, tmp_path, second), device="cpu"
    ).state_dict()
    plain = JinaCLIP.from_pretrained(checkpoint, device="cpu").state_dict()
    name = "text_model.encoder.layers.0.mlp.fc1.weight"
    torch.testing.assert_close(state[name], plain[name] + 4.0)  # rank 4 of ones, alpha / rank 1


def test_a_progress_bar_shows_when_asked_or_when_logging(model, capsys, caplog):
    model.encode_text(TEXTS, show_progress_bar=False)
    model.encode_text(TEXTS)
    assert capsys.readouterr().err == ""
    model.encode_text(TEXTS, show_progress_bar=True)
    assert "encoding" in capsys.readouterr().err
    with caplog.at_level(logging.INFO, logger="jina_clip.model"):
        model.encode_text(TEXTS)
    assert "encoding" in capsys.readouterr().err


def test_a_model_without_tokenizer_says_so(tmp_path):
    bare = JinaCLIP(small_model().config)
    with pytest.raises(ValueError, match="no tokenizer"):
        bare.encode_text("a")
    with pytest.raises(ValueError, match="no tokenizer"):
        bare.save_pretrained(tmp_path)


def test_a_hub_id_fetches_the_four_files_at_the_commit(hub, checkpoint):
    hub.files = {path.name: path.read_bytes() for path in checkpoint.iterdir()} | {
        "modeling.py": b"raise SystemExit"
    }
    hub.cut = 1  # the first download of the weights breaks off and is taken up again
    folder = fetch("org/model", None)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert folder.name == COMMIT
    assert JinaCLIP.from_pretrained("org/model", revision=COMMIT, device="cpu").config.dim == 32


def test_the_hubs_cache_serves_when_the_hub_is_gone(hub, checkpoint):
    hub.files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    fetched = fetch("org/model", None)
    hub.status = 503
    assert fetch("org/model", None) == fetched


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_repo_that_cannot_be_had_is_missing_at_once(hub, status):
    hub.status = status
    with pytest.raises(
        FileNotFoundError, match="org/model is not in the Hub's cache and cannot be fetched"
    ):
        fetch("org/model", COMMIT)


def test_a_repo_without_weights_is_refused_by_file(hub, checkpoint):
    hub.files = {"config.json": (checkpoint / "config.json").read_bytes()}
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        fetch("org/model", None)


def test_transformers_and_torchvision_are_not_needed():
    code = "import sys, jina_clip; print([m for m in ('transformers', 'torchvision', 'timm', 'evals') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
