"""Semantic similarity of sentences: Spearman's correlation of cosines with gold scores.

It is the main score of mteb's STS tasks. Equal cosines and equal gold scores share their mean rank;
the interval resamples pairs.

Shapes: d dimensions, pairs.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64

from evals.embeddings.precision import parse_precision, quantise
from evals.embeddings.truncation import truncate
from evals.schema import ConfigError, InvalidError, Side, TextPairs
from evals.stats.correlation import spearman, spearman_interval
from evals.tasks.scores import Scores, Value


def sides(data: TextPairs) -> list[Side]:
    """The first sentences, then the second ones."""
    return list(data.sides)


def score(
    rows: Sequence[Float[np.ndarray, "_ d"]],
    data: TextPairs,
    *,
    dims: Sequence[int],
    precisions: Sequence[str] = ("float32",),
    device: str = "cpu",
) -> list[Scores]:
    """The correlation at each dimension and precision, from the full-width rows of both sentences.

    Raises ConfigError for rescoring, and InvalidError where all cosines are equal: a constant has
    no correlation.
    """
    # Each side has a scale of its own in int8; a correlation of ranks does not see it.
    first_rows, second_rows = rows
    scores = []
    for dim in dims:
        first, second = truncate(first_rows, dim), truncate(second_rows, dim)
        for name in precisions:
            kind, candidates = parse_precision(name)
            if candidates is not None:
                raise ConfigError(f"{name}: pairs are not searched. Leave --rescore out.")
            cosines = pair_cosines(quantise(first, kind), quantise(second, kind))
            value = spearman(cosines, data.gold)
            # Gold scores that are all equal were refused when they were read: it is the model.
            if not np.isfinite(value):
                raise InvalidError(
                    f"All {len(cosines):,} pairs have the cosine {cosines[0]:.6f} at {dim} "
                    "dimensions, and a constant has no correlation. Check the model."
                )
            scores.append(
                Scores(
                    direction="",
                    dim=dim,
                    values={"spearman": Value(value, spearman_interval(cosines, data.gold))},
                    columns={"score": cosines, "gold": data.gold},
                    query_ids=data.first.ids,
                    group_ids=data.first.ids,
                    n_gallery=0,
                    tie_rate=0.0,
                    precision=name,
                )
            )
    return scores


def pair_cosines(
    first: Float32[np.ndarray, "pairs d"], second: Float32[np.ndarray, "pairs d"]
) -> Float64[np.ndarray, "pairs"]:
    """The cosine of each pair of rows, in float64; 0 where a row is zero."""
    products = np.einsum("ij,ij->i", first, second, dtype=np.float64)
    squares = [np.einsum("ij,ij->i", rows, rows, dtype=np.float64) for rows in (first, second)]
    # Quantised rows are no unit rows any more.
    norms = np.sqrt(squares[0] * squares[1])
    cosines: np.ndarray = np.divide(products, norms, out=np.zeros(len(norms)), where=norms > 0)
    return cosines
