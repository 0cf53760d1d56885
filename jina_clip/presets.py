"""The two released models as configs: V1 and V2 equal their official config.json."""

from typing import Any

from jina_clip.config import ClipConfig
from jina_clip.vision_config import FIXED_VISION


def _preset(text: dict[str, Any], vision: dict[str, Any], **top: Any) -> ClipConfig:
    auto_map = {
        "AutoConfig": "jinaai/jina-clip-implementation--configuration_clip.JinaCLIPConfig",
        "AutoModel": "jinaai/jina-clip-implementation--modeling_clip.JinaCLIPModel",
    }
    common_text = {
        "model_type": "jina_clip_text",
        "pooler_type": "mean_pooler",
        "proj_bias": False,
        "proj_type": None,
    }
    common_vision = {
        "model_type": "jina_clip_vision",
        "fused_layer_norm": False,
        "patch_dropout": 0.1,
        "mlp_ratio": 2.6667,
        "head_width": 64,
        "qkv_bias": True,
        **FIXED_VISION,
    }
    return ClipConfig.from_dict(
        {
            "model_type": "jina_clip",
            "architectures": ["JinaCLIPModel"],
            "auto_map": auto_map,
            "add_projections": False,
            "initializer_factor": 1.0,
            "logit_scale_init_value": 2.6592,
            "text_config": {**common_text, **text},
            "vision_config": {**common_vision, **vision},
            **top,
        }
    )


# The public part of v1's config.json ends at patch_size. What follows it here is the only choice
# with 222,647,041 parameters and a rotary table of 14 x 14 rows.
V1 = _preset(
    text={
        "embed_dim": 768,
        "hf_model_name_or_path": "jinaai/jina-bert-flash-implementation",
        "hf_model_config_kwargs": {"use_flash_attn": False},
    },
    vision={
        "embed_dim": 768,
        "width": 768,
        "layers": 12,
        "image_size": 224,
        "patch_size": 16,
        "pt_hw_seq_len": 14,
        "intp_freq": False,
        "x_attention": False,
    },
    projection_dim=768,
    torch_dtype="float32",
)

V2 = _preset(
    text={
        "embed_dim": 1024,
        "default_lora_task": "retrieval.query",
        "default_instruction_task": None,
        "hf_model_name_or_path": "jinaai/jina-embeddings-v3",
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
    },
    vision={
        "embed_dim": 1024,
        "width": 1024,
        "layers": 24,
        "image_size": 512,
        "patch_size": 14,
        "pt_hw_seq_len": 16,
        "intp_freq": True,
        "x_attention": True,
    },
    projection_dim=1024,
    torch_dtype="bfloat16",
    matryoshka_dimensions=[32, 64, 128, 256, 512, 768, 1024],
    truncate_dim=None,
    use_text_flash_attn=None,
    use_vision_xformers=None,
    **{"transformers.js_config": {"use_external_data_format": {"model.onnx": True}}},
)
