"""The k best documents of every query, exactly, in memory that grows with neither side.

While it is searched for, a document is one 64-bit key: its score in the high half, its place from
the end in the low half. So the largest keys are the best documents, of equal scores the first ones,
and a plain partition of integers finds them. `python -m benchmarks.search`: with scoring, 100,000
documents take mteb 2.6 to 3.4 times as long (benchmarks/results/search-cpu.json).

Shapes: q queries, n documents, d dimensions, c queries and b documents of a block, k hits of a
query.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float32, Int64

from evals.embeddings.threads import THREADS, in_threads, one_thread_each, over_rows
from evals.ranking.products import as_tensor, block_products, full_float32
from evals.ranking.shapes import DocRows, QueryRows

if TYPE_CHECKING:
    import torch

Bits = TypeVar("Bits", np.ndarray, "torch.Tensor")

EMPTY = -(2**63)  # the key of no document
LAST = 2**32 - 1  # the lower half of a key holds LAST less the document


class Sizes(NamedTuple):
    """How many queries a thread takes at a time, and how many documents are scored at once."""

    chunk: int
    block: int


CPU = Sizes(chunk=256, block=2048)  # scores stay in the cache while they are compared
DEVICE = Sizes(chunk=2048, block=8192)  # to start an operation costs more than to do it


class Hits(NamedTuple):
    """The best documents of the queries from `first` on, best first.

    Of equal scores the document with the smaller index comes first.
    """

    first: int
    docs: Int64[np.ndarray, "c k"]
    scores: Float32[np.ndarray, "c k"]


def top_k(
    queries: QueryRows,
    docs: DocRows,
    k: int,
    *,
    chunk: int | None = None,
    block: int | None = None,
    device: str = "cpu",
) -> Iterator[Hits]:
    """The `k` best documents of each query (all, if there are fewer) by float32 dot product.

    The `Hits` come in the order of the queries, `chunk` queries at most at a time, and `block`
    documents are scored at once. Nothing runs while the caller has its turn, and memory maps are
    read in blocks. Scores are those of the matmul kernel: another one may differ in the last bit.
    Raises ValueError, before anything is searched, for no documents, for sizes below 1, and for
    rows with NaN or infinity.
    """
    usual = CPU if is_cpu(device) else DEVICE
    # not `chunk or usual.chunk`: 0 is refused, not taken for none
    chunk = usual.chunk if chunk is None else chunk
    block = usual.block if block is None else block
    if min(k, chunk, block, len(docs)) < 1:
        raise ValueError(
            f"cannot find {k} of {len(docs)} documents by {chunk} queries and {block} documents "
            "at a time"
        )
    _refuse_infinite(queries, "query")
    _refuse_infinite(docs, "document")
    sizes = Sizes(chunk, min(block, len(docs)))
    return _search(queries, docs, min(k, len(docs)), sizes, device)


def is_cpu(device: str) -> bool:
    return device.partition(":")[0] == "cpu"


def _refuse_infinite(rows: np.ndarray, name: str) -> None:
    """Raises ValueError for the first row without a finite length: all scores are finite then."""

    def check(part: slice) -> None:
        with np.errstate(all="ignore"):  # what overflows is what is looked for
            squares = np.einsum("ij,ij->i", rows[part], rows[part])
        bad = np.flatnonzero(~np.isfinite(squares))
        if bad.size:
            raise ValueError(
                f"{name} {part.start + bad[0]} has NaN, infinity or a length that float32 "
                "cannot hold"
            )

    over_rows(check, *rows.shape)


def _search(
    queries: np.ndarray, docs: np.ndarray, k: int, sizes: Sizes, device: str
) -> Iterator[Hits]:
    """As many strips of queries at once as there are threads; all end before one is given out."""
    workers = workers_on(device)
    sizes = sizes._replace(chunk=even_chunk(len(queries), sizes.chunk, workers))
    starts = range(0, len(queries), sizes.chunk)
    for turn in range(0, len(starts), workers):
        yield from _strips(queries, docs, starts[turn : turn + workers], k, sizes, device)


def workers_on(device: str) -> int:
    """How many strips of queries are searched at once, each by a thread."""
    import torch

    return min(THREADS, torch.get_num_threads()) if is_cpu(device) else 1


def even_chunk(n_queries: int, chunk: int, workers: int) -> int:
    """The length of strips, `chunk` at most, that are all about as long."""
    turns = -(-n_queries // (chunk * workers))
    strips = max(turns * workers, 1)
    return max(-(-n_queries // strips), 1)


def _strips(
    queries: np.ndarray,
    docs: np.ndarray,
    starts: Sequence[int],
    k: int,
    sizes: Sizes,
    device: str,
) -> list[Hits]:
    """The hits of some strips of queries, each the work of one thread: faster than sharing it."""
    hits_of_strip: dict[int, Hits] = {}

    def search_strip(start: int) -> None:
        strip = as_tensor(queries[start : start + sizes.chunk], device)
        best = BestDocs(len(strip), k, block=sizes.block, device=device)
        for first in range(0, len(docs), sizes.block):
            block = as_tensor(docs[first : first + sizes.block], device)
            best.add(block_products(strip, block), first)
        hits_of_strip[start] = best.hits(start)

    with full_float32(), one_thread_each():
        in_threads(search_strip, starts, len(starts))
    return [hits_of_strip[start] for start in starts]


class BestDocs:
    """The keys of the best documents so far of some queries.

    Also of those that have come since the best were last chosen. A query's row has room for its `k`
    best and another `k`, or a block if that is more. Only documents above its bar, the worst of the
    best, are put there: fewer and fewer, the more have been seen.
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
