"""Fewer dimensions of the same embeddings: the first values of each row, L2-normalised again (Matryoshka).

Source: Kusupati et al. 2022, Matryoshka Representation Learning (https://arxiv.org/abs/2205.13147).

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
