"""What a ranking is worth: truncation, and the metrics of each query, in which ties count in expectation.

Shapes: q queries, n rows, d dimensions.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64

from evals.embeddings.threads import over_rows
from evals.ranking.levels import DEPTH
from evals.ranking.ranks import Ranks


class Cut(NamedTuple):
    """Rows cut to some dimensions and L2-normalised, and what their norms were before that."""

    rows: Float32[np.ndarray, "n d"]
    norms: Float64[np.ndarray, "n"]


def truncate(rows: Float[np.ndarray, "n d"], dim: int) -> Float32[np.ndarray, "n {dim}"]:
    """The first `dim` values of each row, L2-normalised; a row of zeros stays zero. Raises ValueError for a misfit."""
    return truncations(rows, [dim])[dim].rows


def truncations(rows: Float[np.ndarray, "n d"], dims: Sequence[int]) -> dict[int, Cut]:
    """`truncate` to each of the dimensions, in ascending order, from one pass over the rows."""
    if misfit := [dim for dim in dims if not 1 <= dim <= rows.shape[1]]:
        raise ValueError(f"cannot keep {misfit[0]} of {rows.shape[1]} dimensions")
    widths = sorted(set(dims))
    cuts = {
        dim: Cut(np.empty((len(rows), dim), dtype=np.float32), np.empty(len(rows)))
        for dim in widths
    }

    def fill(some: slice) -> None:
        whole = rows[some, : widths[-1]].astype(np.float64, order="C")
        squares = np.square(whole)
        for dim, cut in cuts.items():
            cut.norms[some] = norms = np.sqrt(squares[:, :dim].sum(axis=1))
            np.divide(
                whole[:, :dim],
                np.where(norms == 0, 1, norms)[:, None],
                out=cut.rows[some],
                casting="same_kind",
            )

    over_rows(fill, *rows.shape)
    return cuts


def hit_at(ranks: Ranks, k: int) -> Float64[np.ndarray, "q"]:
    """P(a relevant document is among the first k), equal scores in random order: 1 - C(t, k-g) / C(t+r, k-g)."""
    g, t, r = ranks.better, ranks.tied, ranks.tied_relevant
    miss = np.ones(len(ranks))
    for i in range(
        k
    ):  # C(t, m) / C(t+r, m) as a product of m shares: nothing overflows, and from i = t on it is 0
        miss *= np.where(i < k - g, (t - i) / np.maximum(t + r - i, 1), 1.0)
    return 1.0 - miss


def reciprocal_rank(ranks: Ranks) -> Float64[np.ndarray, "q"]:
    """Expected 1 / rank of the first relevant document, equal scores in random order."""
    values = 1.0 / (ranks.better + 1.0)
    at = np.flatnonzero(ranks.tied)
    cases, case = np.unique(
        np.stack([ranks.better, ranks.tied, ranks.tied_relevant])[:, at],
        axis=1,
        return_inverse=True,
    )
    values[at] = np.array([_expected_reciprocal(*map(int, column)) for column in cases.T])[case]
    return values


def expected_rank(ranks: Ranks) -> Float64[np.ndarray, "q"]:
    """Expected rank, from 1, of the first relevant document: g + 1 + t / (r + 1)."""
    rank: np.ndarray = ranks.better + 1 + ranks.tied / (ranks.tied_relevant + 1)
    return rank


def per_query(ranks: Ranks, ks: Sequence[int] = (1, 5, 10)) -> dict[str, Float64[np.ndarray, "q"]]:
    """The metrics that are means over queries, in [0, 1], by their public names; `mean` makes them one number."""
    return {f"R@{k}": hit_at(ranks, k) for k in ks} | {
        "MRR": reciprocal_rank(ranks),
        f"nDCG@{DEPTH}": ranks.ndcg10,
    }


def mean(values: Float[np.ndarray, "q"]) -> float:
    """The mean, summed exactly: the order of the queries changes no bit. Raises ValueError when there are none."""
    if len(values) == 0:
        raise ValueError("the mean of no queries")
    total = float(values.sum())
    if (
        abs(total) >= 2.0**53 or not (values == np.rint(values)).all()
    ):  # whole numbers add up exactly in any order
        total = math.fsum(values.tolist())
    return total / len(values)


def mean_rank(ranks: Ranks) -> float:
    """The mean over queries of the expected rank."""
    return mean(expected_rank(ranks))


def median_rank(ranks: Ranks) -> float:
    """The median over queries of the expected rank."""
    return float(np.median(expected_rank(ranks)))


def tie_rate(ranks: Ranks) -> float:
    """Share of the queries whose best relevant document ties with an irrelevant one."""
    return mean((ranks.tied > 0).astype(np.float64))


def _expected_reciprocal(g: int, t: int, r: int) -> float:
    """Of the t + r documents after the first g, the first relevant one is the x-th with P = C(t+r-x, r-1) / C(t+r, r)."""
    x = np.arange(1.0, t + 1)
    chance = np.cumprod(np.concatenate([[r / (t + r)], (t + 1 - x) / (t + r - x)]))
    return float((chance / (g + np.arange(1.0, t + 2))).sum())
