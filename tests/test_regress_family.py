"""One family: the adjusted p of each metric holds the chance of a false alarm among all of them."""

import itertools

import numpy as np
import pytest

from evals.records.queries import Cell
from evals.regress.family import Member, adjusted_p, shares
from evals.regress.pairing import Measured
from evals.stats.family import step_down
from evals.stats.paired import Pair
from tests.simulation_gate import DROPS, red_rate


def by_enumeration(block: np.ndarray) -> np.ndarray:
    """Step-down maxT over all sign vectors, written as the definition has it."""
    errors = np.sqrt((block**2).sum(axis=0))
    errors[errors == 0] = 1
    seen = -block.sum(axis=0) / errors
    signs = np.array(list(itertools.product((-1, 1), repeat=len(block))))
    drops = -(signs @ block) / errors
    p, least = np.ones(len(seen)), 0.0
    remaining = list(range(len(seen)))
    for metric in sorted(remaining, key=lambda i: -seen[i]):
        chance = (drops[:, remaining].max(axis=1) >= seen[metric] - 1e-9).mean()
        least = max(least, chance)
        p[metric] = least
        remaining.remove(metric)
    return p


@pytest.mark.parametrize("seed", range(4))
def test_adjusted_p_is_that_of_all_sign_vectors(seed):
    rng = np.random.default_rng(seed)
    block = np.round(rng.standard_normal((9, 5)) - 0.4 * (seed % 2), 1)
    [p] = step_down([block], flips=20_000)
    assert p == pytest.approx(by_enumeration(block), abs=0.012)


def test_five_losses_and_nothing_else_have_the_chance_of_five_tails():
    """In one of forty metrics, where no other query changed: 1 in 32, not forty times as much."""
    block = np.zeros((500, 40))
    block[:5, 7] = -1 / 1000
    [p] = step_down([block])
    assert p[7] == pytest.approx(1 / 32, abs=0.008)
    assert (np.delete(p, 7) == 1).all()


def test_metrics_of_several_benchmarks_are_one_family():
    rng = np.random.default_rng(0)
    block = rng.standard_normal((30, 1)) - 0.45
    [alone] = step_down([block])
    among = step_down([block, *(rng.standard_normal((30, 20)) for _ in range(5))])
    assert among[0][0] > 3 * alone[0]
    assert [len(p) for p in among] == [1, 20, 20, 20, 20, 20]


def test_a_copy_of_a_metric_costs_nothing():
    """Holm would double the p; the copy has the same drop in each permutation."""
    block = np.random.default_rng(1).standard_normal((40, 1)) - 0.3
    [alone], [twice] = step_down([block]), step_down([np.repeat(block, 2, axis=1)])
    assert twice == pytest.approx([alone[0], alone[0]])


def test_an_improvement_is_no_drop():
    block = np.full((20, 1), 0.1)
    [p] = step_down([block])
    assert p[0] == 1


def test_no_metrics_are_no_family():
    assert step_down([]) == [] and adjusted_p([]) == []


def test_false_alarms_among_forty_metrics_are_five_in_a_hundred():
    """Metrics that move together, as languages do: no change, and some p below .05 in 5% of cases."""
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(600):
        common = rng.standard_normal((60, 1))
        block = 0.6 * common + 0.8 * rng.standard_normal((60, 40))
        [p] = step_down([block], flips=400)
        alarms.append(p.min() < 0.05)
    assert 0.03 <= np.mean(alarms) <= 0.07


def test_shares_add_up_to_the_change_of_a_mean_over_languages():
    a = {"R@1": np.array([1.0, 1.0, 0.0, 0.0])}
    pairs = [
        Pair(a, {"R@1": np.array([0.0, 1.0, 0.0, 0.0])}, np.array([0, 0, 1, 1])),
        Pair(a, {"R@1": np.array([1.0, 1.0, 1.0, 0.0])}, np.array([0, 0, 2, 2])),
    ]
    metric = Measured(Cell("mean", "t2i", 8, "float32"), "R@1", 0.5, 0.5, pairs, same=False)
    assert shares([metric])[:, 0] == pytest.approx([-0.125, 0, 0.125])


def test_what_has_no_queries_has_no_p_in_the_family():
    cell = Cell("en", "test", 8, "float32")
    correlation = Measured(cell, "cosine_spearman", 0.8, 0.7, [], same=False)
    assert adjusted_p([Member(("sts", "m"), correlation)]) == [None]


# --- the whole gate on simulated runs; the docs have the table of 1,000 each


def test_a_run_that_differs_by_chance_is_red_in_five_of_a_hundred_at_most():
    """Of 60 runs with 0.9% of hits changed, 9 red ones would be a chance of 0.4% at a rate of 5%."""
    assert red_rate(0.0021, DROPS["nothing"], 60) <= 8 / 60


def test_where_nothing_changes_by_chance_half_a_point_in_one_language_is_found():
    assert red_rate(0.0, DROPS["0.5 points in one language"], 2) == 1.0


def test_half_a_point_in_every_language_is_found_through_noise():
    assert red_rate(0.0021, DROPS["0.5 points in every language"], 10) >= 0.8
