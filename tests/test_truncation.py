"""Truncated rows are the first values of each row, of length 1 again, whatever rows stand beside them."""

import numpy as np
import pytest

from evals.embeddings.truncation import truncate, truncations
from tests.ranking import rows


def test_truncate_keeps_the_first_values_and_makes_unit_rows() -> None:
    out = truncate(rows([3, 4, 12], [0, 2, 7]), 2)
    assert out.dtype == np.float32
    assert np.array_equal(out, rows([0.6, 0.8], [0, 1]))


def test_several_cuts_at_once_are_those_of_each_alone() -> None:
    """A row is divided by the norm of what is left of it, and not of what was there before."""
    rows = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    for dim, cut in truncations(rows, [8, 2, 4]).items():
        np.testing.assert_array_equal(cut.rows, truncate(rows, dim))
        np.testing.assert_allclose(cut.norms, np.linalg.norm(rows[:, :dim], axis=1), rtol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(cut.rows, axis=1), 1, rtol=1e-6)


def test_truncate_leaves_a_zero_row_zero() -> None:
    assert np.array_equal(truncate(rows([0, 0, 5], [0, 0, 0]), 2), np.zeros((2, 2)))


def test_truncate_gives_equal_rows_equal_bits_wherever_they_stand() -> None:
    some = np.random.default_rng(0).standard_normal((1, 999)).astype(np.float32)
    many = np.random.default_rng(1).standard_normal((1100, 999)).astype(np.float32)
    places = [0, 1, 511, 512, 1099]
    many[places] = some
    assert (truncate(many, 777)[places] == truncate(some, 777)).all()


@pytest.mark.parametrize("dim", [0, -1, 4])
def test_truncate_refuses_a_width_it_cannot_keep(dim: int) -> None:
    with pytest.raises(ValueError, match=f"cannot keep {dim} of 3"):
        truncate(rows([1, 2, 3]), dim)


def test_tiny_and_huge_rows_are_normalised_like_others() -> None:
    row = rows([1, 2, 2])
    for scale in (2.0**-100, 2.0**100):
        assert np.array_equal(truncate(row * np.float32(scale), 3), truncate(row, 3))
