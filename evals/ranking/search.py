"""The best documents of every query by exact search, block by block: memory grows with neither queries nor documents.

While it is searched for, a document is one 64-bit key: its score in the high half, its place from the end in the low half. So
the largest keys are the best documents, of equal scores the first ones, and a plain partition of integers finds them.

Shapes: q queries, n documents, d dimensions, c queries and b documents of a block, k hits of a query.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float32, Int64

from evals.embeddings.threads import THREADS, in_threads, one_thread_each, over_rows
from evals.ranking.products import full_float32, products

if TYPE_CHECKING:
    import torch

Bits = TypeVar("Bits", np.ndarray, "torch.Tensor")

CHUNK = 256  # queries whose candidates a thread keeps at a time
DOC_BLOCK = 2048  # documents scored at once: their scores stay in the cache while they are compared
DEVICE_CHUNK, DEVICE_BLOCK = (
    2048,
    8192,
)  # the same on an accelerator, where starting an operation costs more than doing it
EMPTY = -(2**63)  # the key of no document
LAST = 2**32 - 1  # the lower half of a key holds LAST less the document


class Hits(NamedTuple):
    """The best documents of the queries from `first` on, best first; of equal scores the document with the smaller index."""

    first: int
    docs: Int64[np.ndarray, "c k"]
    scores: Float32[np.ndarray, "c k"]


def top_k(
    queries: Float32[np.ndarray, "q d"],
    docs: Float32[np.ndarray, "n d"],
    k: int,
    *,
    chunk: int | None = None,
    block: int | None = None,
    device: str = "cpu",
) -> Iterator[Hits]:
    """The `k` best documents of each query (all, if there are fewer) by float32 dot product: `Hits` in the order of the queries.

    `chunk` queries at most come at a time, and `block` documents are scored at once. Nothing runs while the caller has its
    turn, and memory maps are read in blocks. Scores are those of the matmul kernel: another one may differ in the last bit.
    Raises ValueError, before anything is searched, for no documents, for sizes below 1, and for rows with NaN or infinity.
    """
    on_host = device.partition(":")[0] == "cpu"
    chunk = chunk if chunk is not None else CHUNK if on_host else DEVICE_CHUNK
    block = block if block is not None else DOC_BLOCK if on_host else DEVICE_BLOCK
    if min(k, chunk, block, len(docs)) < 1:
        raise ValueError(
            f"cannot find {k} of {len(docs)} documents by {chunk} queries and {block} documents at a time"
        )
    _refuse_infinite(queries, "query")
    _refuse_infinite(docs, "document")
    return _search(
        queries, docs, min(k, len(docs)), chunk=chunk, block=min(block, len(docs)), device=device
    )


def _refuse_infinite(rows: np.ndarray, name: str) -> None:
    """Of rows with finite lengths no dot product is infinite: it is at most the product of their lengths."""

    def check(part: slice) -> None:
        with np.errstate(all="ignore"):  # what overflows is what is looked for
            squares = np.einsum("ij,ij->i", rows[part], rows[part])
        if (bad := np.flatnonzero(~np.isfinite(squares))).size:
            raise ValueError(
                f"{name} {part.start + bad[0]} has NaN, infinity or a length that float32 cannot hold"
            )

    over_rows(check, *rows.shape)


def _search(
    queries: np.ndarray, docs: np.ndarray, k: int, *, chunk: int, block: int, device: str
) -> Iterator[Hits]:
    """As many strips of queries at once as there are threads; all of them have ended when the first is given out."""
    import torch

    workers = min(THREADS, torch.get_num_threads()) if device.partition(":")[0] == "cpu" else 1
    turns = -(-len(queries) // (chunk * workers))
    chunk = max(-(-len(queries) // max(turns * workers, 1)), 1)  # strips that are all about as long
    starts = range(0, len(queries), chunk)
    for turn in range(0, len(starts), workers):
        yield from _strips(
            queries, docs, starts[turn : turn + workers], k, chunk=chunk, block=block, device=device
        )


def _strips(
    queries: np.ndarray,
    docs: np.ndarray,
    starts: Sequence[int],
    k: int,
    *,
    chunk: int,
    block: int,
    device: str,
) -> list[Hits]:
    """The hits of some strips of queries. A thread does all the work of its strip alone, which is faster than sharing it."""
    found: dict[int, Hits] = {}

    def strip(start: int) -> None:
        own = _on(device, queries[start : start + chunk])
        best = _Best(len(own), k, block=block, device=device)
        for first in range(0, len(docs), block):
            best.add(products(own, _on(device, docs[first : first + block])), first)
        found[start] = best.hits(start)

    with full_float32(), one_thread_each():
        in_threads(strip, starts, len(starts))
    return [found[start] for start in starts]


class _Best:
    """The keys of the best documents so far of some queries, and of those that have come since the best were last chosen.

    A query's row has room for its `k` best and another `k`, or a block if that is more. Only documents above its bar, the
    worst of the best, are put there: fewer and fewer, the more have been seen.
    """

    def __init__(self, queries: int, k: int, *, block: int, device: str) -> None:
        import torch

        self.k, self.room = k, k + max(k, block)
        self.keys = torch.full((queries, self.room), EMPTY, device=device)
        self.filled = torch.zeros(queries, dtype=torch.int64, device=device)
        self.bar = torch.full((queries, 1), -torch.inf, device=device)
        self.rows = torch.arange(queries + 1, device=device)

    def add(self, scores: "torch.Tensor", first: int) -> None:
        """Take in the scores `c b` of the next documents, of which the first is `first`."""
        import torch

        width = scores.shape[1]
        at = _true((scores > self.bar).flatten())
        starts = torch.searchsorted(at, self.rows * width)
        counts, rows = starts.diff(), self.rows[:-1]
        if len(full := _true(self.filled + counts > self.room)):
            self._choose(full)
        place = rows * self.room + self.filled - starts[:-1]
        place = torch.arange(len(at), device=at.device) + place.repeat_interleave(
            counts, output_size=len(at)
        )
        docs = at - (rows * width - first).repeat_interleave(counts, output_size=len(at))
        self.keys.put_(place, _keys(scores.take(at), docs))
        self.filled += counts

    def _choose(self, rows: "torch.Tensor") -> None:
        """Keep the best of these rows, which hold more than `k`, and raise their bars."""
        import torch

        best = _largest(self.keys[rows], self.k)
        self.keys[rows, : self.k], self.keys[rows, self.k :] = best, EMPTY
        self.filled[rows] = self.k
        self.bar[rows, 0] = _ordered((best.amin(dim=1) >> 32).to(torch.int32)).view(torch.float32)

    def hits(self, first: int) -> Hits:
        """What was found, if these are the queries from `first` on; `k` documents must have been seen."""
        keys = np.sort(_largest(self.keys, self.k).cpu().numpy(), axis=1)[:, ::-1]
        return Hits(
            first, LAST - (keys & LAST), _ordered((keys >> 32).astype(np.int32)).view(np.float32)
        )


def _keys(scores: "torch.Tensor", docs: "torch.Tensor") -> "torch.Tensor":
    """Integers in the order of the scores and, of equal scores, against the order of the documents."""
    import torch

    bits = (scores + 0.0).view(torch.int32)  # minus zero becomes zero: they are equal
    return (_ordered(bits).to(torch.int64) << 32) | (LAST - docs)


def _ordered(bits: Bits) -> Bits:
    """From the bits of floats to integers in their order, and back: negative floats grow as their bits fall."""
    ordered: Bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return ordered


def _largest(keys: "torch.Tensor", k: int) -> "torch.Tensor":
    """The `k` largest of each row in any order. Numpy's partition is vectorised, torch.topk on a CPU is not."""
    import torch

    if keys.device.type != "cpu":
        return keys.topk(k, dim=1, sorted=False).values
    rest = keys.shape[1] - k
    return torch.from_numpy(np.partition(keys.numpy(), rest, axis=1)[:, rest:])


def _true(mask: "torch.Tensor") -> "torch.Tensor":
    """Where a row of bool is true; numpy is faster at it on a CPU."""
    import torch

    return (
        torch.from_numpy(np.flatnonzero(mask.numpy()))
        if mask.device.type == "cpu"
        else mask.nonzero().flatten()
    )


def _on(device: str, rows: np.ndarray) -> "torch.Tensor":
    """Torch takes no read-only array, as memory maps often are: those are copied."""
    import torch

    return torch.from_numpy(np.require(rows, requirements=["C", "W"])).to(device)
