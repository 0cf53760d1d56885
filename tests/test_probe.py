"""k-NN votes as scikit-learn's does, the linear probe is solved, and records say what they learned from."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import logsumexp, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from evals.embeddings.truncation import truncate
from evals.ranking.metrics import hit_at
from evals.records.record import read_run
from evals.schema import InvalidError
from evals.tasks import probes
from evals.tasks.probes import (
    SOLVED,
    STRENGTHS,
    fits,
    gradient,
    linear,
    nearest,
    probe_ranks,
    rank_labels,
)
from tests.commands import run
from tests.labelled import class_folders
from tests.test_data_labelled import EMOTIONS


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, ...]:
    """Four noisy classes of unequal size: training rows and labels, test rows and labels."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((4, 12))
    known, asked = rng.choice(4, 120, p=[0.4, 0.3, 0.2, 0.1]), rng.choice(4, 50)
    parts = [
        truncate(centres[labels] + 1.5 * rng.standard_normal((len(labels), 12)), 12)
        for labels in (known, asked)
    ]
    return parts[0], known, parts[1], asked


def test_neighbours_vote_as_scikit_learns_with_the_same_weights(rows):
    x, known, y, asked = rows
    found = nearest(x, known, y, asked, [1, 7], 4)
    for k, ranks in found.items():
        oracle = KNeighborsClassifier(
            k, metric="cosine", algorithm="brute", weights=lambda d: np.exp(-d / 0.07)
        ).fit(x, known)
        expected = oracle.predict(y) == asked
        assert 0.2 < expected.mean() < 1
        np.testing.assert_allclose(hit_at(ranks, 1), expected, atol=1e-9)


def test_one_neighbour_is_the_plain_nearest_and_unvoted_classes_tie(rows):
    x, known, y, asked = rows
    ranks = nearest(x, known, y, asked, [1], 4)[1]
    right = known[(y @ x.T).argmax(1)] == asked
    np.testing.assert_array_equal(ranks.better == 0, right)
    np.testing.assert_array_equal(ranks.tied, np.where(right, 0, 2))


def test_more_neighbours_than_images_are_refused(rows):
    x, known, y, asked = rows
    with pytest.raises(InvalidError, match="--knn 121: there are only 120"):
        nearest(x, known, y, asked, [121], 4)


def loss(x: np.ndarray, labels: np.ndarray, w: np.ndarray, b: np.ndarray, strength: float) -> float:
    """C * sum_i -log p(label_i | x_i) + |w|^2 / 2, as written."""
    logits = x @ w.T + b
    log_sums = logsumexp(logits, axis=1)
    right = logits[np.arange(len(x)), labels]
    return float(strength * (log_sums - right).sum() + (w**2).sum() / 2)


def minimiser(x: np.ndarray, labels: np.ndarray, strength: float) -> np.ndarray:
    """w and, as last column, b at the minimum of `loss`: Newton's method with all second derivatives."""
    one_hot = np.eye(labels.max() + 1)
    inputs = np.column_stack([x, np.ones(len(x))])
    penalty = np.r_[np.ones(x.shape[1]), 0]
    theta = np.zeros((len(one_hot), inputs.shape[1]))

    def value(theta: np.ndarray) -> float:
        return loss(x, labels, theta[:, :-1], theta[:, -1], strength)

    for _ in range(200):
        p = softmax(inputs @ theta.T, axis=1)
        slope = strength * (p - one_hot[labels]).T @ inputs + penalty * theta
        if np.abs(slope).max() < 1e-8:
            break
        curvature = np.einsum("ic,ce->ice", p, one_hot) - np.einsum("ic,ie->ice", p, p)
        hessian = strength * np.einsum("ice,ij,ik->cjek", curvature, inputs, inputs)
        hessian = hessian.reshape(theta.size, -1) + np.diag(np.tile(penalty, len(one_hot)))
        # equal shifts of all b change nothing: lstsq leaves them out
        step = np.linalg.lstsq(hessian, slope.ravel(), rcond=1e-13)[0].reshape(theta.shape)
        while value(theta - step) > value(theta) and np.abs(step).max() > 1e-12:
            step = step / 2
        theta = theta - step
    return theta


@pytest.mark.parametrize("classes", [4, 2])
def test_a_linear_probe_is_the_minimum_of_its_loss_at_every_strength(rows, classes):
    x, known = rows[0].astype(np.float64), rows[1] % classes
    for strength, probe in zip(STRENGTHS, fits(x, known, STRENGTHS), strict=True):
        assert gradient(probe, x, known) <= SOLVED
        # Of two classes there is one w in place of a pair w/2, -w/2, and so twice the penalty.
        w = minimiser(x, known, strength if classes > 2 else strength / 2)[:, :-1]
        w = w if classes > 2 else np.diff(w, axis=0)
        np.testing.assert_allclose(probe.coef_, w, atol=1e-4 * max(1, np.linalg.norm(w)))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_gradient_is_that_of_finite_differences(rows):
    x, known = rows[0].astype(np.float64), rows[1]
    for labels in (known, known % 2):
        probe = LogisticRegression(C=3.0, max_iter=2).fit(x, labels)
        theta = np.column_stack([probe.coef_, probe.intercept_])

        def objective(values: np.ndarray, labels=labels, shape=theta.shape) -> float:
            w, b = values.reshape(shape)[:, :-1], values.reshape(shape)[:, -1]
            if len(w) > 1:
                return loss(x, labels, w, b, 3.0)
            # of two classes the first has no logit of its own, and only one row is penalised
            return loss(x, labels, np.vstack([0 * w, w]), np.r_[0, b], 3.0)

        expected = np.linalg.norm(approx_fprime(theta.ravel(), objective, 1e-7))
        size = max(1, np.linalg.norm(probe.coef_))
        assert gradient(probe, x, labels) == pytest.approx(expected / size, rel=1e-4)


def test_an_early_stopped_fit_is_not_called_solved(rows):
    x, known, *_ = rows
    probe = LogisticRegression(C=1e4, max_iter=1000).fit(x.astype(np.float64), known)
    assert probe.n_iter_.max() < 1000  # what it calls converged
    assert gradient(probe, x, known) > 100 * SOLVED


def test_the_linear_probe_is_the_best_strength_on_all_training_images(rows):
    x, known, y, asked = rows
    fit = linear(x, known, y, asked, 5)  # class 4 is never seen
    theta = minimiser(x.astype(np.float64), known, fit.strength)
    p = softmax(y.astype(np.float64) @ theta[:, :-1].T + theta[:, -1], axis=1)
    np.testing.assert_array_equal(hit_at(fit.ranks, 1), p.argmax(1) == asked)
    np.testing.assert_allclose(fit.ranks.score, p[np.arange(50), asked], atol=1e-4)
    assert (fit.converged, fit.strength in STRENGTHS) == (True, True)
    assert fit.gradient <= SOLVED
    assert 0.3 < fit.held_out_accuracy <= 1


def test_a_fit_that_ran_out_of_steps_is_recorded_as_such(rows, monkeypatch):
    x, known, y, asked = rows
    monkeypatch.setattr(probes, "ITERATIONS", 2)
    assert not linear(x, known, y, asked, 4).converged


def test_classes_are_ranked_where_their_probabilities_are_rounding(rows):
    x, known, y, asked = rows
    *_, probe = fits(x, known, [1.0])
    before = probe_ranks(probe, y, asked, 5)
    probe.coef_ *= 1e5
    probe.intercept_ *= 1e5
    after = probe_ranks(probe, y, asked, 5)
    assert (after.score == 0).any()  # what is left of a probability of e^-1000
    np.testing.assert_array_equal(before.better, after.better)
    assert not after.tied.any()
    unseen = probe_ranks(probe, y, np.full(50, 4), 5)
    assert (unseen.better.tolist(), unseen.tied.tolist()) == ([4] * 50, [0] * 50)


def test_the_penalty_is_chosen_without_the_test_images(rows):
    x, known, y, asked = rows
    assert (
        linear(x, known, y, asked, 4).strength == linear(x, known, -y, (asked + 1) % 4, 4).strength
    )
    flipped = linear(x, np.random.default_rng(0).permutation(known), y, asked, 4)
    assert flipped.held_out_accuracy < linear(x, known, y, asked, 4).held_out_accuracy


def test_too_little_to_learn_from_is_refused(rows):
    x, _, y, asked = rows
    with pytest.raises(InvalidError, match="of one class"):
        linear(x, np.zeros(120, int), y, asked, 4)
    with pytest.raises(InvalidError, match="No class has 5 training images"):
        linear(x[:8], np.arange(8) % 4, y, asked, 4)


def test_a_right_class_among_equal_scores_counts_in_expectation():
    ranks = rank_labels(
        np.array([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7], [0.0, 0.0, 1.0]]), np.array([0, 1, 0])
    )
    assert ranks.better.tolist() == [0, 1, 1]
    assert ranks.tied.tolist() == [1, 0, 1]
    np.testing.assert_allclose(hit_at(ranks, 1), [0.5, 0, 0])
    np.testing.assert_allclose(
        ranks.ndcg10,
        [(1 + 1 / np.log2(3)) / 2, 1 / np.log2(3), (1 / np.log2(3) + 0.5) / 2],
        atol=1e-9,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = class_folders(tmp_path_factory.mktemp("data") / "fer2013", EMOTIONS, split="test")
    return class_folders(root, EMOTIONS, split="train", n=60, seed=1000)


def probe(data: Path, *arguments: object, cwd: Path):
    return run(
        "fer2013", "--data", data, "--allow-subset", *arguments, cwd=cwd, module="evals.probe"
    )


def test_probes_are_recorded_with_what_they_learned_from(data: Path, tmp_path: Path) -> None:
    done = probe(data, "--dims", "256,8", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    knn, fitted = json.loads(done.stdout)["runs"]
    # 90 images are a part of the benchmark, and the output says so as the manifest does
    assert knn["benchmark"] == "fer2013.knn.partial"
    assert fitted["benchmark"] == "fer2013.linear.partial"
    assert knn["encoded"] == {"image": 90, "text": 0}
    assert {m["direction"] for m in knn["metrics"]} == {"1-NN", "5-NN", "20-NN"}
    [whole] = [m for m in fitted["metrics"] if (m["metric"], m["k"], m["dim"]) == ("acc", 1, 256)]
    assert whole["value"] > 0.9  # colours are told apart, and names of moods say nothing of them
    manifest = read_run(tmp_path / fitted["path"]).manifest.raw
    assert manifest["benchmark"] == "fer2013.linear.partial"
    assert (
        manifest["probe"]["train"]["images"],
        manifest["probe"]["train"]["shared"],
        manifest["probe"]["seed"],
    ) == (60, 0, 0)
    assert set(manifest["probe"]["fits"]) == {"256", "8"}
    again = probe(data, "--no-linear", "--knn", "3", cwd=tmp_path)
    assert "3-NN" in again.stdout
    assert "Encoded now: 0 images" in again.stdout


def test_what_cannot_be_probed_is_refused(data: Path, tmp_path: Path) -> None:
    for arguments, code, says in (
        (("--train-split", "test"), 3, "all test images are among the training images"),
        (("--knn", "0", "--no-linear"), 2, "nothing is left to measure"),
        (("--knn", "1,60,61"), 3, "there are only 60 training images. Use --knn 1,60."),
        (("--knn", "61"), 3, "there are only 60 training images. Use --knn 60."),
        (("--train-split", "val"), 3, "the folder 'test' is none of the 7 classes"),
    ):
        done = probe(data, *arguments, cwd=tmp_path)
        assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    captions = run("scenes", cwd=tmp_path, module="evals.probe")
    assert (captions.returncode, "probes need images with one class each" in captions.stderr) == (
        2,
        True,
    ), captions.stderr
