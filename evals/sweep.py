"""Ranks at several dimensions of the same embeddings, from one cumulative pass: each dimension adds its products to the last.

The counts are those of a separate run of each dimension, bit for bit: a score that rounding could put on the wrong side of a
level is decided in float64 from the rows that a separate run has.

Shapes: q queries, n documents, d dimensions of the rows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32

from evals.counting import Relevant, Step, count_all
from evals.metrics import truncate
from evals.precision import parse_precision, quantise
from evals.ranks import Both, Ranks, both_ways, check, cross_ranks, found, found_both, one_way, ranks
from evals.rescore import rescored
from evals.threads import over_rows

CHUNK = 320  # queries scored at once, by one thread: their sums and scores stay in the cache from one dimension to the next
SMALL = 2.0**-30  # a prefix this small beside its row would lose bits of its own in the common products

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
    """Both directions at every dimension and precision (evals.precision).

    float32 is one pass for all dimensions; each other precision is a pass for each, from rows cut and normalised before.
    """
    t2i = images_of_texts
    out: dict[Key, Both] = {}
    kinds = {name: parse_precision(name) for name in precisions}
    if "float32" in kinds:
        out |= {(dim, "float32"): both for dim, both in sweep_cross_ranks(images, texts, t2i, dims, device=device).items()}
    for dim in dims if set(kinds) - {"float32"} else ():
        i2t, exact = t2i.inverse(len(images)), (truncate(images, dim), truncate(texts, dim))
        for kind in dict.fromkeys(kind for kind, _ in kinds.values() if kind != "float32"):
            x, y = (quantise(rows, kind) for rows in exact)
            coarse = cross_ranks(x, y, t2i, device=device)
            for name, candidates in ((name, some.rescore) for name, some in kinds.items() if some.kind == kind):
                if candidates is None:
                    out[dim, name] = coarse
                else:
                    forth = rescored(coarse.t2i, (y, x), exact[::-1], t2i, candidates)
                    out[dim, name] = Both(forth, rescored(coarse.i2t, (x, y), exact, i2t, candidates))
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
    cut = {dim: (truncate(images, dim), truncate(texts, dim)) for dim in sorted(set(dims))}
    steps = [both_ways(x, y, t2i, i2t) for x, y in cut.values()]
    if (shared := _cumulative(steps)) is None:
        return {dim: cross_ranks(x, y, t2i, chunk=chunk, device=device) for dim, (x, y) in cut.items()}
    count_all(shared, i2t, chunk=chunk, device=device)
    return {dim: found_both(step, t2i, i2t) for dim, step in zip(cut, shared, strict=True)}


def sweep_ranks(
    queries: Float[np.ndarray, "q d"],
    docs: Float[np.ndarray, "n d"] | Mapping[int, Float32[np.ndarray, "n _"]],
    relevant: Relevant,
    dims: Sequence[int],
    *,
    chunk: int = CHUNK,
    device: str = "cpu",
) -> dict[int, Ranks]:
    """One direction at every dimension: `ranks` of the rows cut by `truncate`, bit for bit.

    Documents that are no prefixes of each other, as class vectors averaged after the cut, are given for each dimension, ready
    to be scored; each dimension is a pass of its own then. Raises ValueError as `truncate` and `ranks` do.
    """
    widths = sorted(set(dims))
    if isinstance(docs, Mapping):
        return {dim: ranks(truncate(queries, dim), docs[dim], relevant, chunk=chunk, device=device) for dim in widths}
    check(len(queries), len(docs), relevant, chunk)
    cut = {dim: (truncate(queries, dim), truncate(docs, dim)) for dim in widths}
    steps = [one_way(x, y, relevant) for x, y in cut.values()]
    if (shared := _cumulative(steps)) is None:
        return {dim: ranks(x, y, relevant, chunk=chunk, device=device) for dim, (x, y) in cut.items()}
    count_all(shared, relevant, chunk=chunk, device=device)
    return {dim: found(step.by_row, relevant) for dim, step in zip(cut, shared, strict=True)}


def _cumulative(steps: Sequence[Step]) -> list[Step] | None:
    """The steps as parts of the widest rows; None where a row begins too small for that."""
    widest, start, shared = steps[-1], 0, []
    if len(steps) == 1:
        return list(steps)
    for step in steps:
        end = step.queries.shape[1]
        of_queries, of_docs = _scale(widest.queries, end), _scale(widest.docs, end)
        if of_queries is None or of_docs is None:
            return None
        left, right = (np.ascontiguousarray(rows[:, start:end]) for rows in (widest.queries, widest.docs))
        shared.append(step._replace(left=left, right=right, scales=(of_queries, of_docs)))
        start = end
    return shared


def _scale(rows: Float32[np.ndarray, "n d"], dim: int) -> Float32[np.ndarray, "n"] | None:
    """What makes the first `dim` values of unit rows unit rows; zero rows stay zero."""
    norms = np.empty(len(rows))

    def fill(some: slice) -> None:
        norms[some] = np.sqrt(np.square(rows[some, :dim], dtype=np.float64).sum(axis=1))

    over_rows(fill, len(rows))
    small = norms < SMALL
    if (small & rows.any(axis=1)).any():
        return None
    return (1 / np.where(small, 1, norms)).astype(np.float32)
