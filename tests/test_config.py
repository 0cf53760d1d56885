"""The official config.json is read, refused by key, and written back."""

from dataclasses import replace

import pytest

from jina_clip import V1, V2, CheckpointError, ClipConfig
from jina_clip.official_json import parse_object
from tests.conftest import SMALL_TEXT, SMALL_VISION, golden_config, official_config


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
        (
            None,
            "truncate_dim",
            "64",
            "truncate_dim is '64', not null or a whole number from 1 to 32",
        ),
        (None, "truncate_dim", 33, "truncate_dim is 33"),
        (None, "matryoshka_dimensions", ["8"], r"matryoshka_dimensions is \['8'\]"),
        (None, "logit_scale_init_value", "2.6", "logit_scale_init_value is '2.6', not a positive"),
        ("text_config", "default_lora_task", ["a"], r"default_lora_task is \['a'\], not a name"),
        ("text_config", "hf_model_config_kwargs", [1], r"hf_model_config_kwargs is \[1\], not an"),
        ("vision_config", "intp_freq", "false", "intp_freq is 'false', not true or false"),
        ("vision_config", "mlp_ratio", None, "mlp_ratio is None, not a positive number"),
        ("kwargs", "lora_alpha", "4", "lora_alpha is '4', not a positive number"),
        ("kwargs", "lora_rank", 0, "lora_rank is 0, not a whole number of 1 or more"),
        (
            "kwargs",
            "lora_adaptations",
            "retrieval.query",
            "lora_adaptations is .* not a list of names",
        ),
        ("kwargs", "task_instructions", {"retrieval.query": 1}, "task_instructions is"),
        ("kwargs", "pad_token_id", -1, "pad_token_id is -1, not an id"),
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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "config.json: Expecting"),
        (b"\xff", "config.json: .*utf-8"),
        (b"[1]", r"config.json is \[1\], not an object"),
        (b'{"size": 1, "size": 2}', "config.json: the key 'size' comes twice"),
        (b"[" * 100_000, "config.json: nested too deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "config.json: .*digits"),
    ],
)
def test_a_file_that_is_no_plain_json_object_is_refused_by_name(data, message):
    with pytest.raises(CheckpointError, match=message):
        parse_object(data, "config.json")


def test_a_config_that_was_changed_in_python_is_written_as_it_is():
    """Sizes that come from the backbone stand in config.json only where they differ from it."""
    smaller = replace(V2, text=replace(V2.text, num_hidden_layers=2, lora_alpha=8.0))
    kwargs = smaller.to_dict()["text_config"]["hf_model_config_kwargs"]
    assert (kwargs["num_hidden_layers"], kwargs["lora_alpha"]) == (2, 8.0)
    again = ClipConfig.from_dict(smaller.to_dict())
    assert replace(again.text, kwargs={}) == replace(smaller.text, kwargs={})
    assert V2.to_dict()["text_config"]["hf_model_config_kwargs"] == V2.text.kwargs
