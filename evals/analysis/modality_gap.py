"""How far apart a model keeps texts and images: cosines of text-text and text-image pairs, and the gap between both clouds.

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

RANDOM_PAIRS = 10_000
BINS = np.linspace(-1, 1, 101)  # of the histograms


class Gap(NamedTuple):
    """Cosines of pairs by kind (`text_text` or `text_image`, `matched` or `random`), and the distance of the centroids."""

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
    i, y = truncate(images, dim), truncate(texts, dim)
    q, t = y[roles.queries], y[roles.doc_texts]
    pairs = {
        "matched": np.stack([roles.relevant.queries, roles.relevant.docs]),
        "random": _random_pairs(roles, len(i), seed),
    }
    cosines = {
        (kind, pair): pair_scores(q, docs, *at)
        for kind, docs in (("text_text", t), ("text_image", i))
        for pair, at in pairs.items()
    }
    distance = np.linalg.norm(i.mean(axis=0, dtype=np.float64) - y.mean(axis=0, dtype=np.float64))
    return Gap(cosines, float(distance))


def _random_pairs(roles: Roles, n_docs: int, seed: int) -> Int64[np.ndarray, "2 n"]:
    rng = np.random.Generator(np.random.PCG64(seed))
    pairs = np.stack(
        [
            rng.integers(len(roles.queries), size=RANDOM_PAIRS),
            rng.integers(n_docs, size=RANDOM_PAIRS),
        ]
    )
    matched = roles.relevant.queries * n_docs + roles.relevant.docs
    return pairs[:, ~np.isin(pairs[0] * n_docs + pairs[1], matched)]


def _summary(values: Float64[np.ndarray, "n"]) -> dict[str, Any]:
    low, median, high = np.quantile(values, [0.05, 0.5, 0.95]).tolist()
    counts = np.histogram(values.clip(-1, 1), BINS)[
        0
    ].tolist()  # a float32 row is a unit row to 1e-7
    summary = {"n": len(values), "mean": float(values.mean()), "std": float(values.std())}
    return summary | {"p5": low, "median": median, "p95": high, "histogram": counts}
