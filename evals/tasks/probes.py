"""What the images of a training split tell of the classes of others: nearest neighbours, and a linear probe.

`k-NN`: the k training images of the highest cosine vote for their class, each with the weight exp((cosine - 1) / 0.07), as is
usual for self-supervised models (Wu et al., 2018); classes without a vote tie. The linear probe is a logistic regression with
an L2 penalty, whose strength is chosen on a part of the training images that is then put back.

Shapes: n test images, m training images, d dimensions.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from evals.ranking.definition import DISCOUNT, GAIN, TIE, Ranks
from evals.ranking.search import top_k
from evals.schema import InvalidError, MissingError

TEMPERATURE = 0.07
STRENGTHS = tuple(
    10.0**power for power in range(-2, 7)
)  # of C, the inverse of the penalty: rows of length 1 want large ones
HELD_OUT = 5  # one image in so many of each class
ITERATIONS = 1000


class Fit(NamedTuple):
    """A linear probe of the test images, and how it came about."""

    ranks: Ranks
    strength: float
    held_out_accuracy: float
    iterations: int
    converged: bool


def nearest(
    train: Float32[np.ndarray, "m d"],
    train_labels: Int[np.ndarray, "m"],
    test: Float32[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    ks: Sequence[int],
    n_classes: int,
    *,
    device: str = "cpu",
) -> dict[int, Ranks]:
    """The ranks of the right classes by the votes of the k nearest training images, for each k. InvalidError: m < k."""
    if max(ks) > len(train):
        raise InvalidError(
            f"--knn {max(ks)}: there are only {len(train)} training images. Ask for fewer."
        )
    found: dict[int, list[Ranks]] = {k: [] for k in ks}
    for hits in top_k(test, train, max(ks), device=device):
        weights = np.exp((hits.scores.astype(np.float64) - 1) / TEMPERATURE)
        voted, own = train_labels[hits.docs], labels[hits.first : hits.first + len(hits.docs)]
        for k in ks:
            votes = np.zeros((len(own), n_classes))
            np.add.at(votes, (np.arange(len(own))[:, None], voted[:, :k]), weights[:, :k])
            found[k].append(rank_labels(votes, own))
    return {k: _joined(parts) for k, parts in found.items()}


def linear(
    train: Float32[np.ndarray, "m d"],
    train_labels: Int[np.ndarray, "m"],
    test: Float32[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    n_classes: int,
    *,
    seed: int = 0,
) -> Fit:
    """A logistic regression on all training images, with the strength that was best on those held out by `seed`.

    InvalidError: one class only, or no class with images enough to hold one out. MissingError: no scikit-learn.
    """
    if len(np.unique(train_labels)) < 2:
        raise InvalidError(
            "The training images are of one class; a linear probe needs two. Check the training split."
        )
    away = _held_out(train_labels, seed)
    if not away.any():
        raise InvalidError(
            f"No class has {HELD_OUT} training images, so none can be held out to choose the penalty. Add some."
        )
    accuracies = []
    for strength in STRENGTHS:
        probe = _fitted(train[~away], train_labels[~away], strength)
        accuracies.append(float(np.mean(probe.predict(train[away]) == train_labels[away])))
    best = int(np.argmax(accuracies))  # of equal ones the strongest penalty
    probe = _fitted(train, train_labels, STRENGTHS[best])
    scores = np.zeros((len(test), n_classes))  # a class that was never seen has no chance
    scores[:, probe.classes_] = probe.predict_proba(test)
    iterations = int(probe.n_iter_.max())
    return Fit(
        rank_labels(scores, labels),
        STRENGTHS[best],
        accuracies[best],
        iterations,
        iterations < ITERATIONS,
    )


def rank_labels(scores: Float64[np.ndarray, "n classes"], labels: Int[np.ndarray, "n"]) -> Ranks:
    """Where the right class stands by these scores, all at least 0 and about 1 at most."""
    own = scores[np.arange(len(labels)), labels][:, None]
    better = (scores > own + TIE).sum(axis=1)
    tied = (np.abs(scores - own) <= TIE).sum(axis=1) - 1
    last = len(DISCOUNT)
    gains = GAIN[np.minimum(better + tied + 1, last)] - GAIN[np.minimum(better, last)]
    return Ranks(
        better, tied, np.ones_like(better), own[:, 0].astype(np.float32), gains / (tied + 1)
    )


def _held_out(labels: Int[np.ndarray, "m"], seed: int) -> Bool[np.ndarray, "m"]:
    rng = np.random.Generator(np.random.PCG64(seed))
    away = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        away[rng.permutation(own)[: len(own) // HELD_OUT]] = True
    return away


def _fitted(rows: Float[np.ndarray, "_ d"], labels: Int[np.ndarray, "_"], strength: float) -> Any:
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise MissingError(
            "The linear probe is scikit-learn's, which is not installed. Run: pip install 'jina-clip-evals[classification]'."
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # whether it did is in the record
        return LogisticRegression(C=strength, max_iter=ITERATIONS).fit(
            rows.astype(np.float64), labels
        )


def _joined(parts: Sequence[Ranks]) -> Ranks:
    def column(name: str) -> Iterator[np.ndarray]:
        return (getattr(part, name) for part in parts)

    names = ("better", "tied", "tied_relevant", "score", "ndcg10")
    return Ranks(**{name: np.concatenate(list(column(name))) for name in names})
