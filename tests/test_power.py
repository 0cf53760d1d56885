"""Paired comparisons do what they say: intervals cover, p is uniform without a change, and a planted drop is found."""

import numpy as np
import pytest

from tests.simulation import comparison, rates

NOISE = 0.02  # 0.6% of the hits change without a drop: three times as many as between two dtypes of `tiny`


def test_a_planted_drop_of_half_a_point_is_found_and_none_is_not() -> None:
    found = rates(NOISE, 0.005, 200, resamples=400)
    assert 0.002 < found.changed < 0.01
    assert found.found >= 0.9
    assert found.false_alarms <= 0.02


def test_the_interval_of_a_change_covers_the_true_one() -> None:
    found = rates(0.3, 0.02, 500, images=200, resamples=500)
    assert 0.93 <= found.covered <= 0.97


def test_p_is_uniform_where_nothing_changed() -> None:
    p = np.array([comparison(seed, 1.0, 0.0, images=60, resamples=500).p for seed in range(400)])
    for level in (0.05, 0.2, 0.5, 0.8):
        assert np.mean(p <= level) == pytest.approx(
            level, abs=3 * (level * (1 - level) / 400) ** 0.5 + 0.01
        )


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.01, 0.02])
def test_at_full_size_drops_are_found_and_intervals_cover(noise: float) -> None:
    found = rates(noise, 0.005, 1000)
    assert found.found >= 0.9
    assert found.false_alarms <= 0.02
    assert 0.93 <= found.covered <= 0.97
