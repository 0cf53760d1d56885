"""Causes of a difference that rows show by themselves, whatever made them.

Shapes: n items, d dimensions.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from evals.embeddings.precision import quantise
from evals.parity.agreement import Compared, row_cosines, unit
from evals.parity.causes import LIKELY, Cause, explained_share
from evals.parity.probe import Rows
from evals.schema import Kind

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
SATURATED = 0.01  # of all values stand at a limit where rows were clipped; of others hardly any


class _Sided(NamedTuple):
    """One model's rows, and those of the other."""

    name: str
    rows: Rows
    other: str
    other_rows: Rows


def row_causes(compared: Compared) -> list[Cause]:
    """Zeros, rows all alike, norms, width, clipping, signs, order and fewer bits, where rows show it."""
    return [
        *_zeros(compared),
        *_constant(compared),
        *_norms(compared),
        *_zero_tail(compared),
        *_clipped(compared),
        _negated(compared),
        *_order(compared),
        *_bits(compared),
    ]


def width_cause(kind: Kind, a: Rows, b: Float[np.ndarray, "n narrower"]) -> Cause | None:
    """Fewer values in one of the two; they are the first ones where their cosine says so."""
    if a.shape[1] == b.shape[1]:
        return None
    narrow, wide = sorted((a.shape[1], b.shape[1]))
    cosine = float(np.median(row_cosines(a[:, :narrow], b[:, :narrow])))
    # Matryoshka models (arXiv:2205.13147) are cut to their first values, and to no others.
    is_cut = cosine > CLOSE
    which = "B" if b.shape[1] == narrow else "A"
    first = "its rows are the first of the other's" if is_cut else "and they are others"
    words = f"{which} gives {narrow:,} values where the other gives {wide:,}: "
    words += f"{first} (median cosine {cosine:.4f})"
    return Cause(kind, "cut" if is_cut else "width", "width", words, share=1.0, tried=is_cut)


def _both(compared: Compared) -> Iterator[_Sided]:
    yield _Sided("A", compared.a, "B", compared.b)
    yield _Sided("B", compared.b, "A", compared.a)


def _seen(compared: Compared, name: str, cause: str, words: str, share: float = 1.0) -> Cause:
    return Cause(compared.kind, name, cause, words, share, tried=True)


def _share_of(model: _Sided, altered: Rows) -> float:
    """The share of the difference that goes away when the other model's rows are `altered`."""
    return explained_share(unit(model.other_rows), unit(model.rows), unit(altered))


def _zeros(compared: Compared) -> Iterator[Cause]:
    """Items of which one model has nothing but zeros, and the other has not."""
    for model in _both(compared):
        is_zero = ~model.rows.any(axis=1) & model.other_rows.any(axis=1)
        n_zero = int(is_zero.sum())
        if n_zero:
            words = f"{model.name} gives zeros alone for {n_zero:,} of {len(compared.labels):,} "
            words += f"{compared.kind}s, and {model.other} does not"
            yield _seen(compared, "zeros", "zeros", words)


def _constant(compared: Compared) -> Iterator[Cause]:
    """One model that gives all items the same row, as a server does that never sees its input.

    Of few items that says nothing: they may be equal themselves.
    """
    n_items = len(compared.labels)
    alike = [model.name for model in _both(compared) if _spread(model.rows) < ALIKE]
    if len(alike) == 1 and n_items >= FEWEST:
        words = f"{alike[0]} gives the same row for all {n_items:,} {compared.kind}s"
        yield _seen(compared, "constant", "constant", words)


def _spread(rows: Rows) -> float:
    """The largest range of a value over all unit rows."""
    return float(np.ptp(unit(rows), axis=0).max(initial=0.0))


def _zero_tail(compared: Compared) -> Iterator[Cause]:
    """One model's rows cut to their first values and filled up with zeros again.

    An index or a database of a fixed width stores rows of fewer dimensions like this. Other values
    before the zeros explain nothing: then the share is low.
    """
    for model in _both(compared):
        width, total = _width(model.rows), model.rows.shape[1]
        if width >= _width(model.other_rows):
            continue
        cut = model.other_rows.copy()
        cut[:, width:] = 0
        words = f"{model.name} has zeros after its first {width:,} of {total:,} values"
        yield _seen(compared, "zero_tail", "filled up", words, _share_of(model, cut))


def _width(rows: Rows) -> int:
    """Up to which value any row has something else than zero."""
    return int(np.flatnonzero(rows.any(axis=0)).max(initial=-1)) + 1


def _norms(compared: Compared) -> Iterator[Cause]:
    """One model whose rows have norm 1, and one whose rows have not.

    Whatever else alters rows moves their norms, too. So a norm is the cause as far as the other
    model's rows come out when the rows are normalised.
    """
    for model in _both(compared):
        # Both raw is how some models are; both unit is how nearly all are served.
        if _off_unit(model.rows) <= 10 * UNIT or _off_unit(model.other_rows) > UNIT:
            continue
        raw, target = model.rows.astype(np.float64), model.other_rows.astype(np.float64)
        share = explained_share(raw, target, unit(raw))
        if share >= LIKELY:
            words = (
                f"{model.name} does not normalise: its norms are not 1, those of {model.other} are"
            )
            yield _seen(compared, "not_normalised", "norm", words, share)


def _off_unit(rows: Rows) -> float:
    """How far the norm of a row is from 1, at most."""
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    # A row of zeros has no direction to normalise.
    norms = norms[norms > 0]
    return float(np.abs(norms - 1).max(initial=0.0))


def _clipped(compared: Compared) -> Iterator[Cause]:
    """One model's values held between two limits, as a saturated format or a ReLU leaves them."""
    for model in _both(compared):
        low, high = float(model.rows.min()), float(model.rows.max())
        is_limit = (model.rows == low) | (model.rows == high)
        if is_limit.mean() < SATURATED or low == high:
            continue
        share = _share_of(model, np.clip(model.other_rows, low, high))
        words = f"{model.name}'s values are those of {model.other}, "
        words += f"held between {low:.4g} and {high:.4g}"
        yield _seen(compared, "clipped", "clipping", words, share)


def _negated(compared: Compared) -> Cause:
    """All values with the other sign: cosines of -1."""
    _, model = _both(compared)
    words = "B's rows are those of A with the other sign"
    return _seen(compared, "negated", "sign", words, _share_of(model, -model.other_rows))


def _order(compared: Compared) -> Iterator[Cause]:
    """B's rows are A's rows of other items."""
    _, model = _both(compared)
    nearest = (unit(model.rows) @ unit(model.other_rows).T).argmax(axis=1)
    n_moved = int((nearest != np.arange(len(nearest))).sum())
    # An order gives each row to one item. Rows that are all alike have their nearest anywhere.
    distinct = len(np.unique(nearest)) / len(nearest)
    if n_moved < FEWEST or distinct < DISTINCT:
        return
    words = f"B gives {n_moved:,} of {len(nearest):,} {compared.kind}s the row of another"
    yield _seen(compared, "order", "order", words, _share_of(model, model.other_rows[nearest]))


def _bits(compared: Compared) -> Iterator[Cause]:
    """One model's rows are the other's, kept with fewer bits."""
    for model in _both(compared):
        rows = unit(model.other_rows).astype(np.float32)
        # Symmetric scales, as quantised indexes and exports have them (arXiv:1712.05877): of all
        # rows, and of each row.
        largest = np.abs(rows).max(axis=1, keepdims=True)
        of_each = np.rint(rows * (127 / np.where(largest > 0, largest, 1)))
        candidates = {
            "int8": quantise(rows, "int8"),
            "int8_rows": of_each,
            "binary": quantise(rows, "binary"),
        }
        for name, altered in candidates.items():
            words = f"{model.name}'s values have {BITS[name]}"
            yield _seen(compared, name, "bits", words, _share_of(model, altered))
