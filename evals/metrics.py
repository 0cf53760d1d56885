"""What a ranking is worth: truncation, ranks in which ties count in expectation, and the metrics of each query.

Shapes: q queries, n documents or rows, d dimensions, pairs of a query and a document relevant to it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64

Tensor = Any  # torch.Tensor: torch is imported where it computes, so that a reader of records never loads it

DEPTH = 10  # of nDCG
# On a grid of 2^-40 every sum of discounts is exact, so a perfect ranking scores 1.0 and not 0.9999999999999999.
DISCOUNT = np.round(2.0**40 / np.log2(np.arange(2, DEPTH + 2))) / 2.0**40
GAIN = np.concatenate([[0.0], np.cumsum(DISCOUNT)])

TIE = 1e-12  # float64 scores this close, as a share of the rows' norms, are one score: rounding is 1e-14 at most
DOC_BLOCK = 2048  # documents scored at once: the block of scores stays in the cache while it is counted
ROW_BLOCK = 512  # rows widened to float64 at once
DENSE_SHARE = 1 / 64  # a pair that is gathered costs about as much as 64 pairs of a float64 matmul


@dataclass(frozen=True)
class Relevant:
    """The documents relevant to each query, one or more: those of query i are `docs[indptr[i]:indptr[i + 1]]`."""

    indptr: Int[np.ndarray, "bounds"]
    docs: Int[np.ndarray, "pairs"]

    def __post_init__(self) -> None:
        if len(self.indptr) == 0 or self.indptr[0] != 0 or self.indptr[-1] != len(self.docs):
            raise ValueError(f"indptr must run from 0 to the {len(self.docs)} relevant documents")
        if (empty := np.flatnonzero(self.counts < 1)).size:
            raise ValueError(f"query {empty[0]} has no relevant document")
        order = np.lexsort((self.docs, self.queries))
        queries, docs = self.queries[order], self.docs[order]
        if (twice := np.flatnonzero((np.diff(queries) == 0) & (np.diff(docs) == 0))).size:
            raise ValueError(f"query {queries[twice[0]]} has document {docs[twice[0]]} twice")

    @property
    def counts(self) -> Int64[np.ndarray, "q"]:
        """How many documents are relevant to each query."""
        return np.diff(self.indptr).astype(np.int64)

    @property
    def queries(self) -> Int64[np.ndarray, "pairs"]:
        """The query of each pair; the pairs are in the order of the queries."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @staticmethod
    def one_of(image_of_text: Int[np.ndarray, "texts"]) -> "Relevant":
        """Texts are the queries: each has the one image that it describes."""
        return Relevant(np.arange(len(image_of_text) + 1), image_of_text)

    @staticmethod
    def inverse(image_of_text: Int[np.ndarray, "texts"], n_images: int) -> "Relevant":
        """Images are the queries: each has all of its texts. Raises ValueError for an image without text."""
        counts = np.bincount(image_of_text, minlength=n_images)
        if len(counts) > n_images:
            raise ValueError(f"a text describes image {len(counts) - 1}, but there are {n_images} images")
        if (empty := np.flatnonzero(counts == 0)).size:
            raise ValueError(f"image {empty[0]} has no text")
        return Relevant(np.concatenate([[0], np.cumsum(counts)]), np.argsort(image_of_text, kind="stable"))


@dataclass(frozen=True)
class Ranks:
    """Where the best relevant document of each query stands among the irrelevant ones.

    `better` irrelevant documents score strictly higher; `tied` irrelevant and `tied_relevant` relevant ones (itself
    included, so at least 1) have its score. `score` is that score. `ndcg10` is the expected nDCG@10, all relevant
    documents counted, with binary gains and equal scores in random order.
    """

    better: Int64[np.ndarray, "q"]
    tied: Int64[np.ndarray, "q"]
    tied_relevant: Int64[np.ndarray, "q"]
    score: Float32[np.ndarray, "q"]
    ndcg10: Float64[np.ndarray, "q"]

    def __len__(self) -> int:
        return len(self.better)


def truncate(rows: Float[np.ndarray, "n d"], dim: int) -> Float32[np.ndarray, "n {dim}"]:
    """The first `dim` values of each row, L2-normalised; a row of zeros stays zero. Raises ValueError for a misfit."""
    if not 1 <= dim <= rows.shape[1]:
        raise ValueError(f"cannot keep {dim} of {rows.shape[1]} dimensions")
    out = np.empty((len(rows), dim), dtype=np.float32)
    for start in range(0, len(rows), ROW_BLOCK):
        part = rows[start : start + ROW_BLOCK, :dim].astype(np.float64, order="C")
        norms = np.sqrt(np.square(part).sum(axis=1, keepdims=True))
        out[start : start + ROW_BLOCK] = part / np.where(norms == 0, 1, norms)
    return out


def ranks(
    queries: Float32[np.ndarray, "q d"],
    docs: Float32[np.ndarray, "n d"],
    relevant: Relevant,
    *,
    chunk: int = 1024,
    device: str = "cpu",
) -> Ranks:
    """Rank the relevant documents of every query by dot product, `chunk` queries at a time; never all scores at once.

    A function of the rows alone: chunk, threads and the order of the items change no bit. A matmul kernel gives equal
    rows scores that differ in the last bits with their place in the block, so float32 scores compared with each
    other would break ties by position. Here they decide only what no rounding can change: a score nearer to the
    threshold than the worst-case error of a float32 dot product is a close call, and is decided in float64.
    Raises ValueError for NaN, infinity, a chunk below 1, or relevant documents that do not fit.
    """
    import torch

    if chunk < 1:
        raise ValueError(f"cannot take {chunk} queries at a time")
    if len(relevant.counts) != len(queries) or not np.all((relevant.docs >= 0) & (relevant.docs < len(docs))):
        raise ValueError(f"the relevant documents do not fit {len(queries)} queries and {len(docs)} documents")
    with torch.inference_mode(), _full_float32():
        q, d = (torch.from_numpy(np.require(x, requirements=["C", "W"])).to(device) for x in (queries, docs))
        reach = _norms(q, "query") * _norms(d, "document").max(initial=0.0)
        levels = _levels(_pair_scores(q, d, relevant.queries, relevant.docs), relevant, TIE * reach)
        close = (queries.shape[1] + 8) * 2.0**-24 * reach  # d u |q||d| bounds the error, in any order of summation
        for start in range(0, len(queries), chunk):
            rows = slice(start, min(start + chunk, len(queries)))
            pairs = slice(relevant.indptr[rows.start], relevant.indptr[rows.stop])
            own = np.stack([relevant.queries[pairs] - start, relevant.docs[pairs]])
            for block in _blocks(q[rows], d, own):
                _add_counts(block, levels, rows, close[rows], TIE * reach[rows])
    return Ranks(
        better=levels.better[:, 0],
        tied=levels.tied[:, 0],
        tied_relevant=levels.relevant[:, 0],
        score=levels.score[:, 0].astype(np.float32),
        ndcg10=_ndcg(levels, relevant.counts),
    )


def hit_at(ranks: Ranks, k: int) -> Float64[np.ndarray, "q"]:
    """P(a relevant document is among the first k), equal scores in random order: 1 - C(t, k-g) / C(t+r, k-g)."""
    g, t, r = ranks.better, ranks.tied, ranks.tied_relevant
    miss = np.ones(len(ranks))
    for i in range(k):  # C(t, m) / C(t+r, m) as a product of m shares: nothing overflows
        miss *= np.where(i < k - g, np.maximum(t - i, 0) / np.maximum(t + r - i, 1), 1.0)
    return 1.0 - miss


def reciprocal_rank(ranks: Ranks) -> Float64[np.ndarray, "q"]:
    """Expected 1 / rank of the first relevant document, equal scores in random order."""
    values = 1.0 / (ranks.better + 1.0)
    at = np.flatnonzero(ranks.tied)
    cases, case = np.unique(np.stack([ranks.better, ranks.tied, ranks.tied_relevant])[:, at], axis=1, return_inverse=True)
    values[at] = np.array([_expected_reciprocal(*map(int, column)) for column in cases.T])[case]
    return values


def expected_rank(ranks: Ranks) -> Float64[np.ndarray, "q"]:
    """Expected rank, from 1, of the first relevant document: g + 1 + t / (r + 1)."""
    rank: np.ndarray = ranks.better + 1 + ranks.tied / (ranks.tied_relevant + 1)
    return rank


def per_query(ranks: Ranks, ks: Sequence[int] = (1, 5, 10)) -> dict[str, Float64[np.ndarray, "q"]]:
    """The metrics that are means over queries, in [0, 1], by their public names; `mean` makes them one number."""
    return {f"R@{k}": hit_at(ranks, k) for k in ks} | {"MRR": reciprocal_rank(ranks), f"nDCG@{DEPTH}": ranks.ndcg10}


def mean(values: Float[np.ndarray, "q"]) -> float:
    """The mean, summed exactly: the order of the queries changes no bit. Raises ValueError when there are none."""
    if len(values) == 0:
        raise ValueError("the mean of no queries")
    return math.fsum(values) / len(values)


def mean_rank(ranks: Ranks) -> float:
    """The mean over queries of the expected rank."""
    return mean(expected_rank(ranks))


def median_rank(ranks: Ranks) -> float:
    """The median over queries of the expected rank."""
    return float(np.median(expected_rank(ranks)))


def tie_rate(ranks: Ranks) -> float:
    """Share of the queries whose best relevant document ties with an irrelevant one."""
    return mean((ranks.tied > 0).astype(np.float64))


class _Levels(NamedTuple):
    """The distinct scores of each query's relevant documents, best first, and what stands above and beside each.

    A column is a place among the query's relevant documents; `head` marks the first of each group of equal scores,
    and only there do the counts mean anything. Places after the tenth cannot enter nDCG@10.
    """

    head: Bool[np.ndarray, "q places"]
    score: Float64[np.ndarray, "q places"]
    relevant: Int64[np.ndarray, "q places"]
    better: Int64[np.ndarray, "q places"]
    tied: Int64[np.ndarray, "q places"]


def _levels(scores: Float64[np.ndarray, "pairs"], relevant: Relevant, tie: Float64[np.ndarray, "q"]) -> _Levels:
    counts, queries = relevant.counts, relevant.queries
    own = np.full((len(counts), counts.max(initial=1)), -np.inf)
    own[queries, np.arange(len(queries)) - relevant.indptr[queries]] = scores
    own = -np.sort(-own, axis=1)
    places = min(own.shape[1], DEPTH)
    head = np.isfinite(own[:, :places])
    size = np.zeros(head.shape, dtype=np.int64)
    last = np.full(len(counts), np.inf)  # the level that the place before belongs to
    for place in range(places):
        head[:, place] &= own[:, place] < last - tie
        last = np.where(head[:, place], own[:, place], last)
        size[:, place] = ((own >= (last - tie)[:, None]) & (own <= last[:, None])).sum(axis=1)
    return _Levels(head, own[:, :places], size, np.zeros_like(size), np.zeros_like(size))


def _ndcg(levels: _Levels, n_relevant: Int64[np.ndarray, "q"]) -> Float64[np.ndarray, "q"]:
    """A relevant document gains the mean discount of the positions that its group of equal scores takes up."""
    # a level that was given up has stale counts, but then one before it has ten documents above
    above = np.maximum.accumulate(levels.better, axis=1) + np.arange(levels.better.shape[1])
    group = np.maximum(levels.tied + levels.relevant, 1)
    discounts = GAIN[np.minimum(above + group, DEPTH)] - GAIN[np.minimum(above, DEPTH)]
    dcg = np.where(levels.head, levels.relevant * discounts / group, 0.0).sum(axis=1)
    ndcg: np.ndarray = dcg / GAIN[np.minimum(n_relevant, DEPTH)]
    return ndcg


def _expected_reciprocal(g: int, t: int, r: int) -> float:
    """Of the t + r documents after the first g, the first relevant one is the x-th with P = C(t+r-x, r-1) / C(t+r, r)."""
    x = np.arange(1.0, t + 1)
    chance = np.cumprod(np.concatenate([[r / (t + r)], (t + 1 - x) / (t + r - x)]))
    return float((chance / (g + np.arange(1.0, t + 2))).sum())


class _Block(NamedTuple):
    """The scores of some queries against some documents; a query's own relevant documents score minus infinity."""

    queries: Tensor
    docs: Tensor
    scores: Tensor
    peaks: Tensor  # the highest score of each query
    masks: tuple[Tensor, Tensor]  # memory for two masks of the scores


def _blocks(queries: Tensor, docs: Tensor, own: Int[np.ndarray, "2 pairs"]) -> Iterator[_Block]:
    """Score the queries against all documents block by block, in memory that every block uses again."""
    import torch

    size = len(queries) * min(DOC_BLOCK, len(docs))
    memory = torch.empty(size, device=queries.device)
    masks = (torch.empty_like(memory, dtype=torch.bool), torch.empty_like(memory, dtype=torch.bool))
    for start in range(0, len(docs), DOC_BLOCK):
        part = docs[start : start + DOC_BLOCK]
        scores = memory[: len(queries) * len(part)].view(len(queries), len(part))
        torch.mm(queries, part.T, out=scores)
        inside = (own[1] >= start) & (own[1] < start + len(part))
        pairs = torch.from_numpy(own[:, inside] - np.array([[0], [start]])).to(queries.device)
        scores[pairs[0], pairs[1]] = -math.inf
        yield _Block(queries, part, scores, scores.amax(1), masks)


def _add_counts(block: _Block, levels: _Levels, at: slice, close: np.ndarray, tie: np.ndarray) -> None:
    """Count this block's documents above and beside the levels of the queries `at`."""
    head, score, better, tied = levels.head[at], levels.score[at], levels.better[at], levels.tied[at]
    peaks = block.peaks.cpu().numpy()
    for place in range(head.shape[1]):
        wanted = head[:, place] & (peaks >= (score[:, place] - close).astype(np.float32))
        if place > 0:  # a level with ten documents above it adds nothing to nDCG@10; counts so far are lower bounds
            wanted &= better[:, : place + 1].max(axis=1) + place < DEPTH
        rows = np.flatnonzero(wanted)
        if rows.size:
            above, beside = _count(block, rows, score[rows, place], close[rows], tie[rows])
            better[rows, place] += above
            tied[rows, place] += beside


def _count(block: _Block, rows: np.ndarray, score: np.ndarray, close: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """How many documents of the block score above `score`, and how many tie with it, for each of the queries `rows`."""
    import torch

    index, s, c, e = (torch.from_numpy(x).to(block.scores.device) for x in (rows, score, close, tie))
    scores = block.scores if len(rows) == len(block.scores) else block.scores[index]
    low, high = (mask[: scores.numel()].view(scores.shape) for mask in block.masks)
    at_least = _row_sums(torch.ge(scores, (s - c).float()[:, None], out=low))
    above = _row_sums(torch.gt(scores, (s + c).float()[:, None], out=high))
    n_close = int((at_least - above).sum())
    if n_close > DENSE_SHARE * scores.numel():
        exact = (block.queries[index].double() @ block.docs.double().T).masked_fill_(scores == -math.inf, -math.inf)
        at_least = _row_sums(torch.ge(exact, (s - e)[:, None], out=low))
        above = _row_sums(torch.gt(exact, (s + e)[:, None], out=high))
    elif n_close > 0:
        row, doc = low.logical_xor_(high).nonzero(as_tuple=True)
        difference = _dots(block.queries, block.docs, index[row], doc) - s[row]
        at_least = above + torch.bincount(row[difference >= -e[row]], minlength=len(rows))
        above = above + torch.bincount(row[difference > e[row]], minlength=len(rows))
    counts: np.ndarray = torch.stack([above, at_least - above]).cpu().numpy()
    return counts


def _row_sums(mask: Tensor) -> Tensor:
    """How many of each row are true; bytes are summed ten times faster than bool."""
    import torch

    return mask.view(torch.uint8).sum(1, dtype=torch.int32).long()


def _pair_scores(queries: Tensor, docs: Tensor, rows: np.ndarray, cols: np.ndarray) -> Float64[np.ndarray, "pairs"]:
    import torch

    index = torch.from_numpy(np.stack([rows, cols]).astype(np.int64)).to(queries.device)
    scores: np.ndarray = _dots(queries, docs, index[0], index[1]).cpu().numpy()
    return scores


def _dots(queries: Tensor, docs: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Float64 dot products of pairs of float32 rows."""
    import torch

    parts = zip(rows.split(ROW_BLOCK), cols.split(ROW_BLOCK), strict=True)
    return torch.cat([queries[row].double().mul_(docs[col]).sum(1) for row, col in parts])


def _norms(rows: Tensor, name: str) -> Float64[np.ndarray, "n"]:
    import torch

    parts = [torch.linalg.vector_norm(part.double(), dim=1) for part in rows.split(ROW_BLOCK)]
    norms: np.ndarray = torch.cat(parts).cpu().numpy()
    if (bad := np.flatnonzero(~np.isfinite(norms))).size:
        raise ValueError(f"{name} {bad[0]} holds NaN or infinity")
    return norms


@contextmanager
def _full_float32() -> Iterator[None]:
    """Matmuls without TF32 or bfloat16, whatever the process has set: the bound on close calls assumes float32."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
