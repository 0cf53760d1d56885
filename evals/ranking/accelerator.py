"""Counts on accelerators without Triton's kernels; skips groups of 64 documents that have no score near a level.

An accelerator multiplies faster than it can be asked about single scores. So it gives the best
score of each group, a 64th of the data, and only the groups whose best one reaches a level are
counted, on the host. On an H200 that took 89 times as long as the bare product of 5,000 x 25,000
rows (benchmarks/results/2026-11-27-h200); a CUDA card now takes the way of cuda.py. Counts are
those of cpu.py, which looks at every score.

Shapes: c queries and b documents of a block.
"""

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from evals.ranking.levels import (
    Block,
    Comparisons,
    Step,
    Tally,
    count_exactly,
    needed_levels,
)
from evals.ranking.products import as_tensor
from evals.ranking.shapes import BlockDocs, BlockQueries

if TYPE_CHECKING:
    import torch

GROUP = 64  # documents that are counted, or passed over, together


def count(
    step: Step,
    sums: "torch.Tensor | None",
    products: "torch.Tensor",
    queries: slice,
    docs: slice,
    lock: Lock,
) -> "torch.Tensor":
    """Count at a step, see levels.Count: along the queries of a block, then along its documents."""
    sums = products if sums is None else sums.add_(products)
    scores = _scaled(step, sums[:, : docs.stop - docs.start], queries, docs)
    query_rows, doc_rows = step.queries[queries], step.docs[docs]
    for block in _grouped(query_rows, doc_rows, scores):
        _add_counts(block, step.query_tally, queries, lock)
    if step.doc_tally is not None:
        # The other direction reads the same scores: a transpose costs no product.
        for block in _grouped(doc_rows, query_rows, scores.T):
            _add_counts(block, step.doc_tally, docs, lock)
    return sums


def _scaled(step: Step, sums: "torch.Tensor", queries: slice, docs: slice) -> "torch.Tensor":
    """The sums of a block as scores."""
    if step.scales is None:
        return sums
    doc_scales = as_tensor(step.scales.docs[docs], sums.device)
    query_scales = as_tensor(step.scales.queries[queries], sums.device)
    return (sums * doc_scales).mul_(query_scales[:, None])


def _grouped(queries: BlockQueries, docs: BlockDocs, scores: "torch.Tensor") -> list[Block]:
    """The scores `c b` as `c groups size`; documents that fill no group make a second block."""
    full = len(docs) - len(docs) % GROUP
    blocks = []
    if full:
        groups = scores[:, :full].unflatten(1, (-1, GROUP))
        blocks.append(Block(queries, docs[:full], groups))
    if full < len(docs):
        blocks.append(Block(queries, docs[full:], scores[:, None, full:]))
    return blocks


def _add_counts(block: Block, tally: Tally, queries: slice, lock: Lock) -> None:
    """Add what a block has around the levels of its queries."""
    level = tally.levels.score[queries]
    margin = tally.close_margin[queries]
    # from here on a score may be on the level or above; infinity: the level is not needed
    low = (level - margin[:, None]).astype(np.float32)
    low = np.where(needed_levels(tally, queries), low, np.float32(np.inf))
    best = _best_of_groups(block.scores)
    reaches = best[:, None, :] >= low[:, :, None]
    query, place, group = np.nonzero(reaches)
    if query.size == 0:
        return
    comparisons = Comparisons(
        query=query,
        group=group,
        level=level[query, place],
        close_margin=margin[query],
        tie_margin=tally.tie_margin[queries][query],
    )
    counts = count_exactly(block, comparisons)
    with lock:
        np.add.at(tally.levels.better[queries], (query, place), counts.better)
        np.add.at(tally.levels.tied[queries], (query, place), counts.tied)


def _best_of_groups(scores: "torch.Tensor") -> Float32[np.ndarray, "c groups"]:
    """The best score of each group."""
    # torch is 30 times slower where the innermost dimension of memory is the first
    inner_first = scores.stride(0) == 1
    peaks = scores.permute(1, 2, 0).amax(dim=1).T if inner_first else scores.amax(dim=2)
    best: np.ndarray = peaks.cpu().numpy()
    return best
