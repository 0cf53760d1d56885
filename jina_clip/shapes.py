"""The shape vocabulary of both towers.

b batch, c channels (3), p pixels a side, n image tokens (CLS and patches), g patches a side,
s text tokens (padded to the longest of the batch), h attention heads, k head width, d tower width, f MLP hidden width.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Pixels = Float[Tensor, "b 3 p p"]
ImageTokens = Float[Tensor, "b n d"]
TextTokens = Float[Tensor, "b s d"]
TokenIds = Int[Tensor, "b s"]
TokenMask = Bool[Tensor, "b s"]
Tokens = Float[Tensor, "b t d"]  # image or text tokens, in layers that serve both
Heads = Float[Tensor, "b h t k"]
Features = Float[Tensor, "b d"]
Table = Float[Tensor, "r k"]  # cosines or sines, one row a rotated token (images: all but CLS)
