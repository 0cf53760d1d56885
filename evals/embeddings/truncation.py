"""Fewer dimensions of the same embeddings: the first values of each row, normalised again.

Models of the Matryoshka kind are trained for it (Kusupati et al. 2022,
https://arxiv.org/abs/2205.13147). Order matters: first cut, then normalise, and average prompts
only after both.

Shapes: n rows, d dimensions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64

from evals.embeddings.threads import over_rows


class Cut(NamedTuple):
    """Rows cut to some dimensions and L2-normalised, and what their norms were before that."""

    rows: Float32[np.ndarray, "n d"]
    norms: Float64[np.ndarray, "n"]


def truncate(rows: Float[np.ndarray, "n d"], dim: int) -> Float32[np.ndarray, "n {dim}"]:
    """The first `dim` values of each row, L2-normalised; a row of zeros stays zero.

    Raises ValueError for a dimension below 1 or above the width of the rows.
    """
    return truncations(rows, [dim])[dim].rows


def truncations(rows: Float[np.ndarray, "n d"], dims: Sequence[int]) -> dict[int, Cut]:
    """`truncate` to each of the dimensions, in ascending order, from one pass over the rows.

    Raises ValueError as `truncate` does.
    """
    # Refused, and not cut short: numpy would give 768 values where 1,024 were asked for.
    for dim in dims:
        if not 1 <= dim <= rows.shape[1]:
            raise ValueError(f"cannot keep {dim} of {rows.shape[1]} dimensions")
    widths = sorted(set(dims))
    cuts = {
        dim: Cut(np.empty((len(rows), dim), dtype=np.float32), np.empty(len(rows)))
        for dim in widths
    }

    def fill(part: slice) -> None:
        # In float64: the norm of a prefix errs by less than the last bit of its float32 row.
        widest = rows[part, : widths[-1]].astype(np.float64, order="C")
        squares = np.square(widest)
        for dim, cut in cuts.items():
            norms = np.sqrt(squares[:, :dim].sum(axis=1))
            cut.norms[part] = norms
            # 1 in place of 0: a row of zeros is divided by it and stays zero.
            divisors = np.where(norms == 0, 1, norms)[:, None]
            np.divide(widest[:, :dim], divisors, out=cut.rows[part], casting="same_kind")

    over_rows(fill, *rows.shape)
    return cuts
