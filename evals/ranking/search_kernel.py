"""Searching on a CUDA card: one Triton kernel reads each score once, and keeps those that may be among the best.

torch would compare the scores, list those above the bars, sort out whose they are, make keys and
write them: a dozen operations, and the host waits three times for a block. Here newcomers get their
places by atomic additions. In which order they come changes nothing, since keys are whole numbers
and the largest are chosen (best_docs.py).

Imported only where scores are on CUDA; TRITON_INTERPRET=1 runs the kernel on a CPU, as tests do. It
is compiled ahead for sm_80, sm_90 and sm_100 by the tests, and has run on no card yet.

Shapes: c queries and b documents of a block.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float32, Int64
from torch import Tensor

from evals.ranking.best_docs import LAST, BestDocs
from evals.ranking.kernel import on_card

TILE = {"BLOCK_Q": 16, "BLOCK_D": 256}
OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}  # nothing is there to fuse


@triton.jit(do_not_specialize=["first", "queries", "docs", "room"])
@no_type_check
def collect_kernel(
    scores, bars, keys, filled, first, queries, docs, row_stride, room,
    LAST_DOC: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """A program puts the keys of a tile's scores above the bars behind those that the rows hold."""
    query = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    doc = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = (query < queries)[:, None] & (doc < docs)[None, :]
    row = query.to(tl.int64)
    score = tl.load(scores + row[:, None] * row_stride + doc[None, :], mask=inside, other=0.0)
    bar = tl.load(bars + query, mask=query < queries, other=0.0)
    # strictly above: of equal scores the earlier document is the better one, and is in already
    above = inside & (score > bar[:, None])
    ones = above.to(tl.int32)
    counts = tl.sum(ones, axis=1)
    # soon most tiles have none
    start = tl.atomic_add(filled + query, counts.to(tl.int64), mask=counts > 0)
    place = row[:, None] * room + start[:, None] + tl.cumsum(ones, axis=1) - ones
    # the keys of best_docs.py: minus zero is zero, and negative floats grow as their bits fall
    bits = tl.where(score == 0, 0.0, score).to(tl.int32, bitcast=True)
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(tl.int64)
    key = (ordered << 32) | (LAST_DOC - (first + doc.to(tl.int64)))[None, :]
    tl.store(keys + place, key, mask=above)


def collect(
    scores: Float32[Tensor, "c b"],
    first: int,
    bars: Float32[Tensor, "c 1"],
    keys: Int64[Tensor, "c room"],
    filled: Int64[Tensor, "c"],
) -> None:
    """Put the keys of the scores above a query's bar into its row, and count them in `filled`.

    The first document is number `first`. Each row must have room for all that are above its bar.
    """
    n_queries, n_docs = scores.shape
    grid = (triton.cdiv(n_queries, TILE["BLOCK_Q"]), triton.cdiv(n_docs, TILE["BLOCK_D"]))
    collect_kernel[grid](
        scores, bars, keys, filled, first, n_queries, n_docs, scores.stride(0), keys.shape[1],
        LAST_DOC=LAST, **TILE, **OPTIONS,
    )  # fmt: skip


class KernelBestDocs(BestDocs):
    """BestDocs whose newcomers the kernel puts in. A row has room for one block more.

    So a row that is searched through is seldom full, and the host, which knows how many newcomers
    there can have been, seldom waits to see how many there were.
    """

    def __init__(self, queries: int, k: int, *, block: int, device: str) -> None:
        super().__init__(queries, k, block=block, device=device, spare=block)
        self.most = 0  # no row holds more

    def add(self, scores: Float32[Tensor, "c b"], first: int) -> None:
        """Take in the scores of the next documents, of which the first is `first`."""
        width = scores.shape[1]
        if self.most + width > self.room:
            self._make_room(width)
        with on_card(str(scores.device)):
            collect(scores, first, self.bar, self.keys, self.filled)
        self.most += width

    def _make_room(self, width: int) -> None:
        self.most = int(self.filled.max())  # the host waits for the card
        if self.most + width > self.room:
            self._choose((self.filled + width > self.room).nonzero().flatten())
            self.most = self.room - width


def try_kernels(device: str) -> None:
    """Find the best two of four scores. Raises what the compiler or the driver does, and RuntimeError."""
    best = KernelBestDocs(1, 2, block=2, device=device)
    for first, pair in enumerate(([-1.0, 3.0], [3.0, -2.0])):
        best.add(torch.tensor([pair], device=device), 2 * first)
    hits = best.hits(0)
    if (hits.docs.tolist(), hits.scores.tolist()) != ([[1, 2]], [[3.0, 3.0]]):
        raise RuntimeError(f"{hits.docs.tolist()} are the best two of four scores")
