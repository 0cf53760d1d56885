"""How far apart a model keeps texts and images: the modality gap.

It is seen in the cosines of text-text and text-image pairs, and in the distance between the two
clouds of rows.

Pairs are those of evals.tasks.fusion: a query with the text, and with the image, of a document that
is meant (matched) or of one that is not (random). The gap is that of Liang et al. 2022, Mind the
Gap (https://arxiv.org/abs/2203.02053): the distance between the mean image and the mean text, of
unit rows.

Shapes: n pairs, q queries, d dimensions.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from evals.embeddings.truncation import truncate
from evals.ranking.products import pair_scores
from evals.tasks.fusion import Roles

RANDOM_PAIRS = 10_000  # they give a mean cosine to about a hundredth of its deviation
BINS = np.linspace(-1, 1, 101)  # of the histograms


class Gap(NamedTuple):
    """Cosines of pairs, and the distance of the centroids.

    Pairs are `text_text` or `text_image`, and `matched` or `random`.
    """

    cosines: dict[tuple[str, str], Float64[np.ndarray, "n"]]
    centroid_distance: float

    def as_json(self) -> dict[str, Any]:
        """Size, mean, deviation, quantiles and histogram of each kind of pair.

        And what they say about the gap.
        """
        matched = {kind: self.cosines[kind, "matched"] for kind in ("text_text", "text_image")}
        return {
            "centroid_distance": self.centroid_distance,
            "text_text_above_text_image": float(
                (matched["text_text"] > matched["text_image"]).mean()
            ),
            "bins": BINS.round(2).tolist(),
            "pairs": [
                {"kind": kind, "pair": pair} | _summary(values)
                for (kind, pair), values in self.cosines.items()
            ],
        }


def modality_gap(
    images: Float[np.ndarray, "n_images d"],
    texts: Float[np.ndarray, "n_texts d"],
    roles: Roles,
    *,
    dim: int,
    seed: int = 0,
) -> Gap:
    """From full-width rows at `dim` dimensions.

    All matched pairs; of 10,000 pairs drawn at random those that do not match.
    """
    image_rows, text_rows = truncate(images, dim), truncate(texts, dim)
    query_rows = text_rows[roles.queries]
    doc_rows = {"text_text": text_rows[roles.doc_texts], "text_image": image_rows}
    pairs = {
        "matched": np.stack([roles.relevant.queries, roles.relevant.docs]),
        "random": _random_pairs(roles, len(image_rows), seed),
    }
    cosines = {}
    for kind, rows in doc_rows.items():
        # The same pairs for both kinds, so that their cosines can be compared pair by pair.
        for pair, (pair_queries, pair_docs) in pairs.items():
            cosines[kind, pair] = pair_scores(query_rows, rows, pair_queries, pair_docs)
    # Liang et al.: |mean of x - mean of y| over unit rows; the means are no unit vectors themselves.
    centroids = [rows.mean(axis=0, dtype=np.float64) for rows in (image_rows, text_rows)]
    return Gap(cosines, float(np.linalg.norm(centroids[0] - centroids[1])))


def _random_pairs(roles: Roles, n_docs: int, seed: int) -> Int64[np.ndarray, "2 n"]:
    rng = np.random.Generator(np.random.PCG64(seed))
    queries = rng.integers(len(roles.queries), size=RANDOM_PAIRS)
    docs = rng.integers(n_docs, size=RANDOM_PAIRS)
    # A pair as one whole number, which isin looks up at once.
    matched = roles.relevant.queries * n_docs + roles.relevant.docs
    is_random = ~np.isin(queries * n_docs + docs, matched)
    return np.stack([queries, docs])[:, is_random]


def _summary(values: Float64[np.ndarray, "n"]) -> dict[str, Any]:
    low, median, high = np.quantile(values, [0.05, 0.5, 0.95]).tolist()
    # A float32 row is a unit row to 1e-7: a cosine may be a little above 1, and belongs to the last bin.
    counts, _ = np.histogram(values.clip(-1, 1), BINS)
    return {
        "n": len(values),
        "mean": float(values.mean()),
        "std": float(values.std()),
        "p5": low,
        "median": median,
        "p95": high,
        "histogram": counts.tolist(),
    }
