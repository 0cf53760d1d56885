"""The shape vocabulary of both towers.

b batch, p pixels a side, n image tokens (CLS and patches), s text tokens (padded to the longest of
the batch), t places of texts that lie end to end (see packing.py), h attention heads, k head width,
d tower width, w windows.
"""

from jaxtyping import Float, Int, UInt8
from torch import Tensor

Pixels = Float[Tensor, "b 3 p p"]  # normalised
Bytes = UInt8[Tensor, "*b 3 p p"]  # as decoded
ImageTokens = Float[Tensor, "b n d"]
FirstTokens = Float[Tensor, "b {first} d"]
TokenIds = Int[Tensor, "b s"]
FlatTokens = Float[Tensor, "t d"]
FlatQkv = Float[Tensor, "t 3 h k"]
Tokens = Float[Tensor, "*places d"]  # of images or texts, in layers that serve both
Heads = Float[Tensor, "b h s k"]
Features = Float[Tensor, "b d"]
# Cosines or sines: a row for each token and a column for each pair of channels.
Table = Float[Tensor, "*rows pairs"]
