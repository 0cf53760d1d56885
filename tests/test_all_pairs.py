"""All pairs of models are tested as a textbook does it, ranks follow from that, and errors stay below 5%."""

import itertools

import networkx
import numpy as np
import pytest
from scipy.stats import permutation_test

from evals.stats.all_pairs import (
    Ranks,
    adjusted_p,
    all_pairs,
    decided_at,
    groups_not_apart,
    pairs_of,
    possible_ranks,
    rank_intervals,
)
from tests import simulation_rank


def step_down_by_hand(shares: np.ndarray) -> dict[tuple[int, int], float]:
    """Romano and Wolf's algorithm with all sign flips, set by set, without any shortcut."""
    groups, models = shares.shape
    pairs = list(itertools.permutations(range(models), 2))

    def statistic(signs: np.ndarray, pair: tuple[int, int]) -> float:
        changes = shares[:, pair[0]] - shares[:, pair[1]]
        return float(signs @ changes / np.sqrt(np.sum(changes**2)))

    seen = {pair: statistic(np.ones(groups), pair) for pair in pairs}
    flips = [np.array(signs) for signs in itertools.product((-1.0, 1.0), repeat=groups)]
    largest, p = 0.0, {}
    for pair in sorted(pairs, key=seen.__getitem__, reverse=True):
        remaining = [other for other in pairs if other not in p]
        reached = [
            max(statistic(signs, other) for other in remaining) >= seen[pair] - 1e-9
            for signs in flips
        ]
        largest = max(largest, float(np.mean(reached)))
        p[pair] = largest
    return p


def test_p_is_that_of_all_sign_flips_step_by_step() -> None:
    rng = np.random.default_rng(5)
    shares = rng.standard_normal((8, 3)) + np.array([0.9, 0.2, 0.0])
    expected = step_down_by_hand(shares)
    family = all_pairs(3)
    (p,) = adjusted_p(shares, [family], flips=40_000)
    for (a, b), value in zip(family.tolist(), p, strict=True):
        assert value == pytest.approx(expected[a, b], abs=0.008)
    assert len({round(value, 3) for value in expected.values()}) > 3


def test_two_models_have_the_p_of_scipys_permutation_test() -> None:
    rng = np.random.default_rng(1)
    shares = rng.standard_normal((60, 2)) + np.array([0.25, 0.0])
    changes = shares[:, 0] - shares[:, 1]
    expected = permutation_test(
        (changes,), np.mean, permutation_type="samples", n_resamples=20_000, rng=3
    ).pvalue
    (p,) = adjusted_p(shares, [all_pairs(2)], flips=20_000)
    assert p[0] == pytest.approx(expected, abs=0.01)
    assert 0.001 < p[0] < 0.2 and p[1] > 0.9


def test_equal_models_have_p_1_and_all_ranks() -> None:
    shares = np.repeat(np.arange(12.0)[:, None], 4, axis=1)
    (p,) = adjusted_p(shares, [all_pairs(4)], flips=500)
    assert (p == 1).all()
    assert rank_intervals(shares) == [Ranks(1, 4)] * 4


def test_models_far_apart_have_one_rank_each() -> None:
    rng = np.random.default_rng(0)
    shares = 0.1 * rng.standard_normal((50, 4)) + [3, 1, 4, 2]
    assert rank_intervals(shares) == [Ranks(n, n) for n in (2, 4, 1, 3)]


def test_what_all_models_have_in_common_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    shares = rng.standard_normal((40, 3))
    (p,) = adjusted_p(shares, [all_pairs(3)], flips=500)
    (shifted,) = adjusted_p(shares + rng.standard_normal((40, 1)), [all_pairs(3)], flips=500)
    assert p == pytest.approx(shifted)


def test_a_rank_leaves_out_those_that_are_better_and_worse_for_sure() -> None:
    better = np.array([[0, 1], [1, 2], [1, 3]])
    assert possible_ranks(0, better, 4) == Ranks(1, 3)
    assert possible_ranks(1, better, 4) == Ranks(2, 2)
    assert possible_ranks(2, better, 4) == Ranks(2, 4)
    assert possible_ranks(2, better[:0], 4) == Ranks(1, 4)


def test_the_pairs_of_a_model_are_those_that_it_is_in() -> None:
    assert pairs_of(1, 3).tolist() == [[0, 1], [1, 0], [1, 2], [2, 1]]


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_the_largest_cliques_of_networkx(seed: int) -> None:
    rng = np.random.default_rng(seed)
    apart = np.triu(rng.random((8, 8)) < 0.4, 1)
    graph = networkx.from_numpy_array(~(apart | apart.T) & ~np.eye(8, dtype=bool))
    cliques = sorted(tuple(sorted(clique)) for clique in networkx.find_cliques(graph))
    assert groups_not_apart(apart | apart.T) == cliques


def test_a_model_between_two_is_in_the_groups_of_both() -> None:
    apart = np.zeros((3, 3), dtype=bool)
    apart[0, 2] = apart[2, 0] = True
    assert groups_not_apart(apart) == [(0, 1), (1, 2)]


def test_few_flips_need_a_smaller_p() -> None:
    assert decided_at() == pytest.approx(0.0456, abs=1e-4)
    assert decided_at(1000) < decided_at(5000) < decided_at() < 0.05


@pytest.mark.parametrize("race", simulation_rank.RACES[:1] + simulation_rank.RACES[4:5])
def test_rank_intervals_hold_and_few_models_are_wrongly_told_apart(race) -> None:
    rates = simulation_rank.rates(race, 300, images=100, flips=500)
    assert rates.lowest >= 0.92
    assert rates.at_once >= 0.93
    assert rates.wrong <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("race", simulation_rank.RACES, ids=lambda race: race.name)
def test_at_full_size_rank_intervals_hold_at_95(race) -> None:
    runs = 1000
    rates = simulation_rank.rates(race, runs)
    # three standard errors of a share of 5%
    noise = 3 * (0.05 * 0.95 / runs) ** 0.5
    assert rates.lowest >= 0.95 - noise
    assert rates.wrong <= 0.05 + noise
    if race.name in ("6 equal models", "12 equal models"):
        assert rates.mean == pytest.approx(0.955, abs=0.01)
