"""Tests many metrics of two runs at once, so that a false alarm among all of them stays rare.

Shapes: g groups (images), m metrics, s sign flips.

The metrics of a benchmark move together: languages share their images, and a hit among the first 5
is one among the first 10. Holm's correction adds their chances up as if they did not. Here the two
runs are swapped image by image, in all metrics at once, and the largest drop of any metric is noted:
the chance of a drop as large as the one that was seen, of whichever metric, is its adjusted p.
This is the step-down maxT procedure of Westfall & Young (1993, algorithm 4.1); it holds the family-wise
error where the two runs are exchangeable, and gives as many metrics as Holm's or more.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64

from evals.stats.bootstrap import CHUNK

ROUNDING = 1e-9
# what each group of a block adds to the change of each of its metrics
Shares = Float64[np.ndarray, "_ _"]


def step_down(
    blocks: Sequence[Shares], *, seed: int = 0, flips: int = 5000
) -> list[Float64[np.ndarray, "_"]]:
    """Adjusted one-sided p values of a drop, for the metrics of each block; all blocks are one family.

    A block holds what each group adds to the change of its metrics, new less old; their sum over
    groups is the change. Groups of different blocks are different ones. A drop is measured in
    standard errors under random signs, sum / sqrt(sum of squares). A metric that no group changes
    has p 1. The data count as one of the permutations, so p is never 0.
    """
    if not blocks:
        return []
    drops = np.concatenate([_drops(block) for block in blocks])
    # the largest drop first: a metric competes with those that fell less
    order = np.argsort(-drops, kind="stable")
    # drops of whole queries are often equal, and differ by rounding: those count as reached
    reached = drops[order] - ROUNDING
    beyond = np.zeros(len(drops))
    for largest in _flipped(blocks, order, seed, flips):
        beyond += (largest >= reached).sum(axis=0)
    # the p of a smaller drop is never below that of a larger one
    ordered = np.maximum.accumulate((beyond + 1) / (flips + 1))
    p = np.empty(len(drops))
    p[order] = ordered
    ends = np.cumsum([block.shape[1] for block in blocks])[:-1]
    return np.split(p, ends)


def _drops(block: Float64[np.ndarray, "g m"]) -> Float64[np.ndarray, "m"]:
    """How many standard errors under random signs each metric fell; 0 where nothing changed."""
    errors = _errors(block)
    drops: np.ndarray = -block.sum(axis=0) / errors
    return drops


def _errors(block: Float64[np.ndarray, "g m"]) -> Float64[np.ndarray, "m"]:
    errors: np.ndarray = np.sqrt((block**2).sum(axis=0))
    # any positive number does where all shares are 0: the drop stays 0
    errors[errors == 0] = 1.0
    return errors


def _flipped(
    blocks: Sequence[Shares], order: np.ndarray, seed: int, flips: int
) -> Iterator[Float64[np.ndarray, "s m"]]:
    """Under random signs, the largest drop among each metric and those that fell less than it."""
    rng = np.random.Generator(np.random.PCG64(seed))
    # groups in which nothing changed add nothing whatever their sign
    scaled = [block[block.any(axis=1)] / _errors(block) for block in blocks]
    for start in range(0, flips, CHUNK):
        n = min(CHUNK, flips - start)
        signs = [rng.integers(2, size=(n, len(block)), dtype=np.int8) for block in scaled]
        drops = []
        for sign, block in zip(signs, scaled, strict=True):
            drops.append((2.0 * sign - 1.0) @ block)
        ordered = np.concatenate(drops, axis=1)[:, order]
        # the running maximum from the smallest drop upwards
        yield np.maximum.accumulate(ordered[:, ::-1], axis=1)[:, ::-1]
