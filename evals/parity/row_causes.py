"""Causes of a difference that rows show by themselves, whatever made them.

Shapes: n items, d dimensions.
"""

import numpy as np
from jaxtyping import Float

from evals.embeddings.precision import quantise
from evals.parity.agreement import Compared, row_cosines, unit
from evals.parity.causes import Cause, explained_share
from evals.parity.probe import Rows

UNIT = 1e-3  # norms nearer to 1 are 1: bfloat16 normalises to 0.2%
CLOSE = 0.999  # two rows of one text are as near as this
BITS = {
    "int8": "8 bits, with one scale for all rows",
    "int8_rows": "8 bits, with a scale for each row",
    "binary": "1 bit",
}
ALIKE = 1e-4  # unit rows whose values differ by less are one row, computed in other batches
FEWEST = 8  # items below which an order says nothing
DISTINCT = 0.9  # of the rows that items have by another order; equal items share one


def row_causes(compared: Compared) -> list[Cause]:
    """Rows of zeros, rows all alike, norms, width, order and fewer bits, each where the rows prove it."""
    return [
        *_zeros(compared),
        *_constant(compared),
        *_norms(compared),
        *_zero_tail(compared),
        *_order(compared),
        *_bits(compared),
    ]


def width_cause(kind: str, a: Rows, b: Float[np.ndarray, "n narrower"]) -> Cause | None:
    """Fewer values in one of the two; they are the first ones where their cosine says so."""
    if a.shape[1] == b.shape[1]:
        return None
    dim = min(a.shape[1], b.shape[1])
    cosine = float(np.median(row_cosines(a[:, :dim], b[:, :dim])))
    # Matryoshka models (arXiv:2205.13147) are cut to their first values, and to no others.
    is_cut = cosine > CLOSE
    which = "B" if b.shape[1] < a.shape[1] else "A"
    first = "its rows are the first of the other's" if is_cut else "and they are others"
    return Cause(
        kind=kind,
        name="cut" if is_cut else "width",
        cause="width",
        words=f"{which} gives {dim:,} values where the other gives "
        f"{max(a.shape[1], b.shape[1]):,}: {first} (median cosine {cosine:.4f})",
        share=1.0,
        tried=is_cut,
    )


def _zeros(compared: Compared) -> list[Cause]:
    """Items of which one model has nothing but zeros, and the other has not."""
    is_zero = {"A": ~compared.a.any(axis=1), "B": ~compared.b.any(axis=1)}
    causes = []
    for which, other in (("A", "B"), ("B", "A")):
        n_zero = int((is_zero[which] & ~is_zero[other]).sum())
        if n_zero:
            words = f"{which} gives zeros alone for {n_zero:,} of {len(compared.labels):,} "
            words += f"{compared.kind}s, and {other} does not"
            causes.append(Cause(compared.kind, "zeros", "zeros", words, share=1.0, tried=True))
    return causes


def _constant(compared: Compared) -> list[Cause]:
    """One model that gives all items the same row, as a server does that never sees its input.

    Of few items that says nothing: they may be equal themselves.
    """
    spread = {"A": _spread(compared.a), "B": _spread(compared.b)}
    alike = [name for name, largest in spread.items() if largest < ALIKE]
    if len(alike) != 1 or len(compared.labels) < FEWEST:
        return []
    words = f"{alike[0]} gives the same row for all {len(compared.labels):,} {compared.kind}s"
    return [Cause(compared.kind, "constant", "constant", words, share=1.0, tried=True)]


def _spread(rows: Rows) -> float:
    """The largest range of a value over all unit rows."""
    return float(np.ptp(unit(rows), axis=0).max(initial=0.0))


def _zero_tail(compared: Compared) -> list[Cause]:
    """One model's rows cut to their first values and filled up with zeros again.

    An index or a database of a fixed width stores rows of fewer dimensions like this. Other values
    before the zeros explain nothing: then the share is low.
    """
    widths = {name: _width(rows) for name, rows in (("A", compared.a), ("B", compared.b))}
    if widths["A"] == widths["B"]:
        return []
    which = min(widths, key=lambda name: widths[name])
    a, b = unit(compared.a), unit(compared.b)
    filled, zeros = (b, a) if which == "A" else (a, b)
    cut = filled.copy()
    cut[:, widths[which] :] = 0
    share = explained_share(filled, zeros, unit(cut))
    words = f"{which} has zeros after its first {widths[which]:,} of {a.shape[1]:,} values"
    return [Cause(compared.kind, "zero_tail", "filled up", words, share, tried=True)]


def _width(rows: Rows) -> int:
    """Up to which value any row has something else than zero."""
    return int(np.flatnonzero(rows.any(axis=0)).max(initial=-1)) + 1


def _norms(compared: Compared) -> list[Cause]:
    """One model whose rows have norm 1, and one whose rows have not."""
    spread = {}
    for name, rows in (("A", compared.a), ("B", compared.b)):
        norms = np.linalg.norm(rows.astype(np.float64), axis=1)
        # A row of zeros has no direction to normalise.
        norms = norms[norms > 0]
        spread[name] = float(np.abs(norms - 1).max(initial=0.0))
    # Both raw is how some models are; both unit is how nearly all are served.
    raw = [name for name, off in spread.items() if off > 10 * UNIT]
    normalised = [name for name, off in spread.items() if off <= UNIT]
    if len(raw) != 1 or len(normalised) != 1:
        return []
    words = f"{raw[0]} does not normalise: its norms are not 1, those of {normalised[0]} are"
    return [Cause(compared.kind, "not_normalised", "norm", words, share=1.0, tried=True)]


def _order(compared: Compared) -> list[Cause]:
    """B's rows are A's rows of other items."""
    a, b = unit(compared.a), unit(compared.b)
    nearest = (b @ a.T).argmax(axis=1)
    moved = nearest != np.arange(len(nearest))
    # An order gives each row to one item. Rows that are all alike have their nearest anywhere.
    distinct = len(np.unique(nearest)) / len(nearest)
    if moved.sum() < FEWEST or distinct < DISTINCT:
        return []
    share = explained_share(a, b, a[nearest])
    words = f"B gives {int(moved.sum()):,} of {len(moved):,} {compared.kind}s the row of another"
    return [Cause(compared.kind, "order", "order", words, share=share, tried=True)]


def _bits(compared: Compared) -> list[Cause]:
    """B's rows are A's, kept with fewer bits. Both kinds of scale: of all rows, and of each row."""
    a, b = unit(compared.a), unit(compared.b)
    rows = a.astype(np.float32)
    # Symmetric scales, as quantised indexes and exports have them (arXiv:1712.05877).
    largest = np.abs(rows).max(axis=1, keepdims=True)
    of_each = np.rint(rows * (127 / np.where(largest > 0, largest, 1)))
    candidates = {
        "int8": quantise(rows, "int8"),
        "int8_rows": of_each,
        "binary": quantise(rows, "binary"),
    }
    causes = []
    for name, altered in candidates.items():
        words = BITS[name]
        share = explained_share(a, b, unit(altered))
        causes.append(
            Cause(compared.kind, name, "bits", f"B's values have {words}", share, tried=True)
        )
    return causes
