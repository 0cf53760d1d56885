"""The cluster bootstrap: checked by hand, by simulation, and against the naive interval it replaces."""

import numpy as np
import pytest

from evals import stats
from evals.stats import Interval, cluster_bootstrap


def width(interval: Interval | None) -> float:
    assert interval is not None
    return interval.high - interval.low


def captions(n_images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Five captions an image; half of what decides a hit belongs to the image."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_images), 5)
    hits = rng.standard_normal(n_images)[groups] + rng.standard_normal(5 * n_images) > 0
    return hits.astype(np.float64), groups


def test_two_images_have_three_possible_means() -> None:
    ends = cluster_bootstrap({"R@1": np.array([0.0, 1.0])}, np.array([7, 3]))["R@1"]
    assert ends == Interval(0.0, 1.0)  # both the same image in half of the resamples


def test_a_resample_weighs_images_by_their_captions() -> None:
    # the mean of a resample is (a·0 + b·3) / (a·1 + b·3): 0, 3/4 or 1; never 1/2, the mean of the images' means
    values, groups = np.array([0.0, 1, 1, 1]), np.array([0, 1, 1, 1])
    assert cluster_bootstrap({"x": values}, groups, level=0.4)["x"] == Interval(0.75, 0.75)
    assert cluster_bootstrap({"x": values}, groups)["x"] == Interval(0.0, 1.0)


def test_a_constant_has_an_interval_of_no_width() -> None:
    assert cluster_bootstrap({"x": np.ones(30)}, np.arange(30) // 3)["x"] == Interval(1.0, 1.0)


def test_one_image_has_no_interval() -> None:
    assert cluster_bootstrap({"x": np.array([0.0, 1.0]), "y": np.ones(2)}, np.array([4, 4])) == {"x": None, "y": None}
    assert cluster_bootstrap({"x": np.zeros(0)}, np.zeros(0, dtype=np.int64)) == {"x": None}


def test_captions_that_agree_widen_the_interval() -> None:
    hits = np.repeat(np.random.default_rng(0).integers(0, 2, 200), 5).astype(np.float64)
    by_image = cluster_bootstrap({"x": hits}, np.repeat(np.arange(200), 5))["x"]
    naive = cluster_bootstrap({"x": hits}, np.arange(1000))["x"]
    assert width(by_image) == pytest.approx(width(naive) * 5**0.5, rel=0.1)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    covered = {"image": 0, "caption": 0}
    for seed in range(300):
        hits, groups = captions(60, seed)
        for name, clusters in (("image", groups), ("caption", np.arange(len(hits)))):
            ends = cluster_bootstrap({"x": hits}, clusters, resamples=400)["x"]
            assert ends is not None
            covered[name] += ends.low <= 0.5 <= ends.high
    assert 0.91 <= covered["image"] / 300 <= 0.98
    assert covered["caption"] / 300 < 0.88


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(1).random(4000)
    ends = cluster_bootstrap({"x": values}, np.arange(4000))["x"]
    assert ends is not None
    assert ends.low == pytest.approx(values.mean() - 1.96 * values.std() / 4000**0.5, abs=6e-4)
    assert ends.high == pytest.approx(values.mean() + 1.96 * values.std() / 4000**0.5, abs=6e-4)


def test_a_seed_gives_the_same_bits_drawn_or_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    hits, groups = captions(90, 0)
    values = {"a": hits, "b": np.random.default_rng(2).random(450)}
    stats._kept.cache_clear()
    first = cluster_bootstrap(values, groups)
    assert cluster_bootstrap(values, groups) == first
    assert stats._kept.cache_info().hits == 1
    monkeypatch.setattr(stats, "KEEP", 0)
    assert cluster_bootstrap(values, groups) == first
    assert cluster_bootstrap(values, groups, seed=1) != first


def test_a_metric_has_the_same_interval_alone_or_in_company() -> None:
    hits, groups = captions(50, 3)
    both = cluster_bootstrap({"a": hits, "b": 1 - hits}, groups)
    assert cluster_bootstrap({"a": hits}, groups)["a"] == pytest.approx(both["a"], abs=1e-15)
    assert both["b"] == pytest.approx((1 - both["a"].high, 1 - both["a"].low), abs=1e-12)


def test_the_names_of_the_groups_do_not_matter() -> None:
    hits, groups = captions(50, 4)
    assert cluster_bootstrap({"a": hits}, groups * 1000 - 7) == cluster_bootstrap({"a": hits}, groups)


def test_every_resample_draws_as_many_groups_as_there_are() -> None:
    drawn = np.concatenate(list(stats._draw(500, 0, 130)))
    assert drawn.shape == (130, 500)
    assert (drawn.sum(axis=1) == 500).all()
    assert abs(np.mean(drawn == 0) - np.exp(-1)) < 0.01
    assert len(np.unique(drawn, axis=0)) == 130
