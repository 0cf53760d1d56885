"""Predicts the classes of test images from training images: by nearest neighbours and a linear probe.

k-NN: the k training images of the highest cosine vote for their class, each with the weight
exp((cosine - 1) / 0.07), as is usual for self-supervised models (Wu et al., 2018,
https://arxiv.org/abs/1805.01978). Classes without a vote tie.

Linear probe: the multinomial logistic regression that minimises

    F(w, b) = C * sum_i -log p(label_i | x_i) + |w|^2 / 2

Its strength C is chosen on a part of the training images that is then put back. Whether a fit is
solved is judged from its gradient, not from what the solver says of itself.

Shapes: m training images, n test images, d dimensions, k neighbours.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from evals.ranking.definition import TIE, Ranks, gain_of_places
from evals.ranking.search import top_k
from evals.schema import InvalidError, MissingError

TEMPERATURE = 0.07
# Of C, the inverse of the penalty: rows of length 1 want large ones.
STRENGTHS = tuple(10.0**power for power in range(-2, 7))
HELD_OUT = 5  # one image in so many of each class
ITERATIONS = 500  # Newton steps; solved fits take 4 to 30
# Where the solver stops: no entry of the gradient of F is larger. Each step of Newton doubles the
# digits, so a small value costs one step more. scikit-learn's default (tol=1e-4) bounds the
# gradient of F / (C m): with it, F at C = 10^4 was 1.4 to 1.6 times its minimum, and accuracies
# were 2 to 7 points off.
STEEPEST = 1e-4
SOLVED = 1e-3  # a fit is solved where its gradient's norm is this share of max(1, |w|) or less


class Fit(NamedTuple):
    """A linear probe of the test images, and how it came about.

    `gradient` is |grad F| / max(1, |w|) of the last fit. F is 1-strongly convex in w, so the
    distance of w to the optimum is at most |grad F|. `converged` says that this share is at most
    SOLVED in all fits, also in those on which the strength was chosen. `iterations` are the Newton
    steps of the last fit, which starts at the optimum of the strength before.
    """

    ranks: Ranks
    strength: float
    held_out_accuracy: float
    iterations: int
    gradient: float
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
    """The ranks of the right classes by the votes of the k nearest training images, for each k.

    Rows are normalised. Of equal cosines at the k-th place the training image that comes first
    votes. InvalidError: m < k.
    """
    if max(ks) > len(train):
        fitting = ",".join(str(k) for k in ks if k <= len(train)) or len(train)
        raise InvalidError(
            f"--knn {max(ks)}: there are only {len(train)} training images. Use --knn {fitting}."
        )
    parts: dict[int, list[Ranks]] = {k: [] for k in ks}
    for hits in top_k(test, train, max(ks), device=device):
        weights = np.exp((hits.scores.astype(np.float64) - 1) / TEMPERATURE)
        voted_classes = train_labels[hits.docs]
        right_classes = labels[hits.first : hits.first + len(hits.docs)]
        rows = np.arange(len(right_classes))[:, None]
        for k in ks:
            votes = np.zeros((len(right_classes), n_classes))
            np.add.at(votes, (rows, voted_classes[:, :k]), weights[:, :k])
            parts[k].append(rank_labels(votes, right_classes))
    return {k: _joined(blocks) for k, blocks in parts.items()}


def linear(
    train: Float32[np.ndarray, "m d"],
    train_labels: Int[np.ndarray, "m"],
    test: Float32[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    n_classes: int,
    *,
    seed: int = 0,
) -> Fit:
    """A logistic regression on all training images, with the strength that was best on a part.

    That part is held out by `seed`. Classes are ranked by their logits, since most probabilities of
    a confident probe are 0 or 1 to all digits; `score` of the ranks is the probability of the right
    class. A class without training images stands behind all others.

    InvalidError: one class only, or no class with images enough to hold one out. MissingError: no
    scikit-learn.
    """
    if len(np.unique(train_labels)) < 2:
        raise InvalidError(
            "The training images are of one class; a linear probe needs two. "
            "Check the training split."
        )
    held_out = _held_out(train_labels, seed)
    if not held_out.any():
        raise InvalidError(
            f"No class has {HELD_OUT} training images, so none can be held out to choose the "
            "penalty. Add some, or leave the linear probe out: --no-linear."
        )
    accuracies, converged = [], True
    for probe in fits(train[~held_out], train_labels[~held_out], STRENGTHS):
        right = probe.predict(train[held_out]) == train_labels[held_out]
        accuracies.append(float(np.mean(right)))
        converged &= gradient(probe, train[~held_out], train_labels[~held_out]) <= SOLVED
    best = int(np.argmax(accuracies))  # of equal ones the strongest penalty
    *_, probe = fits(train, train_labels, STRENGTHS[: best + 1])
    steepness = gradient(probe, train, train_labels)
    return Fit(
        ranks=probe_ranks(probe, test, labels, n_classes),
        strength=STRENGTHS[best],
        held_out_accuracy=accuracies[best],
        iterations=int(probe.n_iter_.max()),
        gradient=steepness,
        converged=converged and steepness <= SOLVED,
    )


def fits(
    rows: Float[np.ndarray, "m d"], labels: Int[np.ndarray, "m"], strengths: Sequence[float]
) -> Iterator[Any]:
    """scikit-learn's LogisticRegression at each strength, in ascending order.

    It is one estimator, fitted again from where it stands: from the optimum of the strength before
    Newton's method takes half the steps or fewer. Read it before the next one is asked for.
    MissingError: no scikit-learn.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise MissingError(
            "The linear probe is scikit-learn's, which is not installed. "
            "Run: pip install 'jina-clip-evals[classification]'."
        ) from None
    rows = rows.astype(np.float64)
    probe = LogisticRegression(solver="newton-cg", max_iter=ITERATIONS, warm_start=True)
    for strength in strengths:
        # The solver minimises F / (C m), and its gradient is what `tol` bounds.
        probe.set_params(C=strength, tol=STEEPEST / (strength * len(rows)))
        with warnings.catch_warnings():
            # It warns where its steps or the digits of float64 end before `tol`. What that is worth
            # is measured by `gradient`.
            warnings.simplefilter("ignore")
            probe.fit(rows, labels)
        yield probe


def gradient(probe: Any, rows: Float[np.ndarray, "m d"], labels: Int[np.ndarray, "m"]) -> float:
    """|grad F| / max(1, |w|) of a fitted LogisticRegression, on the rows that it was fitted on.

    dF/dw_c = C sum_i r_ic x_i + w_c and dF/db_c = C sum_i r_ic, r_ic = p(c | x_i) - [label_i = c].
    """
    rows = rows.astype(np.float64)
    residuals = probe.predict_proba(rows)
    residuals[np.arange(len(rows)), np.searchsorted(probe.classes_, labels)] -= 1
    if len(probe.coef_) == 1:  # two classes share one logit, that of the second
        residuals = residuals[:, 1:]
    of_weights = probe.C * (residuals.T @ rows) + probe.coef_
    of_intercepts = probe.C * residuals.sum(axis=0)
    norm = np.hypot(np.linalg.norm(of_weights), np.linalg.norm(of_intercepts))
    return float(norm / max(1.0, float(np.linalg.norm(probe.coef_))))


def probe_ranks(
    probe: Any, test: Float32[np.ndarray, "n d"], labels: Int[np.ndarray, "n"], n_classes: int
) -> Ranks:
    """The ranks of the right classes by a fitted probe's logits; their score is a probability."""
    rows = test.astype(np.float64)
    logits = probe.decision_function(rows)
    if logits.ndim == 1:
        logits = np.stack([np.zeros(len(rows)), logits], axis=1)
    behind = logits.min(axis=1, keepdims=True) - 1
    scores = np.repeat(behind, n_classes, axis=1)
    scores[:, probe.classes_] = logits
    probabilities = np.zeros((len(rows), n_classes))
    probabilities[:, probe.classes_] = probe.predict_proba(rows)
    ranks = rank_labels(scores / np.abs(scores).max(initial=1.0), labels)
    right = probabilities[np.arange(len(labels)), labels]
    return replace(ranks, score=right.astype(np.float32))


def rank_labels(scores: Float64[np.ndarray, "n classes"], labels: Int[np.ndarray, "n"]) -> Ranks:
    """Where the right class of each image stands by these finite scores, of size 1 or so."""
    right = scores[np.arange(len(labels)), labels][:, None]
    better = (scores > right + TIE).sum(axis=1)
    tied = (np.abs(scores - right) <= TIE).sum(axis=1) - 1
    # The expected discount of one document among `tied + 1` equal ones is the mean of theirs.
    gains = gain_of_places(better, tied + 1)
    return Ranks(
        better=better,
        tied=tied,
        tied_relevant=np.ones_like(better),
        score=right[:, 0].astype(np.float32),
        ndcg10=gains / (tied + 1),
    )


def _held_out(labels: Int[np.ndarray, "m"], seed: int) -> Bool[np.ndarray, "m"]:
    """A fifth of the images of each class, rounded down, by a seeded choice."""
    rng = np.random.Generator(np.random.PCG64(seed))
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        images = np.flatnonzero(labels == label)
        held_out[rng.permutation(images)[: len(images) // HELD_OUT]] = True
    return held_out


def _joined(parts: Sequence[Ranks]) -> Ranks:
    """The ranks of consecutive blocks of images as one."""
    names = ("better", "tied", "tied_relevant", "score", "ndcg10")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Ranks(**columns)
