"""The two text backbones as constants, so that nothing is fetched for them.

The official config.json does not hold its text tower: the official code takes it from the Hub repo
named by `hf_model_name_or_path` and updates it with `hf_model_config_kwargs`. These are the values
of those repos, as far as they size or shape the tower.
"""

from typing import Any

# Keys: the Hub repos. jinaai/jina-bert-flash-implementation was read at commit b78d159.
BACKBONES: dict[str, dict[str, Any]] = {
    "jinaai/jina-bert-flash-implementation": {
        "vocab_size": 30528,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "type_vocab_size": 2,
        "pad_token_id": 0,
        "layer_norm_eps": 1e-12,
        "position_embedding_type": "alibi",
        "mlp_type": "glu",
    },
    "jinaai/jina-embeddings-v3": {
        "vocab_size": 250002,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "type_vocab_size": 1,
        "pad_token_id": 1,
        "layer_norm_eps": 1e-5,
        "position_embedding_type": "rotary",
        "mlp_type": "mlp",
        # The Hub config says 20000; the default of its config class is 10000.
        "rotary_emb_base": 20000.0,
        "lora_adaptations": [
            "retrieval.query",
            "retrieval.passage",
            "separation",
            "classification",
            "text-matching",
        ],
        "lora_rank": 4,
        "lora_alpha": 1,
        "task_instructions": {
            "retrieval.query": "Represent the query for retrieving evidence documents: ",
            "retrieval.passage": "Represent the document for retrieval: ",
            "separation": "",
            "classification": "",
            "text-matching": "",
        },
    },
}

# What may stand in hf_model_config_kwargs without changing what is computed here.
INERT_KWARGS = frozenset(
    """architectures attention_probs_dropout_prob auto_map bos_token_id classifier_dropout eos_token_id fused_bias_fc
    fused_dropout_add_ln fused_mlp hidden_dropout_prob initializer_range load_trained_adapters lora_dropout_p
    lora_main_params_trainable max_position_embeddings model_type num_loras torch_dtype dtype transformers_version
    truncate_dim use_cache use_flash_attn use_reentrant matryoshka_dimensions output_attentions output_hidden_states
    return_dict tie_word_embeddings _name_or_path _attn_implementation""".split()
)

# What may stand there only with the value that this code computes.
FIXED_KWARGS: dict[str, Any] = {
    "hidden_act": "gelu",
    "use_qk_norm": False,
    "window_size": [-1, -1],
    "dense_seq_output": False,
    "emb_pooler": None,
    "pad_vocab_size_multiple": 1,
    "is_decoder": False,
    "rotary_emb_interleaved": False,
    "last_layer_subset": False,
}
