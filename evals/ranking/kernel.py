"""Counting a block of scores by single CUDA kernels, in Triton: one reads each score once for all levels around it.

torch would pass over the scores for every level and comparison. `count_block` does all levels of
the queries and of the documents of a block in one pass: how many scores are surely above each, and
how many are too close to it to say. `list_close` names the latter, which are few.

No kernel here multiplies rows. Products come from cuBLAS in full float32 (products.full_float32),
a prefix's before those of the dimensions that follow. Whatever kernel made them, their error is
within the close margin of ranks.new_tally, which holds for any order of summation, with or without
fused multiplication. A score outside the margin is on the right side of its level, and one inside
is decided elsewhere in float64. So ranks depend on no kernel, tile or order of atomic additions.

Imported only where scores are on CUDA; TRITON_INTERPRET=1 runs the kernels on a CPU, as tests do.
They are compiled ahead for sm_80, sm_90 and sm_100 by the tests, and have run on no card yet.

Shapes: c queries and b documents of a block, places of the levels of either, calls that are close.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float, Float32, Int32
from torch import Tensor

# A program's tile, in registers of 128 threads. Twice as large, it no longer fits beside the counts.
COUNT_TILE = {"BLOCK_Q": 32, "BLOCK_D": 128}
LIST_TILE = {"BLOCK_Q": 32, "BLOCK_D": 64}
# Without fusion the compiler may not round a score in one kernel otherwise than in the other.
OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}
# Compiled once for all values: strips and last blocks have sizes of all kinds.
SIZES = ["queries", "docs", "query_places", "doc_places"]


class Bounds(NamedTuple):
    """The levels of a side of a block: from `low` on a score may be on one, past `high` it is above.

    Infinity where there is no level, or none that is needed.
    """

    low: Float[Tensor, "places n"]
    high: Float[Tensor, "places n"]

    def of(self, mask: Bool[Tensor, "places n"]) -> "Bounds":
        """Those of the levels that are marked."""
        return Bounds(*(torch.where(mask, bound, torch.inf) for bound in self))


class Near(NamedTuple):
    """Scores of a block around each level of a side: surely above it, and too close to say."""

    above: Int32[Tensor, "places n"]
    close: Int32[Tensor, "places n"]


class BlockScales(NamedTuple):
    """Factors that turn the sums of a block into scores."""

    queries: Float32[Tensor, "c"]
    docs: Float32[Tensor, "b"]


class BothNear(NamedTuple):
    """What is near the levels of both sides."""

    queries: Near
    docs: Near


@triton.jit
@no_type_check
def load_scores(
    sums, query_scales, doc_scales, queries, docs, row_stride,
    SCALED: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """The queries and documents of a program's tile, and its scores: -inf outside of the block."""
    query = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    doc = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = (query < queries)[:, None] & (doc < docs)[None, :]
    places = sums + query.to(tl.int64)[:, None] * row_stride + doc[None, :]
    scores = tl.load(places, mask=inside, other=float("-inf"))
    if SCALED:
        # Both kernels must round a score alike, or they would not agree on what is close.
        doc_scale = tl.load(doc_scales + doc, mask=doc < docs, other=1.0)
        query_scale = tl.load(query_scales + query, mask=query < queries, other=1.0)
        scores = scores * doc_scale[None, :] * query_scale[:, None]
    return query, doc, scores


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def count_kernel(
    sums, query_scales, doc_scales, query_low, query_high, doc_low, doc_high,
    query_above, query_close, doc_above, doc_close,
    queries, docs, row_stride, query_places, doc_places,
    SCALED: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """A program counts a tile around the levels of its queries and of its documents."""
    query, doc, scores = load_scores(
        sums, query_scales, doc_scales, queries, docs, row_stride, SCALED, BLOCK_Q, BLOCK_D
    )
    is_query, is_doc = query < queries, doc < docs
    for place in range(query_places):
        cell = place * queries + query
        low = tl.load(query_low + cell, mask=is_query, other=float("inf"))
        high = tl.load(query_high + cell, mask=is_query, other=float("inf"))
        above = tl.sum((scores > high[:, None]).to(tl.int32), axis=1)
        close = tl.sum((scores >= low[:, None]).to(tl.int32), axis=1) - above
        # Levels of a good model are high: most tiles have no score near one, and add nothing.
        tl.atomic_add(query_above + cell, above, mask=above > 0)
        tl.atomic_add(query_close + cell, close, mask=close > 0)
    for place in range(doc_places):
        cell = place * docs + doc
        low = tl.load(doc_low + cell, mask=is_doc, other=float("inf"))
        high = tl.load(doc_high + cell, mask=is_doc, other=float("inf"))
        above = tl.sum((scores > high[None, :]).to(tl.int32), axis=0)
        close = tl.sum((scores >= low[None, :]).to(tl.int32), axis=0) - above
        tl.atomic_add(doc_above + cell, above, mask=above > 0)
        tl.atomic_add(doc_close + cell, close, mask=close > 0)


@triton.jit
@no_type_check
def append(is_close, query, doc, place, length, calls):
    """Write the close calls of a tile behind those that other programs have written."""
    ones = is_close.to(tl.int32)
    of_row = tl.sum(ones, axis=1)
    n_close = tl.sum(of_row, axis=0)
    if n_close > 0:
        start = tl.atomic_add(length, n_close)
        row_starts = start + tl.cumsum(of_row, axis=0) - of_row
        entry = calls + 3 * (row_starts[:, None] + tl.cumsum(ones, axis=1) - ones)
        tl.store(entry, query[:, None] + tl.zeros_like(ones), mask=is_close)
        tl.store(entry + 1, doc[None, :] + tl.zeros_like(ones), mask=is_close)
        tl.store(entry + 2, place + tl.zeros_like(ones), mask=is_close)


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def list_kernel(
    sums, query_scales, doc_scales, query_low, query_high, doc_low, doc_high,
    length, calls, queries, docs, row_stride, query_places, doc_places,
    SCALED: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """A program lists the close calls of a tile: query, document and place, in any order."""
    query, doc, scores = load_scores(
        sums, query_scales, doc_scales, queries, docs, row_stride, SCALED, BLOCK_Q, BLOCK_D
    )
    is_query, is_doc = query < queries, doc < docs
    for place in range(query_places):
        cell = place * queries + query
        low = tl.load(query_low + cell, mask=is_query, other=float("inf"))[:, None]
        high = tl.load(query_high + cell, mask=is_query, other=float("inf"))[:, None]
        append((scores >= low) & (scores <= high), query, doc, place, length, calls)
    for place in range(doc_places):
        cell = place * docs + doc
        low = tl.load(doc_low + cell, mask=is_doc, other=float("inf"))[None, :]
        high = tl.load(doc_high + cell, mask=is_doc, other=float("inf"))[None, :]
        is_close = (scores >= low) & (scores <= high)
        append(is_close, query, doc, query_places + place, length, calls)


def count_block(
    sums: Float[Tensor, "c b"], scales: BlockScales | None, queries: Bounds, docs: Bounds
) -> BothNear:
    """What is near the levels of a block's queries and documents.

    Sums and bounds are float32, or all float64. A sum of -inf is counted nowhere.
    """
    counted = []
    for bounds in (queries, docs):
        above, close = torch.zeros(
            (2, *bounds.low.shape), dtype=torch.int32, device=bounds.low.device
        )
        counted.append(Near(above, close))
    _launch(count_kernel, COUNT_TILE, sums, scales, queries, docs, *counted[0], *counted[1])
    return BothNear(*counted)


def list_close(
    sums: Float[Tensor, "c b"],
    scales: BlockScales | None,
    queries: Bounds,
    docs: Bounds,
    n_close: int,
) -> Int32[Tensor, "calls 3"]:
    """The query, document and place of each close call, of which there are `n_close`.

    Places of the documents' levels are numbered behind those of the queries'. Raises RuntimeError
    for another number of calls.
    """
    length = torch.zeros(1, dtype=torch.int32, device=sums.device)
    calls = torch.empty((n_close, 3), dtype=torch.int32, device=sums.device)
    _launch(list_kernel, LIST_TILE, sums, scales, queries, docs, length, calls)
    if int(length) != n_close:
        raise RuntimeError(f"{n_close} close calls were counted, and {int(length)} listed")
    return calls


def on_card(device: str) -> AbstractContextManager[object]:
    """Triton starts its kernels on the current card, wherever the tensors are."""
    return torch.cuda.device(device) if device.startswith("cuda") else nullcontext()


def try_kernels(device: str) -> None:
    """Count a block of three scores. Raises what the compiler or the driver does, and RuntimeError."""
    scores, level = (
        torch.tensor([[3.0, 1.0, 2.0]], device=device),
        torch.tensor([[2.0]], device=device),
    )
    bounds, no_levels = Bounds(level, level), Bounds(scores[:0], scores[:0])
    with on_card(device):
        above, close = count_block(scores, None, bounds, no_levels).queries
        calls = list_close(scores, None, bounds, no_levels, n_close=1)
    if (above.item(), close.item(), calls.tolist()) != (1, 1, [[0, 2, 0]]):
        raise RuntimeError(f"{above} above, {close} close, {calls} of three scores")


def _launch(
    kernel: Any,
    tile: Mapping[str, int],
    sums: Tensor,
    scales: BlockScales | None,
    queries: Bounds,
    docs: Bounds,
    *outputs: Tensor,
) -> None:
    """Run a program for each tile of a block."""
    n_queries, n_docs = sums.shape
    grid = (triton.cdiv(n_queries, tile["BLOCK_Q"]), triton.cdiv(n_docs, tile["BLOCK_D"]))
    # without scales their pointers are not read
    query_scales, doc_scales = (sums, sums) if scales is None else scales
    bounds = [bound.contiguous() for bound in (*queries, *docs)]
    kernel[grid](
        sums, query_scales, doc_scales, *bounds, *outputs,
        n_queries, n_docs, sums.stride(0), len(queries.low), len(docs.low),
        SCALED=scales is not None, **tile, **OPTIONS,
    )  # fmt: skip
