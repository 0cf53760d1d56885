"""A curve over gallery sizes is the mean over all ways to draw distractors, exactly."""

from fractions import Fraction
from itertools import combinations, pairwise
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from evals.ranking import definition
from evals.ranking.definition import Ranks
from evals.ranking.gallery_size import DistractorCounts, gallery_sizes, hit_at_sizes
from evals.ranking.metrics import hit_at
from evals.ranking.relevance import Relevant
from tests.ranking import ranks_of

COUNT = st.integers(0, 4)


def hits_in_every_gallery(scores: list[list[int]], n_drawn: int, k: int) -> float:
    """The mean of P(hit@k) over all subsets of distractors: the first of `scores` is the answer's,
    then those of other documents, and then those of distractors.
    """
    answer, others, distractors = scores
    hits = []
    for drawn in combinations(distractors, n_drawn):
        # rows of two values whose product with the query (1, 0) is the score
        gallery = [*answer, *others, *drawn]
        docs = np.array([[score, 0] for score in gallery], dtype=np.float32)
        queries = np.array([[1, 0]], dtype=np.float32)
        relevant = Relevant(np.array([0, len(answer)]), np.arange(len(answer)))
        hits.append(hit_at(definition.ranks(queries, docs, relevant), k)[0])
    return float(np.mean(hits))


def counted(scores: list[list[int]]) -> tuple[Ranks, DistractorCounts]:
    answer, others, distractors = scores
    best = max(answer)
    ranks = ranks_of(
        [sum(score > best for score in others)],
        [sum(score == best for score in others)],
        [sum(score == best for score in answer)],
    )
    better = np.array([sum(score > best for score in distractors)])
    tied = np.array([sum(score == best for score in distractors)])
    return ranks, DistractorCounts(better, tied, len(distractors))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_the_curve_is_the_mean_over_every_subset_of_the_distractors(data: st.DataObject) -> None:
    score = st.integers(1, 3)  # few values, so that most tie
    scores = [
        data.draw(st.lists(score, min_size=1, max_size=3)),
        data.draw(st.lists(score, max_size=4)),
        data.draw(st.lists(score, max_size=7)),
    ]
    k = data.draw(st.integers(1, 6))
    ranks, distractors = counted(scores)
    drawn = range(distractors.total + 1)
    curve = hit_at_sizes(ranks, distractors, drawn, k)
    for n_drawn, hits in zip(drawn, curve, strict=True):
        expected = hits_in_every_gallery(scores, n_drawn, k)
        assert hits[0] == pytest.approx(expected, rel=0, abs=1e-12)


def test_without_ties_it_is_the_hypergeometric_distribution_of_scipy() -> None:
    better = np.array([0, 0, 2, 4, 5, 1])
    far_better = np.array([0, 3, 40, 7, 7, 900])
    zeros = np.zeros_like(better)
    ranks = ranks_of(better.tolist(), zeros.tolist(), (zeros + 1).tolist())
    distractors = DistractorCounts(far_better, zeros, 1000)
    curve = hit_at_sizes(ranks, distractors, (1, 50, 999), 5)
    for n_drawn, hits in zip((1, 50, 999), curve, strict=True):
        expected = hypergeom.cdf(4 - better, 1000, far_better, n_drawn)
        assert hits == pytest.approx(expected, rel=0, abs=1e-13)


@pytest.mark.parametrize(
    ("total", "marked", "n_drawn"),
    [(10**6, 5_000, 1_000), (10**6, 30, 500_000), (10**8, 10**5, 10**4)],
)
def test_a_million_distractors_lose_no_digits(total: int, marked: int, n_drawn: int) -> None:
    ranks = ranks_of([0], [0], [1])
    distractors = DistractorCounts(np.array([marked]), np.array([0]), total)
    [hits] = hit_at_sizes(ranks, distractors, [n_drawn], 10)
    # C(N - M, n) / C(N, n) as a product of fractions, and from one count to the next by the ratio
    fewer, more = sorted((marked, n_drawn))
    chance = Fraction(1)
    scale = 10**60
    for i in range(fewer):
        chance = chance * (total - more - i) / (total - i)
        # 60 digits are kept: an exact fraction of ten thousand factors would take minutes
        chance = Fraction(chance.numerator * scale // chance.denominator, scale)
    expected = Fraction(0)
    for x in range(10):
        expected += chance
        ratio = Fraction((marked - x) * (n_drawn - x), (x + 1) * (total - marked - n_drawn + x + 1))
        chance *= ratio
    assert hits[0] == pytest.approx(float(expected), rel=1e-12, abs=1e-15)


def test_none_and_all_of_the_distractors_are_galleries_of_their_own() -> None:
    rng = np.random.default_rng(0)
    better, tied, far_better, far_tied = rng.integers(0, 6, (4, 50))
    relevant = rng.integers(1, 4, 50)
    ranks = ranks_of(better.tolist(), tied.tolist(), relevant.tolist())
    together = ranks_of(
        (better + far_better).tolist(), (tied + far_tied).tolist(), relevant.tolist()
    )
    none, all_of_them = hit_at_sizes(ranks, DistractorCounts(far_better, far_tied, 20), (0, 20), 5)
    assert none.tolist() == hit_at(ranks, 5).tolist()
    assert all_of_them.tolist() == hit_at(together, 5).tolist()


def test_a_model_that_gives_all_the_same_row_scores_chance_at_every_size() -> None:
    # everything ties: of m documents the answer is among the first k with chance k / m
    ranks = ranks_of([0], [99], [1])
    distractors = DistractorCounts(np.array([0]), np.array([10_000]), 10_000)
    sizes = (0, 900, 10_000)
    for n_drawn, hits in zip(sizes, hit_at_sizes(ranks, distractors, sizes, 10), strict=True):
        assert hits[0] == pytest.approx(10 / (100 + n_drawn), rel=1e-12)


def test_a_larger_gallery_never_has_more_hits() -> None:
    rng = np.random.default_rng(1)
    better, tied, far_better, far_tied = rng.integers(0, 30, (4, 200))
    ranks = ranks_of(better.tolist(), tied.tolist(), [1] * 200)
    drawn = range(0, 101, 10)
    curve = hit_at_sizes(ranks, DistractorCounts(far_better, far_tied, 100), drawn, 10)
    for smaller, larger in pairwise(curve):
        assert (larger <= smaller + 1e-15).all()
    assert all(((hits >= 0) & (hits <= 1)).all() for hits in curve)


@pytest.mark.parametrize("n_drawn", [-1, 4])
def test_more_than_there_are_cannot_be_drawn(n_drawn: int) -> None:
    distractors = DistractorCounts(np.array([1]), np.array([0]), 3)
    with pytest.raises(ValueError, match=f"cannot draw {n_drawn} of 3"):
        hit_at_sizes(ranks_of([0], [0], [1]), distractors, [n_drawn], 1)


def test_sizes_are_round_numbers_between_the_gallery_and_all() -> None:
    assert gallery_sizes(1000, 0) == [1000]
    assert gallery_sizes(1000, 11_345) == [1000, 2000, 5000, 10_000, 12_345]
    assert gallery_sizes(3, 4) == [3, 5, 7]


def test_chances_add_up_to_the_counts_of_all_subsets() -> None:
    # 2 of 5 are better: of the C(5, 3) ways to draw three, C(3, 3) have none of them, 6 have one
    distractors = DistractorCounts(np.array([2]), np.array([0]), 5)
    [first], [second] = (hit_at_sizes(ranks_of([0], [0], [1]), distractors, [3], k) for k in (1, 2))
    assert first[0] == pytest.approx(1 / comb(5, 3))
    assert second[0] == pytest.approx(7 / comb(5, 3))
