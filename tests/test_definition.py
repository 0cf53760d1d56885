"""The definition of a rank, worked out by hand and over all orders of equal scores; the engine gives the same."""

from collections.abc import Callable
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.ranking import accelerator, definition, dispatch, metrics
from evals.ranking import ranks as engine
from evals.ranking.definition import Ranks
from evals.ranking.metric_table import of_queries
from evals.ranking.metrics import expected_rank, hit_at, mean, reciprocal_rank
from evals.ranking.relevance import Relevant
from tests.ranking import assert_defined, rows

Rank = Callable[[np.ndarray, np.ndarray, Relevant], Ranks]


@pytest.fixture(params=[definition.ranks, engine.ranks], ids=["definition", "engine"])
def ranks(request: pytest.FixtureRequest) -> Rank:
    """What is worked out by hand holds for the definition and for the engine."""
    function: Rank = request.param
    return function


def test_hand_matrix_of_three_texts_and_three_images(ranks: Rank) -> None:
    images = rows([1, 0], [0, 1], [2, 1])
    texts = rows([1, 0], [1, 3], [0, 1])  # scores: [1 0 2], [1 3 5], [0 1 1]
    out = ranks(texts, images, Relevant.single(np.array([2, 1, 1])))
    assert out.better.tolist() == [0, 1, 0]
    assert out.tied.tolist() == [0, 0, 1]
    assert out.tied_relevant.tolist() == [1, 1, 1]
    assert out.score.tolist() == [2.0, 3.0, 1.0]
    assert hit_at(out, 1).tolist() == [1.0, 0.0, 0.5]
    assert hit_at(out, 2).tolist() == [1.0, 1.0, 1.0]
    assert reciprocal_rank(out).tolist() == [1.0, 0.5, 0.75]
    assert expected_rank(out).tolist() == [1.0, 2.0, 1.5]
    assert out.ndcg10 == pytest.approx([1, 1 / np.log2(3), (1 + 1 / np.log2(3)) / 2])


def test_hand_matrix_of_an_image_with_three_captions_among_eight(ranks: Rank) -> None:
    texts = rows(
        [9], [8], [7], [7], [7], [6], [5], [4]
    )  # best first; the image's own are 1, 3 and 6
    out = ranks(rows([1]), texts, Relevant(np.array([0, 3]), np.array([6, 1, 3])))
    assert astuple(out)[:4] == (1, 0, 1, 8.0)
    # own captions stand 2nd, somewhere in 3rd to 5th, and 7th
    gain = (
        1 / np.log2(3) + np.mean([1 / np.log2(4), 1 / np.log2(5), 1 / np.log2(6)]) + 1 / np.log2(8)
    )
    assert out.ndcg10[0] == pytest.approx(gain / (1 + 1 / np.log2(3) + 1 / np.log2(4)))


def test_the_example_that_the_package_draws_is_true(ranks: Rank) -> None:
    captions = rows([0.9], [0.8], [0.8], [0.5], [0.4], [0.1])  # a to f
    out = ranks(rows([1]), captions, Relevant(np.array([0, 2]), np.array([1, 4])))
    assert astuple(out)[:3] == (1, 1, 1)
    assert [hit_at(out, k)[0] for k in (1, 2, 3)] == [0, 0.5, 1]
    assert reciprocal_rank(out)[0] == pytest.approx((1 / 2 + 1 / 3) / 2)
    second_or_third, fifth = (1 / np.log2(3) + 1 / np.log2(4)) / 2, 1 / np.log2(6)
    assert out.ndcg10[0] == pytest.approx((second_or_third + fifth) / (1 + 1 / np.log2(3)))


def test_relevant_documents_never_stand_in_each_others_way(ranks: Rank) -> None:
    out = ranks(
        rows([1]), rows([5], [5], [5], [4]), Relevant(np.array([0, 3]), np.array([0, 1, 2]))
    )
    assert astuple(out)[:3] == (0, 0, 3)
    assert out.ndcg10[0] == 1.0


def test_a_document_past_the_tenth_place_adds_nothing_to_ndcg(ranks: Rank) -> None:
    docs = rows(*[[float(i)] for i in range(40)])
    far = Relevant(np.array([0, 2, 4]), np.array([29, 0, 30, 28]))  # 11th and last; 10th and 12th
    out = ranks(rows([1], [1]), docs, far)
    assert out.better.tolist() == [10, 9]
    assert out.ndcg10 == pytest.approx([0, (1 / np.log2(11)) / (1 + 1 / np.log2(3))])


def test_constant_embeddings_score_chance_in_both_directions(ranks: Rank) -> None:
    n, captions = 200, 5
    image_of_text = np.repeat(np.arange(n), captions)
    images, texts = (
        np.full((n, 48), 0.1443, np.float32),
        np.full((n * captions, 48), 0.1443, np.float32),
    )
    t2i = of_queries(ranks(texts, images, Relevant.single(image_of_text)))
    i2t = of_queries(ranks(images, texts, Relevant.single(image_of_text).inverse(n)))
    for k in (1, 5, 10):
        assert mean(t2i[f"R@{k}"]) == pytest.approx(k / n, abs=1e-12)
        missed = np.prod([(n * captions - captions - i) / (n * captions - i) for i in range(k)])
        assert mean(i2t[f"R@{k}"]) == pytest.approx(1 - missed, abs=1e-12)
    assert mean(i2t["R@1"]) == pytest.approx(1 / n, abs=1e-12)
    assert metrics.tie_rate(ranks(texts, images, Relevant.single(image_of_text))) == 1.0


def test_zero_rows_tie_with_what_scores_zero(ranks: Rank) -> None:
    docs = rows([0, 0], [1, 0], [0, 1], [-1, 0])
    out = ranks(rows([0, 0], [1, 0]), docs, Relevant.single(np.array([1, 0])))
    assert out.better.tolist() == [0, 1]
    assert out.tied.tolist() == [3, 1]


def test_a_difference_below_float32_still_decides(ranks: Rank) -> None:
    one, tiny = np.float32(1), np.float32(2.0**-30)
    docs = np.array([[one, 0], [one, tiny], [one, -tiny]], np.float32)
    out = ranks(rows([1, 1]), docs, Relevant.single(np.array([0])))
    assert (out.better.tolist(), out.tied.tolist()) == ([1], [0])


@pytest.mark.parametrize("device", ["cpu", "accelerator"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_engine_ranks_any_matrix_as_the_definition_does(
    device: str, data: st.DataObject
) -> None:
    n_images, dim = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 3))
    second_captions = data.draw(st.lists(st.integers(0, n_images - 1), max_size=15))
    t2i = Relevant.single(
        np.array(data.draw(st.permutations([*range(n_images), *second_captions])))
    )
    values = st.sampled_from([-1.0, 0.0, 0.1, 0.7, 1.0])  # few values: many ties

    def side(n: int) -> np.ndarray:
        flat = data.draw(st.lists(values, min_size=n * dim, max_size=n * dim))
        return np.array(flat, dtype=np.float32).reshape(n, dim)

    images, texts = side(n_images), side(len(t2i.docs))
    with pytest.MonkeyPatch.context() as patch:
        if device == "accelerator":
            patch.setattr(dispatch, "_way_to_count", lambda device: accelerator.count)
        ranked = engine.cross_ranks(images, texts, t2i)
    expected = definition.cross_ranks(images, texts, t2i)
    assert_defined(ranked.t2i, expected.t2i)
    assert_defined(ranked.i2t, expected.i2t)
