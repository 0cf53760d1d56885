"""The text towers: Jina-XLM-RoBERTa with rotary positions (v2) and JinaBERT with symmetric ALiBi (v1).

Both are post-norm encoders with one fused q|k|v projection and a mean over the tokens that are not padding. Module names
are those of the official checkpoint. LoRA is merged into the weights when a checkpoint is read, see weights.py.
"""

import torch
from torch import nn

from jina_clip.config import TextConfig
from jina_clip.layers import (
    GluMlp,
    Mlp,
    alibi_attention,
    mean_pool,
    merge_heads,
    rope_1d,
    rotate_halves,
    sdpa,
    split_heads,
)
from jina_clip.shapes import Features, Table, TextTokens, TokenIds, TokenMask


class TextTower(nn.Module):
    """Token ids to one unnormalised float32 vector a text."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.emb_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = Encoder(config)

    def forward(self, input_ids: TokenIds) -> Features:
        keep = input_ids != self.config.pad_token_id
        x = self.emb_ln(self.embeddings(input_ids))
        x = self.encoder(x, None if bool(keep.all()) else keep)
        return mean_pool(x, keep)


class Embeddings(nn.Module):
    """Words and token types, of which all are 0; positions come in the attention."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.word_embeddings = _embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = _embedding(config.type_vocab_size, config.hidden_size)

    def forward(self, input_ids: TokenIds) -> TextTokens:
        return self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0]  # type: ignore[no-any-return]


def _embedding(entries: int, width: int) -> nn.Embedding:
    """BERT's initialisation. None on the meta device: torch would import its compiler for it, which takes seconds."""
    weight = torch.empty(entries, width)
    return nn.Embedding(entries, width, _weight=weight if weight.is_meta else nn.init.normal_(weight, std=0.02))


class Encoder(nn.Module):
    """The blocks one after the other; positions are columns, so padding must be on the right."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: TextTokens, keep: TokenMask | None) -> TextTokens:
        config = self.config
        rotary = None
        if config.position_embedding_type == "rotary":
            rotary = rope_1d(x.shape[1], config.hidden_size // config.num_attention_heads, config.rotary_emb_base, x.device)
        for layer in self.layers:
            x = layer(x, keep, rotary)
        return x


class Block(nn.Module):
    """Attention and MLP, each with a residual and a LayerNorm after it."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width, hidden, eps = config.hidden_size, config.intermediate_size, config.layer_norm_eps
        self.mixer = Attention(config)
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.mlp = GluMlp(width, hidden) if config.mlp_type == "glu" else Mlp(width, hidden)
        self.norm2 = nn.LayerNorm(width, eps=eps)

    def forward(self, x: TextTokens, keep: TokenMask | None, rotary: tuple[Table, Table] | None) -> TextTokens:
        x = self.norm1(self.mixer(x, keep, rotary) + x)
        return self.norm2(self.mlp(x) + x)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention whose positions are rotary (v2) or an ALiBi bias (v1)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: TextTokens, keep: TokenMask | None, rotary: tuple[Table, Table] | None) -> TextTokens:
        q, k, v = (split_heads(part, self.heads) for part in self.Wqkv(x).chunk(3, dim=-1))
        if rotary is not None:
            mixed = sdpa(rotate_halves(q, *rotary), rotate_halves(k, *rotary), v, keep)
        else:
            mixed = alibi_attention(q, k, v, keep)
        return self.out_proj(merge_heads(mixed))  # type: ignore[no-any-return]
