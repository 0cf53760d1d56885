"""Intervals cover, p is uniform without a change, and a planted drop is found."""

import numpy as np
import pytest

from evals.stats.bootstrap import cluster_bootstrap
from tests import simulation, simulation_mteb
from tests.simulation import CASES, Case, class_coverage, comparisons, coverage, rates

NOISE = 0.02  # 0.6% of the hits change without a drop: three times as many as between two dtypes of `tiny`


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_intervals_cover_the_mean_of_few_images_and_near_0_and_1(case: Case) -> None:
    for images in (10, 80):
        assert min(coverage(case, images, (0.02, 0.5, 0.95, 0.99, 0.999), 300)) >= 0.92


def test_the_bootstrap_alone_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "mean_intervals", cluster_bootstrap)
    few, near_one = (coverage(CASES[0], images, [0.99], 300)[0] for images in (50, 100))
    assert few < 0.5 and near_one < 0.75


def test_intervals_cover_the_mean_over_classes() -> None:
    for classes, images in ((5, 10), (40, 3)):
        assert min(class_coverage(classes, images, (0.5, 0.9, 0.99), 300)) >= 0.92


@pytest.mark.parametrize("design", simulation_mteb.DESIGNS[:4], ids=lambda design: design.name)
def test_intervals_of_tasks_cover_where_queries_share_documents(design) -> None:
    result = simulation_mteb.coverage(design, (0.2, 0.5, 0.8), 300)
    assert result.clustered is not None and min(result.clustered) >= 0.91


def test_queries_that_share_documents_are_not_independent() -> None:
    """Neither those of one document, nor those that all hang together, which have no interval."""
    one_document, entangled = (
        simulation_mteb.coverage(simulation_mteb.DESIGNS[place], (0.5,), 200) for place in (1, 4)
    )
    assert one_document.independent[0] < 0.85
    assert entangled.clustered is None and entangled.independent[0] < 0.88


def test_a_planted_drop_of_half_a_point_is_found_and_none_is_not() -> None:
    found = rates(NOISE, 0.005, 200, resamples=400)
    assert 0.002 < found.changed < 0.01
    assert found.found >= 0.9
    assert found.false_alarms <= 0.02


def test_the_interval_of_a_change_covers_the_true_one() -> None:
    found = rates(0.3, 0.02, 500, images=200, resamples=500)
    assert 0.93 <= found.covered <= 0.97


def test_p_is_uniform_where_nothing_changed() -> None:
    changes = comparisons(range(400), 1.0, 0.0, images=60, resamples=500)
    p = np.array([change.p for change in changes])
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
