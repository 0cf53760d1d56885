"""The cluster bootstrap and paired comparisons: checked by hand, by simulation, and against scipy."""

import itertools
from functools import partial

import numpy as np
import pytest

from evals.stats import bootstrap as stats
from evals.stats.bootstrap import Interval, cluster_bootstrap
from evals.stats.correlation import ScoredTwice, paired_spearman
from evals.stats.paired import Difference, Pair, holm, paired_bootstrap, paired_means
from evals.tasks.resampling import device_totals


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
    assert cluster_bootstrap({"x": np.array([0.0, 1.0]), "y": np.ones(2)}, np.array([4, 4])) == {
        "x": None,
        "y": None,
    }
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


def test_a_device_adds_the_totals_to_the_same_bits() -> None:
    hits, groups = captions(90, 0)
    values = {"a": hits, "b": np.random.default_rng(2).random(450) ** 7}
    on_device = cluster_bootstrap(values, groups, totals=partial(device_totals, "cpu"))
    assert on_device == cluster_bootstrap(values, groups)
    draws = list(stats.resamples_of(90, 0, 200))
    # on the grid, of very different sizes: in any other order of summation as well
    sums = np.round(np.random.default_rng(3).random((90, 2)) ** 30 * 1e5 * stats.GRID) / stats.GRID
    backwards = [times[:, ::-1] for times in draws]
    expected = stats.host_totals(draws, sums)
    assert np.array_equal(device_totals("cpu", draws, sums), expected)
    assert np.array_equal(device_totals("cpu", backwards, sums[::-1]), expected)


def test_a_metric_has_the_same_interval_alone_or_in_company() -> None:
    hits, groups = captions(50, 3)
    both = cluster_bootstrap({"a": hits, "b": 1 - hits}, groups)
    assert cluster_bootstrap({"a": hits}, groups)["a"] == pytest.approx(both["a"], abs=1e-15)
    assert both["b"] == pytest.approx((1 - both["a"].high, 1 - both["a"].low), abs=1e-12)


def test_the_names_of_the_groups_do_not_matter() -> None:
    hits, groups = captions(50, 4)
    assert cluster_bootstrap({"a": hits}, groups * 1000 - 7) == cluster_bootstrap(
        {"a": hits}, groups
    )


def test_every_resample_draws_as_many_groups_as_there_are() -> None:
    drawn = np.concatenate(list(stats._draw(500, 0, 130)))
    assert drawn.shape == (130, 500)
    assert (drawn.sum(axis=1) == 500).all()
    assert abs(np.mean(drawn == 0) - np.exp(-1)) < 0.01
    assert len(np.unique(drawn, axis=0)) == 130


def change(a: np.ndarray, b: np.ndarray, groups: np.ndarray, **more: int) -> Difference:
    return paired_bootstrap({"x": a}, {"x": b}, groups, **more)["x"]


def test_a_change_is_counted_query_by_query() -> None:
    a, b = np.array([1.0, 0, 0, 0, 1, 1]), np.array([0.0, 1, 0.5, 0, 1, 1])
    found = change(a, b, np.arange(6) // 2)
    assert found.value == pytest.approx(0.5 / 6)
    assert (found.wins, found.losses, found.ties) == (2, 1, 3)


def test_a_change_has_the_interval_that_the_mean_of_differences_has() -> None:
    (a, groups), (b, _) = captions(80, 0), captions(80, 1)
    found = change(a, b, groups)
    assert found.interval == pytest.approx(cluster_bootstrap({"x": b - a}, groups)["x"], abs=1e-15)
    one_sided = cluster_bootstrap({"x": b - a}, groups, level=0.9)["x"]
    assert (found.lower, found.upper) == pytest.approx(one_sided, abs=1e-15)


def test_the_other_way_round_is_the_same_comparison() -> None:
    (a, groups), (b, _) = captions(80, 2), captions(80, 3)
    forth, back = change(a, b, groups), change(b, a, groups)
    assert (forth.value, forth.wins, forth.losses) == (-back.value, back.losses, back.wins)
    assert (forth.p, forth.detectable) == pytest.approx((back.p, back.detectable))
    assert forth.upper == pytest.approx(-(back.lower or 0))


def test_equal_runs_do_not_differ_and_say_nothing_of_what_they_would_have_seen() -> None:
    hits, groups = captions(40, 0)
    found = change(hits, hits, groups)
    assert found == Difference(0.0, Interval(0.0, 0.0), 0.0, 0.0, 1.0, 0, 0, 200, None)


def test_one_image_has_no_spread() -> None:
    found = change(np.zeros(5), np.ones(5), np.zeros(5, dtype=np.int64))
    assert found == Difference(1.0, None, None, None, None, 5, 0, 0, None)
    with pytest.raises(ValueError, match="no queries"):
        change(np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64))


def test_metrics_that_only_one_run_has_are_refused() -> None:
    with pytest.raises(ValueError, match="metrics x"):
        paired_bootstrap({"x": np.ones(2)}, {"y": np.ones(2)}, np.arange(2))


def test_p_is_that_of_all_swaps_counted() -> None:
    # four images, all better by one: of 16 swaps two are as far from 0, so p is 1/8
    found = change(np.zeros(8), np.ones(8), np.arange(8) // 2, resamples=20_000)
    assert found.p == pytest.approx(1 / 8, abs=0.01)


def test_p_is_that_of_scipys_permutation_test() -> None:
    from scipy.stats import permutation_test

    rng = np.random.default_rng(5)
    a, b = rng.random(12), rng.random(12) + 0.2
    theirs = permutation_test(
        (a, b), lambda x, y: np.mean(y - x), permutation_type="samples", n_resamples=np.inf
    )
    ours = change(a, b, np.arange(12), resamples=50_000)
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.01)


def test_p_is_never_zero() -> None:
    found = change(np.zeros(1000), np.ones(1000), np.arange(1000), resamples=99)
    assert found.p == 0.01


def test_captions_that_change_together_are_no_more_than_one_observation() -> None:
    a = np.zeros(50)
    b = np.repeat([1.0] * 7 + [-1.0] * 3, 5)
    by_image, by_caption = change(a, b, np.repeat(np.arange(10), 5)), change(a, b, np.arange(50))
    assert by_image.p is not None and by_caption.p is not None
    assert by_image.p > 0.1 > 0.01 > by_caption.p


def test_the_detectable_change_is_seen_four_times_in_five() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(400)
    size = change(np.zeros(400), rng.standard_normal(400), groups).detectable
    assert size == pytest.approx((1.6449 + 0.8416) / 20, rel=0.1)
    drops = [
        change(np.zeros(400), rng.standard_normal(400) - size, groups, resamples=200)
        for _ in range(200)
    ]
    assert 0.72 <= np.mean([drop.upper is not None and drop.upper < 0 for drop in drops]) <= 0.88


def test_the_mean_of_one_part_is_the_part() -> None:
    (a, groups), (b, _) = captions(60, 0), captions(60, 1)
    assert paired_means([Pair({"x": a}, {"x": b}, groups)]) == paired_bootstrap(
        {"x": a}, {"x": b}, groups
    )


def test_languages_that_share_their_images_vary_together() -> None:
    (a, groups), (b, _) = captions(100, 0), captions(100, 1)
    once = Pair({"x": a}, {"x": b}, groups)
    other = once._replace(groups=groups + 1000)
    alone, same = (paired_means(parts)["x"] for parts in ([once], [once, once]))
    apart = paired_means([once, other])["x"]
    assert same.interval == pytest.approx(alone.interval) and same.p == alone.p
    assert same.wins == 2 * alone.wins
    assert width(apart.interval) == pytest.approx(width(alone.interval) / 2**0.5, rel=0.15)


def test_a_language_weighs_as_much_as_another_whatever_its_size() -> None:
    few = Pair({"x": np.zeros(2)}, {"x": np.ones(2)}, np.arange(2))
    many = Pair({"x": np.zeros(98)}, {"x": np.zeros(98)}, np.arange(98))
    assert paired_means([few, many])["x"].value == 0.5


def test_p_of_a_mean_over_languages_weighs_them_alike() -> None:
    """All sign vectors of nine images, of which one language has seven times as many captions."""
    rng = np.random.default_rng(0)
    changes = [rng.integers(-1, 2, 9).astype(float), rng.integers(-1, 2, 63).astype(float)]
    images = [np.arange(9), np.repeat(np.arange(9), 7)]
    parts = [
        Pair({"x": np.zeros(len(change))}, {"x": change}, image)
        for change, image in zip(changes, images, strict=True)
    ]
    few, many = changes[0], changes[1].reshape(9, 7).sum(axis=1)
    signs = np.array(list(itertools.product((-1, 1), repeat=9)))

    def exact(shares: np.ndarray) -> float:
        return float((abs(signs @ shares) >= abs(shares.sum()) - 1e-12).mean())

    assert paired_means(parts)["x"].p == pytest.approx(exact(few / 9 + many / 63), abs=0.04)
    assert abs(exact(few / 9 + many / 63) - exact(few + many)) > 0.2


def test_parts_of_an_image_each_have_no_spread() -> None:
    parts = [Pair({"x": np.zeros(2)}, {"x": np.ones(2)}, np.full(2, i)) for i in range(9)]
    assert paired_means(parts)["x"] == Difference(1.0, None, None, None, None, 18, 0, 0, None)


def test_a_large_difference_is_found_among_any_number_of_tests() -> None:
    """Holm multiplies the first p of 1,000 by 1,000; 2,000 permutations end at 1/2001."""
    a, b, groups = np.zeros(60), np.ones(60), np.arange(60)
    pair = Pair({"hit": a}, {"hit": b}, groups)
    alone, among = paired_means([pair])["hit"], paired_means([pair], tests=1000)["hit"]
    assert (alone.p, among.p) == (1 / 2001, 1 / 40_001)
    assert among._replace(p=alone.p) == alone
    gold = np.random.default_rng(0).random(60)
    scored = [ScoredTwice(gold[::-1].copy(), gold, gold)]
    alone, among = paired_spearman(scored), paired_spearman(scored, tests=100)
    assert (alone.p, among.p) == (1 / 2001, 1 / 4001)
    assert among._replace(p=alone.p) == alone


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06}
    )
    assert holm({"a": 0.6, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
