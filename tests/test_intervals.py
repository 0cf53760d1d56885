"""Intervals of shares: Clopper and Pearson's where hits, misses or images are few, the bootstrap's elsewhere."""

import numpy as np
import pytest
from scipy.stats import beta, binomtest

from evals.stats.bootstrap import Interval, cluster_bootstrap, stratified_bootstrap
from evals.stats.intervals import (
    FEW_GROUPS,
    Effective,
    binomial_interval,
    class_mean_interval,
    effective,
    mean_intervals,
    parts_mean_interval,
)


def hits(n: int, n_hits: int) -> np.ndarray:
    return (np.arange(n) < n_hits).astype(np.float64)


def interval(values: np.ndarray, groups: np.ndarray | None = None) -> Interval:
    groups = np.arange(len(values)) if groups is None else groups
    result = mean_intervals({"x": values}, groups)["x"]
    assert result is not None
    return result


def width(ends: Interval | None) -> float:
    assert ends is not None
    return ends.high - ends.low


@pytest.mark.parametrize(("n", "n_hits"), [(20, 20), (20, 19), (20, 10), (300, 290), (5000, 3)])
def test_of_independent_queries_it_is_scipys_exact_interval(n: int, n_hits: int) -> None:
    exact = binomtest(n_hits, n).proportion_ci(0.95, "exact")
    assert interval(hits(n, n_hits)) == pytest.approx((exact.low, exact.high), abs=1e-11)


def test_hits_of_all_queries_leave_room_for_a_miss() -> None:
    low, high = interval(np.ones(20))
    assert high == 1.0 and low == pytest.approx(0.025 ** (1 / 20))
    assert interval(np.zeros(20)) == pytest.approx((0.0, 1 - low))


def test_with_fifteen_hits_and_misses_nothing_differs_from_the_bootstrap() -> None:
    for n_hits, is_few in ((285, False), (286, True), (15, False), (14, True)):
        bootstrap = cluster_bootstrap({"x": hits(300, n_hits)}, np.arange(300))["x"]
        assert (interval(hits(300, n_hits)) != bootstrap) == is_few, n_hits


def test_metrics_that_are_few_change_nothing_for_others() -> None:
    values = {"R@1": hits(300, 150), "R@10": hits(300, 299), "MRR": np.linspace(0.2, 0.9, 300)}
    together = mean_intervals(values, np.arange(300))
    bootstrap = cluster_bootstrap(values, np.arange(300))
    assert list(together) == list(values)
    assert together["R@1"] == bootstrap["R@1"] and together["MRR"] == bootstrap["MRR"]
    assert together["R@10"] == interval(values["R@10"])


def test_captions_that_agree_wholly_count_as_one_query() -> None:
    missed, images = hits(40, 36), np.repeat(np.arange(40), 5)
    mean = effective(np.repeat(missed, 5), np.ones(200), images)
    assert mean.queries == pytest.approx(40) and mean.value == 0.9
    assert mean.rarer == pytest.approx(4)
    # without a miss they are taken to agree: five hits of an image say no more than one
    assert interval(np.ones(200), images) == pytest.approx(interval(np.ones(40)), abs=1e-11)


def test_captions_that_do_not_agree_count_almost_as_many() -> None:
    images = np.repeat(np.arange(400), 5)
    scattered = np.ones(2000)
    scattered[np.arange(0, 2000, 65)] = 0  # 31 misses, of 31 images
    mean = effective(scattered, np.ones(2000), images)
    assert 1700 < mean.queries < 2000


def test_few_images_have_a_wider_interval_than_the_bootstrap_however_many_captions() -> None:
    rng = np.random.default_rng(0)
    for n_images in (5, 10, FEW_GROUPS - 1):
        images = np.repeat(np.arange(n_images), 36)
        values = (rng.random(len(images)) < 0.5).astype(np.float64)
        bootstrap = cluster_bootstrap({"x": values}, images)["x"]
        assert width(interval(values, images)) > width(bootstrap)


def test_of_few_clusters_queries_are_fewer_by_the_square_of_students_t() -> None:
    """Its 97.5% point for 10 clusters is 2.262, where the normal has 1.960."""
    low, high = binomial_interval(Effective(0.75, 100.0, binomial=False), 10)
    queries = 100 * (1.959964 / 2.262157) ** 2
    hits, misses = 0.75 * queries, 0.25 * queries
    assert low == pytest.approx(beta.ppf(0.025, hits, misses + 1), abs=1e-5)
    assert high == pytest.approx(beta.ppf(0.975, hits + 1, misses), abs=1e-5)


def test_the_interval_holds_the_mean_and_misses_mirror_hits() -> None:
    rng = np.random.default_rng(1)
    images = np.repeat(np.arange(60), 5)
    for share in (0.001, 0.02, 0.5, 0.97, 1.0):
        values = (rng.random(300) < share).astype(np.float64)
        low, high = interval(values, images)
        assert low <= values.mean() <= high
        assert interval(1 - values, images) == pytest.approx((1 - high, 1 - low), abs=1e-10)


def test_neither_the_order_nor_the_names_of_the_images_matter() -> None:
    rng = np.random.default_rng(2)
    images, values = np.repeat(np.arange(60), 5), (rng.random(300) < 0.98).astype(np.float64)
    order = rng.permutation(300)
    assert interval(values[order], images[order]) == interval(values, images)
    assert interval(values, 7 * images[::-1] - 1) == pytest.approx(interval(values[::-1], images))


def test_reciprocal_ranks_near_one_are_not_taken_for_certain() -> None:
    values = np.ones(50)
    assert interval(values) == interval(hits(50, 50))
    values[:4] = 0.5
    low, high = interval(values)
    # half a miss each: less than four whole misses would widen it, more than none
    assert interval(hits(50, 46)).low < low < interval(np.ones(50)).low
    assert high < 1


def test_values_that_are_no_shares_have_the_bootstraps_interval() -> None:
    values = np.linspace(-1, 1, 20)
    assert interval(values) == cluster_bootstrap({"x": values}, np.arange(20))["x"]


def test_one_image_has_no_interval() -> None:
    assert mean_intervals({"x": np.ones(5)}, np.zeros(5, dtype=int)) == {"x": None}
    assert parts_mean_interval([np.ones(2), np.ones(3)], [["a"] * 2, ["a"] * 3]) is None
    assert class_mean_interval(np.ones(1), np.zeros(1, dtype=int)) is None


# means over classes


def test_a_mean_over_classes_of_equal_size_is_that_over_images() -> None:
    classes = np.repeat(np.arange(5), 20)
    values = hits(100, 97)
    assert class_mean_interval(values, classes) == pytest.approx(interval(values), abs=1e-11)


def test_a_mean_over_classes_with_many_hits_and_misses_has_the_stratified_bootstrap() -> None:
    classes = np.repeat(np.arange(5), 40)
    values = (np.arange(200) % 3 > 0).astype(np.float64)
    assert class_mean_interval(values, classes) == stratified_bootstrap(values, classes)


def test_classes_of_few_images_have_a_wider_interval_than_the_bootstrap_within_them() -> None:
    classes = np.repeat(np.arange(100), 2)
    values = (np.random.default_rng(3).random(200) < 0.5).astype(np.float64)
    assert width(class_mean_interval(values, classes)) > 1.3 * width(
        stratified_bootstrap(values, classes)
    )
    assert class_mean_interval(np.ones(30), np.arange(30)) == pytest.approx(interval(np.ones(30)))


def test_an_image_of_a_small_class_weighs_more() -> None:
    classes = np.repeat([0, 1], [100, 10])
    small, large = hits(110, 109), np.roll(hits(110, 109), 1)  # misses one of class 1, of class 0
    missed_small, missed_large = (class_mean_interval(v, classes) for v in (small, large))
    assert missed_small is not None and missed_large is not None
    assert missed_small.low < missed_large.low


# means over languages


def test_a_mean_over_languages_counts_an_image_once() -> None:
    values, images = hits(50, 50), [f"image{i}" for i in range(50)]
    shared = parts_mean_interval([values, values], [images, images])
    assert shared == pytest.approx(interval(values), abs=1e-11)
    apart = parts_mean_interval([values, values], [images, [f"other {image}" for image in images]])
    assert apart == pytest.approx(interval(hits(100, 100)), abs=1e-11)


def test_a_language_weighs_as_much_as_another_whatever_its_size() -> None:
    small, large = np.zeros(40), np.ones(400)
    ends = parts_mean_interval([small, large], [list(range(40)), list(range(400))])
    assert ends is not None and ends.low < 0.5 < ends.high
