"""Attention over texts that lie end to end by the package flash-attn-4, with ALiBi as its score modifier.

Imported only where that package is: the extra jina-clip-evals[flash4], which is not that of
jina-clip-evals[flash]. Read and compiled ahead at version 4.0.0b36, never run on a card: nothing
here is used before attention_backends.trial_fault has compared it with plain attention.
"""

from collections.abc import Callable
from typing import Any

import cutlass
import torch
from cutlass import cute
from flash_attn.cute import flash_attn_varlen_func
from jaxtyping import Float, Int32
from torch import Tensor

from jina_clip.shapes import FlatQkv, FlatTokens


@cute.jit  # type: ignore[untyped-decorator]
def alibi_score(
    score: Any, batch: Any, head: Any, q_idx: Any, kv_idx: Any, seqlen_info: Any, aux_tensors: Any
) -> Any:
    """The score of a query and a key, less slope * |i - j|; the slopes are the tensor beside it."""
    # The package has multiplied by 1 / sqrt(head width), takes the softmax to base e, and counts
    # queries and keys within their text (flash_attn/cute/softmax.py, apply_score_mod_inner).
    slope = cute.make_rmem_tensor(1, cutlass.Float32)
    slope[0] = aux_tensors[0][head[0]]
    distance = (q_idx - kv_idx).to(cutlass.Float32)
    return score - slope.load() * cute.where(distance < 0.0, -distance, distance)


def attend_texts(
    ends: Int32[Tensor, " texts_and_1"], longest: int, slopes: Float[Tensor, " h"] | None
) -> Callable[[FlatQkv], FlatTokens]:
    """Attention within each text; `ends` counts the tokens before each of them and in all."""
    # Whatever the score modifier reads besides the scores is handed over as a list of tensors.
    alibi = {} if slopes is None else {"score_mod": alibi_score, "aux_tensors": [slopes]}

    def attend(qkv: FlatQkv) -> FlatTokens:
        q, k, v = qkv.unbind(1)
        # By name: unlike flash-attn 2, the fourth by position is another tensor.
        values = flash_attn_varlen_func(
            q,
            k,
            v,
            cu_seqlens_q=ends,
            cu_seqlens_k=ends,
            max_seqlen_q=longest,
            max_seqlen_k=longest,
            **alibi,
        )
        # 4.0.0b36 gives the sums of the softmax, or None, beside the values.
        mixed: torch.Tensor = values[0] if isinstance(values, tuple) else values
        return mixed.flatten(1)

    return attend
