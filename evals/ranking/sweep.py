"""Ranks at many dimensions from one pass: each dimension adds its products to those of the one before.

Six runs would multiply 64 + 128 + 256 + 512 + 768 + 1,024 dimensions; the pass multiplies 1,024,
and scales the sums to what unit rows would have. Ranks are those of a run of each dimension, bit
for bit: a score that rounding could put on the wrong side of a level is decided in float64 from the
rows that such a run has. `python -m benchmarks.sweep`: six runs take 2.5 to 2.8 times as long
(benchmarks/results/sweep-cpu.json).

Shapes: q queries, n images or rows, d dimensions of the rows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from evals.embeddings.precision import parse_precision, quantise
from evals.embeddings.truncation import Cut, truncate, truncations
from evals.ranking.definition import Both
from evals.ranking.dispatch import count_all
from evals.ranking.levels import Scales, Step
from evals.ranking.ranks import (
    CHUNK,
    Norms,
    check_relevant,
    cross_ranks,
    cross_ranks_of,
    cross_step,
    refuse_infinite,
)
from evals.ranking.relevance import Relevant
from evals.ranking.rescore import Rows, rescored
from evals.ranking.shapes import ImageRows, RowNorms, TextRows, WideImages, WideTexts

# A prefix this small beside its row would lose bits of its own in the common products.
SMALL = 2.0**-30

Key = tuple[int, str]  # a dimension and the name of a precision
Cuts = Mapping[int, Cut]  # the rows of a side at each dimension, in ascending order


def ranks_at(
    images: WideImages,
    texts: WideTexts,
    images_of_texts: Relevant,
    dims: Sequence[int],
    precisions: Sequence[str],
    *,
    device: str = "cpu",
) -> dict[Key, Both]:
    """Both directions at every dimension and precision (evals.embeddings.precision).

    float32 is one pass for all dimensions; each other precision is a pass per dimension, from rows
    cut and normalised before. Raises ValueError as `sweep_cross_ranks` does, and ConfigError for a
    name that is no precision.
    """
    ranks_of_key: dict[Key, Both] = {}
    kinds = {name: parse_precision(name) for name in precisions}
    if "float32" in kinds:
        sweep = sweep_cross_ranks(images, texts, images_of_texts, dims, device=device)
        ranks_of_key |= {(dim, "float32"): ranks for dim, ranks in sweep.items()}
    candidates_of_kind: dict[str, dict[str, int | None]] = {}
    for name, precision in kinds.items():
        if precision.kind != "float32":
            candidates_of_kind.setdefault(precision.kind, {})[name] = precision.rescore
    if not candidates_of_kind:
        return ranks_of_key
    # A precision with several numbers of candidates is counted once, and rescored for each.
    for dim in dims:
        unit_images, unit_texts = truncate(images, dim), truncate(texts, dim)
        for kind, candidates in candidates_of_kind.items():
            by_name = _quantised_ranks(
                unit_images, unit_texts, images_of_texts, kind, candidates, device=device
            )
            ranks_of_key |= {(dim, name): ranks for name, ranks in by_name.items()}
    return ranks_of_key


def sweep_cross_ranks(
    images: WideImages,
    texts: WideTexts,
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
    check_relevant(len(texts), len(images), t2i, chunk)
    i2t = t2i.inverse(len(images))
    image_cuts, text_cuts = truncations(images, dims), truncations(texts, dims)
    # The norm of the widest cut is finite only where all values that are used are finite.
    refuse_infinite(image_cuts[max(image_cuts)].norms, "image")
    refuse_infinite(text_cuts[max(text_cuts)].norms, "text")
    steps = {}
    for dim, image_cut in image_cuts.items():
        text_cut = text_cuts[dim]
        norms = Norms(_norms_of_cut(image_cut), _norms_of_cut(text_cut))
        steps[dim] = cross_step(image_cut.rows, text_cut.rows, t2i, i2t, norms)
    shared = _cumulative(steps, image_cuts, text_cuts)
    # rare: rows whose first values are almost nothing beside the rest
    if shared is None:
        return {
            dim: cross_ranks(cut.rows, text_cuts[dim].rows, t2i, chunk=chunk, device=device)
            for dim, cut in image_cuts.items()
        }
    count_all(list(shared.values()), i2t, chunk=chunk, device=device)
    return {dim: cross_ranks_of(step, t2i, i2t) for dim, step in shared.items()}


def _quantised_ranks(
    images: ImageRows,
    texts: TextRows,
    t2i: Relevant,
    kind: str,
    candidates_of_name: Mapping[str, int | None],
    *,
    device: str,
) -> dict[str, Both]:
    """Both directions at one kind of precision, for each name: rescored, or not (None)."""
    # rows are quantised after the cut: the scale of int8 is that of the values that are kept
    quantised_images, quantised_texts = quantise(images, kind), quantise(texts, kind)
    coarse = cross_ranks(quantised_images, quantised_texts, t2i, device=device)
    i2t = t2i.inverse(len(images))
    by_name = {}
    for name, candidates in candidates_of_name.items():
        if candidates is None:
            by_name[name] = coarse
            continue
        by_name[name] = Both(
            rescored(
                coarse.t2i,
                Rows(quantised_texts, quantised_images),
                Rows(texts, images),
                t2i,
                candidates,
            ),
            rescored(
                coarse.i2t,
                Rows(quantised_images, quantised_texts),
                Rows(images, texts),
                i2t,
                candidates,
            ),
        )
    return by_name


def _norms_of_cut(cut: Cut) -> RowNorms:
    """Cut rows have norm 1, or 0."""
    return (cut.norms > 0).astype(np.float64)


def _cumulative(
    steps: Mapping[int, Step], image_cuts: Cuts, text_cuts: Cuts
) -> dict[int, Step] | None:
    """The steps as parts of the widest rows; None where a row begins too small for that."""
    if len(steps) == 1:
        return dict(steps)
    widest = max(steps)
    image_rows, text_rows = image_cuts[widest].rows, text_cuts[widest].rows
    shared, start = {}, 0
    for dim, step in steps.items():
        image_scales = _prefix_scales(image_cuts[widest].norms, image_cuts[dim].norms)
        text_scales = _prefix_scales(text_cuts[widest].norms, text_cuts[dim].norms)
        if image_scales is None or text_scales is None:
            return None
        shared[dim] = step._replace(
            query_part=np.ascontiguousarray(image_rows[:, start:dim]),
            doc_part=np.ascontiguousarray(text_rows[:, start:dim]),
            # The widest rows are unit rows as they are.
            scales=Scales(image_scales, text_scales) if dim < widest else None,
        )
        start = dim
    return shared


def _prefix_scales(norms: RowNorms, prefix_norms: RowNorms) -> Float32[np.ndarray, "n"] | None:
    """What makes prefixes of unit rows unit rows, from the norms before the cut."""
    # rows of zeros stay zero
    small = prefix_norms < SMALL * norms
    if (small & (norms > 0)).any():
        return None
    scales: np.ndarray = np.where(norms > 0, norms, 1) / np.where(norms > 0, prefix_norms, 1)
    return scales.astype(np.float32)
