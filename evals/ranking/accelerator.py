"""Counting on an accelerator: only the few groups of documents that hold anything near a level are looked at.

Shapes: c queries and b documents of a block.
"""

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from evals.ranking.levels import Block, Search, Step, asked, count_exactly
from evals.ranking.products import as_tensor

if TYPE_CHECKING:
    import torch


def count(
    step: Step,
    sums: "torch.Tensor | None",
    more: "torch.Tensor",
    rows: slice,
    cols: slice,
    lock: Lock,
) -> "torch.Tensor":
    """Count at a step, of the few groups of documents that hold anything near a level: what suits an accelerator."""
    sums = more if sums is None else sums.add_(more)
    scores, queries, docs = (
        _scaled(step, sums[:, : cols.stop - cols.start], rows, cols),
        step.queries[rows],
        step.docs[cols],
    )
    _add_groups(Block(rows, queries, docs, scores), step.by_row, lock)
    if step.by_col is not None:
        _add_groups(Block(cols, docs, queries, scores.T), step.by_col, lock)
    return sums


def _scaled(step: Step, sums: "torch.Tensor", rows: slice, cols: slice) -> "torch.Tensor":
    """The sums of a block as scores."""
    if step.scales is None:
        return sums
    of_queries, of_docs = step.scales
    return (sums * as_tensor(sums.device, of_docs[cols])).mul_(
        as_tensor(sums.device, of_queries[rows])[:, None]
    )


def _add_groups(block: Block, search: Search, lock: Lock) -> None:
    levels = search.levels
    score, close, tie = levels.score[block.rows], search.close[block.rows], search.tie[block.rows]
    low = np.where(
        asked(search, block.rows), (score - close[:, None]).astype(np.float32), np.float32(np.inf)
    )
    for part in block.grouped():
        at, place, group = np.nonzero(_peaks(part.scores)[:, None, :] >= low[:, :, None])
        if at.size:
            counts = count_exactly(part, at, group, score[at, place], close[at], tie[at])
            with lock:  # other threads count other documents for the same queries
                np.add.at(levels.better[block.rows], (at, place), counts.above)
                np.add.at(levels.tied[block.rows], (at, place), counts.beside)


def _peaks(scores: "torch.Tensor") -> Float32[np.ndarray, "c groups"]:
    """The best score of each group. Torch is 30 times slower where the innermost dimension of memory is the first."""
    inner_first = scores.stride(0) == 1
    peaks = scores.permute(1, 2, 0).amax(dim=1).T if inner_first else scores.amax(dim=2)
    best: np.ndarray = peaks.cpu().numpy()
    return best
