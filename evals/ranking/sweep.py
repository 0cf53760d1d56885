"""Ranks at several dimensions of the same embeddings, from one cumulative pass: each dimension adds its products to the last.

The counts are those of a separate run of each dimension, bit for bit: a score that rounding could put on the wrong side of a
level is decided in float64 from the rows that a separate run has.

Shapes: q queries, n documents, d dimensions of the rows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64

from evals.embeddings.precision import parse_precision, quantise
from evals.embeddings.truncation import Cut, truncate, truncations
from evals.ranking.counting import count_all
from evals.ranking.definition import Both
from evals.ranking.levels import Step
from evals.ranking.ranks import (
    CHUNK,
    Lengths,
    both_ways,
    check,
    cross_ranks,
    found_both,
    refuse_infinite,
)
from evals.ranking.relevance import Relevant
from evals.ranking.rescore import rescored

SMALL = (
    2.0**-30
)  # a prefix this small beside its row would lose bits of its own in the common products

Key = tuple[int, str]  # a dimension and the name of a precision


def ranks_at(
    images: Float[np.ndarray, "n d"],
    texts: Float[np.ndarray, "texts d"],
    images_of_texts: Relevant,
    dims: Sequence[int],
    precisions: Sequence[str],
    *,
    device: str = "cpu",
) -> dict[Key, Both]:
    """Both directions at every dimension and precision (evals.embeddings.precision).

    float32 is one pass for all dimensions; each other precision is a pass for each, from rows cut and normalised before.
    """
    t2i = images_of_texts
    out: dict[Key, Both] = {}
    kinds = {name: parse_precision(name) for name in precisions}
    if "float32" in kinds:
        out |= {
            (dim, "float32"): both
            for dim, both in sweep_cross_ranks(images, texts, t2i, dims, device=device).items()
        }
    for dim in dims if set(kinds) - {"float32"} else ():
        i2t, exact = t2i.inverse(len(images)), (truncate(images, dim), truncate(texts, dim))
        for kind in dict.fromkeys(kind for kind, _ in kinds.values() if kind != "float32"):
            x, y = (quantise(rows, kind) for rows in exact)
            coarse = cross_ranks(x, y, t2i, device=device)
            for name, candidates in (
                (name, some.rescore) for name, some in kinds.items() if some.kind == kind
            ):
                if candidates is None:
                    out[dim, name] = coarse
                else:
                    forth = rescored(coarse.t2i, (y, x), exact[::-1], t2i, candidates)
                    out[dim, name] = Both(
                        forth, rescored(coarse.i2t, (x, y), exact, i2t, candidates)
                    )
    return out


def sweep_cross_ranks(
    images: Float[np.ndarray, "n d"],
    texts: Float[np.ndarray, "texts d"],
    images_of_texts: Relevant,
    dims: Sequence[int],
    *,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> dict[int, Both]:
    """Both directions at every dimension: `cross_ranks` of the rows cut by `truncate`, bit for bit.

    Raises ValueError as `truncate` and `cross_ranks` do.
    """
    t2i = images_of_texts
    check(len(texts), len(images), t2i, chunk)
    i2t = t2i.inverse(len(images))
    x, y = truncations(images, dims), truncations(texts, dims)
    for cuts, name in ((x, "image"), (y, "text")):
        refuse_infinite(cuts[max(cuts)].norms, name)
    # cut rows have norm 1, or 0
    lengths = [Lengths(*((cuts[dim].norms > 0).astype(np.float64) for cuts in (x, y))) for dim in x]
    steps = [
        both_ways(x[dim].rows, y[dim].rows, t2i, i2t, some)
        for dim, some in zip(x, lengths, strict=True)
    ]
    if (shared := _cumulative(steps, x, y)) is None:
        return {
            dim: cross_ranks(x[dim].rows, y[dim].rows, t2i, chunk=chunk, device=device) for dim in x
        }
    count_all(shared, i2t, chunk=chunk, device=device)
    return {dim: found_both(step, t2i, i2t) for dim, step in zip(x, shared, strict=True)}


def _cumulative(
    steps: Sequence[Step], x: Mapping[int, Cut], y: Mapping[int, Cut]
) -> list[Step] | None:
    """The steps as parts of the widest rows; None where a row begins too small for that."""
    if len(steps) == 1:
        return list(steps)
    widest, start, shared = max(x), 0, []
    for dim, step in zip(x, steps, strict=True):
        of_queries, of_docs = (_scale(cuts[widest].norms, cuts[dim].norms) for cuts in (x, y))
        if of_queries is None or of_docs is None:
            return None
        left, right = (np.ascontiguousarray(cuts[widest].rows[:, start:dim]) for cuts in (x, y))
        scales = (of_queries, of_docs) if dim < widest else None
        shared.append(step._replace(left=left, right=right, scales=scales))
        start = dim
    return shared


def _scale(
    whole: Float64[np.ndarray, "n"], begun: Float64[np.ndarray, "n"]
) -> Float32[np.ndarray, "n"] | None:
    """What makes the beginnings of unit rows unit rows, from the norms of both; rows of zeros stay zero."""
    small = begun < SMALL * whole
    if (small & (whole > 0)).any():
        return None
    scale: np.ndarray = np.where(whole > 0, whole, 1) / np.where(whole > 0, begun, 1)
    return scale.astype(np.float32)
