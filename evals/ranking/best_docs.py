"""The best documents of some queries among those seen so far, block by block.

While it is searched for, a document is one 64-bit key: its score in the high half, its place from
the end in the low half. So the largest keys are the best documents, of equal scores the first ones,
and a plain partition of integers finds them.

Shapes: c queries and b documents of a block, k hits of a query.
"""

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float32, Int64

if TYPE_CHECKING:
    import torch

Bits = TypeVar("Bits", np.ndarray, "torch.Tensor")

EMPTY = -(2**63)  # the key of no document
LAST = 2**32 - 1  # the lower half of a key holds LAST less the document


class Hits(NamedTuple):
    """The best documents of the queries from `first` on, best first.

    Of equal scores the document with the smaller index comes first.
    """

    first: int
    docs: Int64[np.ndarray, "c k"]
    scores: Float32[np.ndarray, "c k"]


class BestDocs:
    """The keys of the best documents so far of some queries.

    Also of those that have come since the best were last chosen. A query's row has room for its `k`
    best and another `k`, or a block if that is more. Only documents above its bar, the worst of the
    best, are put there: fewer and fewer, the more have been seen.
    """

    def __init__(self, queries: int, k: int, *, block: int, device: str, spare: int = 0) -> None:
        """Nothing seen yet. No more than `block` documents come at a time; `spare` is more room."""
        import torch

        self.k, self.room = k, k + max(k, block) + spare
        self.keys = torch.full((queries, self.room), EMPTY, device=device)
        self.filled = torch.zeros(queries, dtype=torch.int64, device=device)
        self.bar = torch.full((queries, 1), -torch.inf, device=device)
        self.rows = torch.arange(queries + 1, device=device)

    def add(self, scores: "torch.Tensor", first: int) -> None:
        """Take in the scores `c b` of the next documents, of which the first is `first`."""
        import torch

        width = scores.shape[1]
        # Strictly above: of equal scores the earlier document is the better one, and is in already.
        above_bar = _true((scores > self.bar).flatten())
        # where each query's own begin among them, and how many they are
        starts = torch.searchsorted(above_bar, self.rows * width)
        counts = starts.diff()
        rows = self.rows[:-1]
        full = _true(self.filled + counts > self.room)
        if len(full):
            self._choose(full)
        # the i-th newcomer of a row goes to the i-th free place of the row
        offsets = rows * self.room + self.filled - starts[:-1]
        places = torch.arange(len(above_bar), device=above_bar.device)
        places = places + offsets.repeat_interleave(counts, output_size=len(above_bar))
        row_starts = (rows * width - first).repeat_interleave(counts, output_size=len(above_bar))
        self.keys.put_(places, _keys(scores.take(above_bar), above_bar - row_starts))
        self.filled += counts

    def _choose(self, rows: "torch.Tensor") -> None:
        """Keep the best of these rows, which hold more than `k`, and raise their bars."""
        import torch

        best = _largest(self.keys[rows], self.k)
        self.keys[rows, : self.k] = best
        self.keys[rows, self.k :] = EMPTY
        self.filled[rows] = self.k
        # the score of the worst key is in its high half
        worst = (best.amin(dim=1) >> 32).to(torch.int32)
        self.bar[rows, 0] = _ordered(worst).view(torch.float32)

    def hits(self, first: int) -> Hits:
        """The hits, if these are the queries from `first` on; `k` documents must have been seen."""
        best = _largest(self.keys, self.k).cpu().numpy()
        keys = np.sort(best, axis=1)[:, ::-1]
        docs = LAST - (keys & LAST)
        scores = _ordered((keys >> 32).astype(np.int32)).view(np.float32)
        return Hits(first, docs, scores)


def _keys(scores: "torch.Tensor", docs: "torch.Tensor") -> "torch.Tensor":
    """Integers in the order of the scores; of equal scores, against the order of documents."""
    import torch

    bits = (scores + 0.0).view(torch.int32)  # minus zero becomes zero: they are equal
    high = _ordered(bits).to(torch.int64) << 32
    return high | (LAST - docs)


def _ordered(bits: Bits) -> Bits:
    """From the bits of floats to integers in their order, and back."""
    # negative floats grow as their bits fall
    ordered: Bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return ordered


def _largest(keys: "torch.Tensor", k: int) -> "torch.Tensor":
    """The `k` largest of each row in any order."""
    import torch

    if keys.device.type != "cpu":
        return keys.topk(k, dim=1, sorted=False).values
    # numpy's partition is vectorised, torch.topk on a CPU is not
    rest = keys.shape[1] - k
    return torch.from_numpy(np.partition(keys.numpy(), rest, axis=1)[:, rest:])


def _true(mask: "torch.Tensor") -> "torch.Tensor":
    """Where a row of bool is true."""
    import torch

    if mask.device.type == "cpu":  # numpy is faster at it there
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero().flatten()
