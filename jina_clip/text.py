"""The text towers: Jina-XLM-RoBERTa with rotary positions (v2), JinaBERT with ALiBi (v1).

Both are post-norm encoders with one fused q|k|v projection and a mean over the tokens that are not
padding. Module names are those of the official checkpoint. LoRA is merged into the weights when a
checkpoint is read, see weights.py.
"""

from collections.abc import Sequence

import torch
from torch import nn

from jina_clip.attention import WINDOW, Attend, alibi_slopes
from jina_clip.layers import GluMlp, Linear, Mlp, norm_of_sum, rope_1d, rotate_halves
from jina_clip.packing import Ids, Packed, by_length, pack_runs, pack_varlen, pack_windows
from jina_clip.shapes import Features, FlatTokens, Table, TokenIds
from jina_clip.text_config import TextConfig


class TextTower(nn.Module):
    """Token ids to one unnormalised float32 vector per text; `attention`: see resolve_attention."""

    def __init__(self, config: TextConfig, attention: str = "sdpa") -> None:
        super().__init__()
        self.config, self.attention = config, attention
        alibi = config.position_embedding_type == "alibi"
        self.slopes = alibi_slopes(config.num_attention_heads) if alibi else None
        self.embeddings = Embeddings(config)
        self.emb_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = Encoder(config)

    def forward(self, input_ids: TokenIds) -> Features:
        """Rows of padded texts; ValueError for a text without tokens.

        The padding is left out before the first layer.
        """
        ids = input_ids.cpu().numpy()
        texts = [row[row != self.config.pad_token_id] for row in ids]
        order = by_length([len(tokens) for tokens in texts])
        features = self.features(self.pack([texts[i] for i in order]))
        return features[torch.tensor(order).argsort().to(features.device)]

    def pack(self, texts: Sequence[Ids]) -> Packed:
        """Texts of any length, for `features`; sorted ones run fastest."""
        if self.attention == "sdpa":
            return pack_runs(texts, self.device, self.slopes)
        return pack_varlen(texts, self.device, self.slopes, self.attention)

    def pack_windows(self, windows: Sequence[Sequence[Ids]]) -> Packed:
        """Short texts that share windows, for `features`."""
        return pack_windows(windows, self.device, self.slopes, pad=self.config.pad_token_id)

    @property
    def window(self) -> int:
        """The longest text that goes into a window, in tokens; 0 where windows do not pay."""
        # Fixed shapes pay on CUDA alone, and there only beside kernels whose blocks are longer than
        # captions and which know no ALiBi.
        without = self.attention == "triton" or (
            self.slopes is not None and self.attention != "sdpa"
        )
        return WINDOW if self.device.type == "cuda" and not without else 0

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.emb_ln.weight.device

    def features(self, packed: Packed) -> Features:
        """One row per text, in the order they were packed: the mean of its last hidden states."""
        x = self.emb_ln(self.embeddings(packed.ids))
        return packed.pool(self.encoder(x, packed))


class Embeddings(nn.Module):
    """Words and token types, of which all are 0; positions come in the attention."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.word_embeddings = _embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = _embedding(config.type_vocab_size, config.hidden_size)

    def forward(self, ids: torch.Tensor) -> FlatTokens:
        words = self.word_embeddings(ids)
        return words + self.token_type_embeddings.weight[0]  # type: ignore[no-any-return]


def _embedding(entries: int, width: int) -> nn.Embedding:
    """BERT's initialisation, which is normal with a deviation of 0.02."""
    weight = torch.empty(entries, width)
    # None on the meta device: torch would import its compiler for it, which takes seconds.
    if not weight.is_meta:
        nn.init.normal_(weight, std=0.02)
    return nn.Embedding(entries, width, _weight=weight)


class Encoder(nn.Module):
    """The blocks one after the other."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: FlatTokens, packed: Packed) -> FlatTokens:
        config, rotary = self.config, None
        if config.position_embedding_type == "rotary":
            head_width = config.hidden_size // config.num_attention_heads
            longest, base = max(packed.lengths), config.rotary_emb_base
            # Once a pass: all layers turn by the same angles.
            cos, sin = rope_1d(longest, head_width, base, x.device)
            # [t, 1, 1, k/2]: the same angle for q and k and for all heads of a token
            rotary = cos[packed.positions, None, None], sin[packed.positions, None, None]
        for layer in self.layers:
            x = layer(x, packed.attend, rotary)
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

    def forward(
        self, x: FlatTokens, attend: Attend, rotary: tuple[Table, Table] | None
    ) -> FlatTokens:
        # Post-norm, as in BERT: x = LN(x + attention(x)), then x = LN(x + mlp(x)).
        x = norm_of_sum(x, self.mixer(x, attend, rotary), self.norm1)
        return norm_of_sum(x, self.mlp(x), self.norm2)


class Attention(nn.Module):
    """Self-attention whose positions are rotary (v2) or an ALiBi bias, which `attend` adds (v1)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.Wqkv = Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, x: FlatTokens, attend: Attend, rotary: tuple[Table, Table] | None
    ) -> FlatTokens:
        # The official mha.py stacks queries, keys and values in this order, heads inside each.
        qkv = self.Wqkv(x).unflatten(-1, (3, self.heads, -1))
        if rotary is not None:
            rotate_halves(qkv[:, :2], *rotary)  # q and k; v has no position
        return self.out_proj(attend(qkv))  # type: ignore[no-any-return]
