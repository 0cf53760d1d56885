"""How well two sets of rows agree: the tail of their cosines, and their norms, part by part.

The tail and not the mean: a server that breaks one text in a thousand has a mean cosine of 0.999,
and so has one that rounds each value. Parts, because most faults touch some of them only: long texts,
one script, images that are not square.

Shapes: n items, d dimensions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from evals.parity.probe import LENGTHS, Label
from evals.schema import Kind

TAIL = 0.001  # the quantile that stands beside the minimum


class Compared(NamedTuple):
    """The rows of all items of one kind by both models, and what the items are like.

    Rows are as the models gave them; of unequal widths the wider ones are `first_values`.
    """

    kind: Kind
    labels: Sequence[Label]
    a: Float[np.ndarray, "n d"]
    b: Float[np.ndarray, "n d"]


class Agreement(NamedTuple):
    """A group of items: quantiles of the cosine between their two rows, and norms.

    `by` is what the group is of: "all", "language", "length" or "shape". `norm_a` and `norm_b` are
    medians; `norm_change` is the largest relative change of a norm from A to B.
    """

    kind: Kind
    by: str
    group: str
    n: int
    cosine_min: float
    cosine_tail: float
    cosine_median: float
    norm_a: float
    norm_b: float
    norm_change: float
    worst: str


def agreements(compared: Compared) -> list[Agreement]:
    """All items of a kind, and then each language, length or shape where there are several."""
    cosines = row_cosines(compared.a, compared.b)
    everything = np.ones(len(cosines), dtype=bool)
    # One cosine per item is computed once; every group is a selection of them.
    groups = [_agreement(compared, cosines, everything, by="all", group="all")]
    fields = ("language", "length") if compared.kind == "text" else ("shape",)
    for field in fields:
        values = np.array([getattr(label, field) for label in compared.labels])
        names = sorted(dict.fromkeys(values.tolist()), key=_place)
        if len(names) > 1:
            groups += [
                _agreement(compared, cosines, values == name, by=field, group=name)
                for name in names
            ]
    return groups


def _place(name: str) -> int:
    """Where a group stands: lengths by length, all others as they come."""
    order = [length for _, length in LENGTHS]
    return order.index(name) if name in order else 0


def row_cosines(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]
) -> Float64[np.ndarray, "n"]:
    """The cosine of each pair of rows, in float64.

    Two zero rows agree (1); one alone agrees with nothing (0).
    """
    # float64: in float32 the cosine of equal rows errs by 1e-7, more than some causes move it.
    norms = _norms(a) * _norms(b)
    products = np.einsum("ij,ij->i", a, b, dtype=np.float64)
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    cosines: np.ndarray = np.divide(products, norms, out=np.zeros(len(a)), where=norms > 0)
    cosines[both_zero] = 1.0
    inside: np.ndarray = np.clip(cosines, -1.0, 1.0)
    return inside


def first_values(rows: Float[np.ndarray, "n d"], dim: int) -> Float[np.ndarray, "n dim"]:
    """The first values of each row, scaled to the norm of the whole row.

    A norm is a property of the whole row: that of a part says nothing of how a model normalises.
    """
    if rows.shape[1] == dim:
        return rows
    part = rows[:, :dim]
    norms = _norms(part)
    scale = np.divide(_norms(rows), norms, out=np.zeros(len(rows)), where=norms > 0)
    scaled: np.ndarray = (part * scale[:, None]).astype(rows.dtype)
    return scaled


def unit(rows: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """The rows at norm 1, in float64; a zero row stays zero."""
    norms = _norms(rows)[:, None]
    result: np.ndarray = rows.astype(np.float64) / np.where(norms > 0, norms, 1)
    return result


def _norms(rows: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n"]:
    norms: np.ndarray = np.linalg.norm(rows.astype(np.float64), axis=1)
    return norms


def _agreement(
    compared: Compared,
    cosines: Float64[np.ndarray, "n"],
    members: Bool[np.ndarray, "n"],
    *,
    by: str,
    group: str,
) -> Agreement:
    chosen = cosines[members]
    norms_a, norms_b = _norms(compared.a[members]), _norms(compared.b[members])
    # Relative to A, whose norms are the reference; of a zero row the change is absolute.
    change = np.abs(norms_b - norms_a) / np.where(norms_a > 0, norms_a, 1)
    worst = int(np.flatnonzero(members)[chosen.argmin()])
    return Agreement(
        kind=compared.kind,
        by=by,
        group=group,
        n=len(chosen),
        cosine_min=float(chosen.min()),
        cosine_tail=float(np.quantile(chosen, TAIL)),
        cosine_median=float(np.median(chosen)),
        norm_a=float(np.median(norms_a)),
        norm_b=float(np.median(norms_b)),
        norm_change=float(change.max()),
        worst=compared.labels[worst].id,
    )
