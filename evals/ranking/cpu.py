"""The inner loop of counting on a CPU, compiled by numba: all levels in one pass over a block of scores that is in the cache.

Shapes: c queries and b documents of a block, p and r places.
"""

import inspect
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32
from numba import njit

from evals.ranking.levels import Block, Search, Step, asked, count_exactly
from evals.ranking.products import as_tensor

if TYPE_CHECKING:
    import torch

TILE = 512  # documents whose levels and counts stay in the fastest cache


def count(
    step: Step,
    sums: "torch.Tensor | None",
    more: "torch.Tensor",
    rows: slice,
    cols: slice,
    lock: Lock,
) -> "torch.Tensor":
    """Count at a step: all levels in one pass, and again, exactly, for those that have a close call."""
    shape = len(more), cols.stop - cols.start
    ones = [np.ones(n, dtype=np.float32) for n in shape]
    scales = (
        [scale[part] for scale, part in zip(step.scales, (rows, cols), strict=True)]
        if step.scales
        else ones
    )
    sides = [(step.by_row, rows), (step.by_col, cols)]
    asks = [
        asked(search, part) if search else np.zeros((n, 0), dtype=bool)
        for (search, part), n in zip(sides, shape, strict=True)
    ]
    bounds = [_bounds(search, part, ask) for (search, part), ask in zip(sides, asks, strict=True)]
    counts = [np.zeros((2, ask.shape[1], len(ask)), dtype=np.int32) for ask in asks]
    total, added = (more, more[:0]) if sums is None else (sums, more)
    count_levels(total.numpy(), added.numpy(), *scales, *bounds[0], *bounds[1], *counts)
    scores, queries, docs = total[:, : shape[1]], step.queries[rows], step.docs[cols]
    _add(
        step.by_row,
        rows,
        asks[0],
        counts[0],
        lock,
        _Scored(scores, scales[0], scales[1], queries, docs),
    )
    if step.by_col is not None:
        _add(
            step.by_col,
            cols,
            asks[1],
            counts[1],
            lock,
            _Scored(scores.T, scales[1], scales[0], docs, queries),
        )
    return total


class _Scored(NamedTuple):
    """The sums of some queries with some documents, and what they are made of and scaled by."""

    sums: "torch.Tensor"
    of_queries: Float32[np.ndarray, "c"]
    of_docs: Float32[np.ndarray, "b"]
    queries: Float32[np.ndarray, "c d"]
    docs: Float32[np.ndarray, "b d"]


def _bounds(
    search: Search | None, part: slice, ask: Bool[np.ndarray, "c places"]
) -> tuple[np.ndarray, np.ndarray]:
    """From where on a score is a close call, and above what it is none, as `places c`; infinity where nothing is asked."""
    if search is None:
        return np.zeros((0, len(ask)), np.float32), np.zeros((0, len(ask)), np.float32)
    score, close = search.levels.score[part], search.close[part, None]
    low, high = ((score + sign * close).astype(np.float32) for sign in (-1, 1))
    low, high = np.where(ask, low, np.inf), np.where(ask, high, np.inf)
    return np.ascontiguousarray(low.T), np.ascontiguousarray(high.T)


def _add(
    search: Search,
    part: slice,
    ask: Bool[np.ndarray, "c places"],
    counts: Int32[np.ndarray, "2 places c"],
    lock: Lock,
    of: _Scored,
) -> None:
    at_least, above = counts[0].T, counts[1].T
    levels, sure = search.levels, at_least == above
    with lock:  # other threads count other documents for the same queries
        levels.better[part] += np.where(sure, above, 0)
    at, place = np.nonzero(ask & ~sure)
    if at.size == 0:
        return
    some, at_some = np.unique(at, return_inverse=True)
    scores = (of.sums[as_tensor("cpu", some)] * as_tensor("cpu", of.of_docs)).mul_(
        as_tensor("cpu", of.of_queries[some])[:, None]
    )
    block = Block(part, of.queries[some], of.docs, scores[:, None])
    score, close, tie = levels.score[part][at, place], search.close[part][at], search.tie[part][at]
    exact = count_exactly(block, at_some, np.zeros_like(at), score, close, tie)
    with lock:
        np.add.at(levels.better[part], (at, place), exact.above)
        np.add.at(levels.tied[part], (at, place), exact.beside)


def _count_levels(
    sums: Float32[np.ndarray, "c filled"],
    more: Float32[np.ndarray, "_ filled"],
    row_scale: Float32[np.ndarray, "c"],
    col_scale: Float32[np.ndarray, "b"],
    row_low: Float32[np.ndarray, "p c"],
    row_high: Float32[np.ndarray, "p c"],
    col_low: Float32[np.ndarray, "r b"],
    col_high: Float32[np.ndarray, "r b"],
    row_counts: Int32[np.ndarray, "2 p c"],
    col_counts: Int32[np.ndarray, "2 r b"],
) -> None:
    """Add `more`, if it has rows, to the sums. Then add up how many scores, the sums times both scales, are at least `low`, and
    how many are above `high`, of rows and columns. A level of infinity is not asked for: its counts stay.
    """
    n_rows, n_cols = len(row_scale), len(col_scale)
    scores = np.empty(TILE, np.float32)
    for first in range(0, n_cols, TILE):
        last = min(first + TILE, n_cols)
        n = last - first
        scale = col_scale[first:last]
        for i in range(n_rows):
            part, own = sums[i, first:last], row_scale[i]
            if len(more):
                new = more[i, first:last]
                for j in range(n):
                    part[j] += new[j]
            for j in range(n):
                scores[j] = part[j] * scale[j] * own
            lowest = np.float32(np.inf)
            for place in range(len(row_low)):
                lowest = min(lowest, row_low[place, i])
            reached = np.int32(0)
            for j in range(n):
                reached += np.int32(scores[j] >= lowest)
            for place in range(len(row_low) if reached else 0):  # most rows reach none
                low, high = row_low[place, i], row_high[place, i]
                if low == np.inf:
                    continue
                at_least, above = np.int32(0), np.int32(0)
                for j in range(n):
                    at_least += np.int32(scores[j] >= low)
                    above += np.int32(scores[j] > high)
                row_counts[0, place, i] += at_least
                row_counts[1, place, i] += above
            for place in range(len(col_low)):
                lows, highs = col_low[place, first:last], col_high[place, first:last]
                reached = np.int32(0)
                for j in range(n):
                    reached += np.int32(scores[j] >= lows[j])
                if reached == 0:
                    continue
                at_leasts, aboves = (
                    col_counts[0, place, first:last],
                    col_counts[1, place, first:last],
                )
                for j in range(n):
                    at_leasts[j] += np.int32(scores[j] >= lows[j])
                    aboves[j] += np.int32(scores[j] > highs[j])


def _compiled() -> Callable[..., None]:
    plain = inspect.unwrap(_count_levels)  # what checks shapes in tests cannot be compiled
    try:
        made: Callable[..., None] = njit(nogil=True, cache=True)(plain)
    except RuntimeError:  # no folder can be written to: every process compiles for itself
        made = njit(nogil=True)(plain)
    return made


count_levels = _compiled()
