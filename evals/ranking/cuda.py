"""Counts on a CUDA card: levels and counts stay on the card, and only a few close calls come back to the host.

The Triton kernels of kernel.py count each block around all levels of both directions. Close calls
are decided in float64: a few of them on the host, by their pairs of rows, as on a CPU. Where they
are many (rows that are all alike, or binary ones, whose scores are few whole numbers) the block is
multiplied and counted again in float64, DENSE_DOCS documents at a time. So a collapsed checkpoint
costs one more product, and once more the memory of its rows.

Counts are those of cpu.py, bit for bit. kernel.py says why for float32; float64 scores err by 1e-14
at most, a hundredth of TIE, whichever machine adds them (definition.py).

It has run in Triton's interpreter only, and is not timed. On an H200 the way of accelerator.py took
89 times as long as the bare product (docs/performance.md).

Shapes: c queries and b documents of a block, n of either, places of their levels, calls that are
close.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int, Int32
from torch import Tensor

from evals.ranking.kernel import (
    BlockScales,
    BothNear,
    Bounds,
    Near,
    count_block,
    list_close,
    on_card,
)
from evals.ranking.levels import Count, Levels, Step, Tally
from evals.ranking.products import as_tensor, many_pair_scores

# Values of rows that the host multiplies for a block; with more, another product is quicker.
HOST_VALUES = 2**22
DENSE_DOCS = 2**13  # multiplied in float64 at once: 64 MB of rows of 1,024 values


@contextmanager
def counting(steps: Sequence[Step], device: str) -> Iterator[Count]:
    """What counts blocks at these steps, see levels.Count; the tallies are complete at the end."""
    # a step holds arrays, which cannot be keys
    counters = {id(step): StepCounter(step, device) for step in steps}

    def count(
        step: Step,
        sums: Tensor | None,
        products: Tensor,
        queries: slice,
        docs: slice,
        lock: Lock,
    ) -> Tensor:
        sums = products if sums is None else sums.add_(products)
        counters[id(step)].count(sums[:, : docs.stop - docs.start], queries, docs)
        return sums

    with on_card(device):
        yield count
        for counter in counters.values():
            counter.finish()


class DeviceTally:
    """The levels of one direction on the card, and what is counted around them so far.

    Arrays are `places n`: neighbouring threads read neighbouring levels.
    """

    def __init__(self, tally: Tally, device: str) -> None:
        levels = tally.levels
        self.tally = tally
        self.is_level = as_tensor(levels.is_level.T, device)
        self.level = as_tensor(levels.score.T, device)
        self.close_margin = as_tensor(tally.close_margin, device)
        self.tie_margin = as_tensor(tally.tie_margin, device)
        self.better = as_tensor(levels.better.T, device)
        self.tied = as_tensor(levels.tied.T, device)

    def close_bounds(self, part: slice) -> Bounds:
        """Where float32 scores are close to a level."""
        low, high = self._bounds(part, self.is_level[:, part], self.close_margin)
        return Bounds(low.float(), high.float())

    def tie_bounds(self, part: slice, mask: Bool[Tensor, "places n"]) -> Bounds:
        """Where float64 scores tie with the levels that are marked."""
        return self._bounds(part, mask, self.tie_margin)

    def _bounds(
        self, part: slice, mask: Bool[Tensor, "places n"], margin: Float64[Tensor, "_"]
    ) -> Bounds:
        level = self.level[:, part]
        low = torch.where(mask, level - margin[part], torch.inf)
        return Bounds(low, torch.where(mask, level + margin[part], torch.inf))

    def add_sure(self, part: slice, near: Near) -> Bool[Tensor, "places n"]:
        """Add what is surely above; the levels whose close calls can still change a metric."""
        self.better[:, part] += near.above
        better = self.better[:, part]
        # as levels.needed_levels, after the block: most levels are past the tenth place by now
        place = torch.arange(len(better), device=better.device)[:, None]
        docs_above = better.cummax(dim=0).values + place
        needed = self.is_level[:, part] & ((place == 0) | (docs_above < self.tally.depth))
        open_levels: Tensor = needed & (near.close > 0)
        return open_levels

    def add_exact(self, part: slice, near: Near) -> None:
        """Add what float64 scores say of a block."""
        self.better[:, part] += near.above
        self.tied[:, part] += near.close

    def take_back(
        self, part: slice, above: Int32[Tensor, "places n"], mask: Bool[Tensor, "places n"]
    ) -> None:
        """Take back what was added for the levels that are marked."""
        self.better[:, part] -= above * mask

    def decide(
        self,
        scores: Float64[np.ndarray, "calls"],
        item: Int[np.ndarray, "calls"],
        place: Int[np.ndarray, "calls"],
    ) -> None:
        """Add close calls by their float64 scores, each around the level of an item at a place."""
        difference = scores - self.tally.levels.score[item, place]
        margin = self.tally.tie_margin[item]
        is_above = difference > margin
        is_tied = (difference >= -margin) & ~is_above
        for counts, mask in ((self.better, is_above), (self.tied, is_tied)):
            cells = as_tensor(place[mask], counts.device), as_tensor(item[mask], counts.device)
            counts.index_put_(cells, counts.new_ones(()), accumulate=True)

    def finish(self) -> None:
        """Bring the counts back into the tally."""
        self.tally.levels.better[:] = self.better.T.cpu().numpy()
        self.tally.levels.tied[:] = self.tied.T.cpu().numpy()


class StepCounter:
    """The tallies of one step on the card, and how a block is counted into them."""

    def __init__(self, step: Step, device: str) -> None:
        self.step, self.device = step, device
        doc_tally = step.doc_tally
        self.queries = DeviceTally(step.query_tally, device)
        if doc_tally is None:
            doc_tally = _no_levels(len(step.docs))
        self.docs = DeviceTally(doc_tally, device)
        self.doc_rows: dict[int, Tensor] = {}  # of blocks that are multiplied again, by the first
        self.scales: BlockScales | None = None
        if step.scales is not None:
            query_scales = as_tensor(step.scales.queries, device)
            self.scales = BlockScales(query_scales, as_tensor(step.scales.docs, device))

    def count(self, sums: Float32[Tensor, "c b"], queries: slice, docs: slice) -> None:
        """Count a block of sums; relevant documents are -inf."""
        scales = None
        if self.scales is not None:
            scales = BlockScales(self.scales.queries[queries], self.scales.docs[docs])
        query_bounds, doc_bounds = self.queries.close_bounds(queries), self.docs.close_bounds(docs)
        near = count_block(sums, scales, query_bounds, doc_bounds)
        open_queries = self.queries.add_sure(queries, near.queries)
        open_docs = self.docs.add_sure(docs, near.docs)
        close = (near.queries.close * open_queries).sum() + (near.docs.close * open_docs).sum()
        n_close = int(close)  # the host waits for the card here alone
        if n_close == 0:
            return
        if n_close * self.step.queries.shape[1] > HOST_VALUES:
            self.queries.take_back(queries, near.queries.above, open_queries)
            self.docs.take_back(docs, near.docs.above, open_docs)
            self._count_in_float64(sums.isneginf(), queries, docs, open_queries, open_docs)
            return
        query_bounds, doc_bounds = query_bounds.of(open_queries), doc_bounds.of(open_docs)
        calls = list_close(sums, scales, query_bounds, doc_bounds, n_close)
        self._decide(calls.cpu().numpy(), queries, docs)

    def _decide(self, calls: Int32[np.ndarray, "calls 3"], queries: slice, docs: slice) -> None:
        """Decide close calls on the host."""
        query, doc, place = calls.astype(np.int64).T
        scores = many_pair_scores(self.step.queries[queries], self.step.docs[docs], query, doc)
        n_places = len(self.queries.level)
        of_query, of_doc = place < n_places, place >= n_places
        query, doc = query + queries.start, doc + docs.start
        self.queries.decide(scores[of_query], query[of_query], place[of_query])
        self.docs.decide(scores[of_doc], doc[of_doc], place[of_doc] - n_places)

    def _count_in_float64(
        self,
        is_relevant: Bool[Tensor, "c b"],
        queries: slice,
        docs: slice,
        open_queries: Bool[Tensor, "places c"],
        open_docs: Bool[Tensor, "_ b"],
    ) -> None:
        """Multiply a block again, and count around the levels that are marked."""
        query_rows = as_tensor(self.step.queries[queries], self.device).double()
        query_bounds = self.queries.tie_bounds(queries, open_queries)
        for first in range(docs.start, docs.stop, DENSE_DOCS):
            part = slice(first, min(first + DENSE_DOCS, docs.stop))
            in_block = slice(part.start - docs.start, part.stop - docs.start)
            # every strip of queries comes by here
            if first not in self.doc_rows:
                self.doc_rows[first] = as_tensor(self.step.docs[part], self.device)
            scores = query_rows @ self.doc_rows[first].double().T
            scores.masked_fill_(is_relevant[:, in_block], -torch.inf)
            doc_bounds = self.docs.tie_bounds(part, open_docs[:, in_block])
            near: BothNear = count_block(scores, None, query_bounds, doc_bounds)
            self.queries.add_exact(queries, near.queries)
            self.docs.add_exact(part, near.docs)

    def finish(self) -> None:
        """Bring the counts of both directions back."""
        self.queries.finish()
        self.docs.finish()


def _no_levels(n: int) -> Tally:
    """The tally of documents around which nothing is counted."""
    counts = np.zeros((n, 0), dtype=np.int64)
    levels = Levels(np.zeros((n, 0), dtype=bool), np.zeros((n, 0)), counts, counts, counts)
    return Tally(levels, np.zeros(n), np.zeros(n))
