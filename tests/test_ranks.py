"""The engine ranks both directions at once as each alone, refuses what does not fit, and agrees with other people's code."""

from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from evals.embeddings.truncation import truncate
from evals.ranking import dispatch, products
from evals.ranking.metric_table import of_queries
from evals.ranking.metrics import mean
from evals.ranking.ranks import ranks
from evals.ranking.relevance import Relevant
from tests.ranking import both_ways, cross_ranks, hard_case, random_rows, rows, same

# one direction


@pytest.mark.parametrize("equal", [1, 2, 20])
def test_a_perfect_ranking_scores_exactly_one(equal: int) -> None:
    for own in range(1, 14):
        docs = rows(*[[100.0 - i // equal] for i in range(own)], [1], [2])
        out = ranks(rows([1]), docs, Relevant(np.array([0, own]), np.arange(own)))
        assert all(values.tolist() == [1.0] for values in of_queries(out).values())


@pytest.mark.parametrize("side", ["query", "document"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_refused_by_number(side: str, value: float) -> None:
    queries, docs = random_rows(4, 3, 0), random_rows(4, 3, 1)
    (queries if side == "query" else docs)[2, 1] = value
    with pytest.raises(ValueError, match=f"{side} 2 holds NaN or infinity"):
        ranks(queries, docs, Relevant.single(np.arange(4)))


def test_a_chunk_below_one_is_refused() -> None:
    for chunk in (0, -1):
        with pytest.raises(ValueError, match=f"cannot take {chunk} queries"):
            ranks(rows([1]), rows([1]), Relevant.single(np.array([0])), chunk=chunk)


def test_float64_rows_are_refused_not_rounded() -> None:
    with pytest.raises(TypeCheckError):
        ranks(np.ones((1, 2)), np.ones((1, 2)), Relevant.single(np.array([0])))


def test_rows_of_a_read_only_array_are_ranked() -> None:
    docs = random_rows(5, 4, 0)
    docs.setflags(write=False)
    assert ranks(docs, docs, Relevant.single(np.arange(5))).better.tolist() == [0] * 5


# both directions at once


def test_hand_matrix_of_two_images_and_three_texts_in_both_directions() -> None:
    images = rows([1, 0], [0, 1])
    texts = rows([3, 1], [2, 2], [1, 4])  # scores of the images: [3 2 1], [1 2 4]
    t2i, i2t = cross_ranks(images, texts, np.array([0, 0, 1]))
    assert astuple(t2i)[0].tolist() == [0, 0, 0] and t2i.tied.tolist() == [0, 1, 0]
    assert t2i.score.tolist() == [3, 2, 4]
    assert i2t.better.tolist() == [0, 0] and i2t.score.tolist() == [3, 4]
    t2i, i2t = cross_ranks(images, texts, np.array([1, 0, 0]))
    assert t2i.better.tolist() == [1, 0, 1] and t2i.tied.tolist() == [0, 1, 0]
    assert i2t.better.tolist() == [1, 2] and i2t.score.tolist() == [2, 1]
    assert i2t.ndcg10 == pytest.approx(
        [(1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3)), 1 / np.log2(4)]
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_both_directions_at_once_are_two_calls_bit_for_bit(data: st.DataObject) -> None:
    n, d = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 3))
    more = data.draw(st.lists(st.integers(0, n - 1), max_size=15))
    image_of_text = np.array(data.draw(st.permutations([*range(n), *more])))
    values = st.sampled_from([-1.0, 0.0, 0.1, 0.7, 1.0])  # few values: many ties
    images, texts = (
        np.array(data.draw(st.lists(values, min_size=m * d, max_size=m * d)), np.float32).reshape(
            m, d
        )
        for m in (n, len(image_of_text))
    )
    found = cross_ranks(images, texts, image_of_text, chunk=data.draw(st.integers(1, 9)))
    assert all(
        map(
            same, found, both_ways(images, texts, image_of_text, chunk=data.draw(st.integers(1, 9)))
        )
    )


def test_both_directions_score_every_pair_once(
    monkeypatch: pytest.MonkeyPatch, small_blocks: None
) -> None:
    pairs, mm = [], dispatch.block_products
    monkeypatch.setattr(products, "BLOCK_MULTIPLE", 1)  # no rows of zeros

    def recorded(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        pairs.append(len(a) * len(b))
        return mm(a, b)

    monkeypatch.setattr(dispatch, "block_products", recorded)
    cross_ranks(*hard_case(), chunk=9)
    assert sum(pairs) == 60 * 180


def test_ranks_do_not_depend_on_the_matmul_library(
    monkeypatch: pytest.MonkeyPatch, small_blocks: None
) -> None:
    expected = cross_ranks(*hard_case())
    monkeypatch.setattr(dispatch, "block_products", lambda a, b: torch.mm(a, b.T))
    assert all(map(same, cross_ranks(*hard_case()), expected))


def test_both_directions_refuse_what_one_refuses() -> None:
    images, texts, image_of_text = hard_case()
    with pytest.raises(ValueError, match="cannot take 0"):
        cross_ranks(images, texts, image_of_text, chunk=0)
    with pytest.raises(ValueError, match="image 59 has no text"):
        cross_ranks(images, texts, np.arange(180) % 59)
    with pytest.raises(ValueError, match="do not fit 180 queries and 60 documents"):
        cross_ranks(images, texts, np.where(np.arange(180) == 3, -1, image_of_text))
    texts[7, 3] = np.nan
    with pytest.raises(ValueError, match="text 7 holds NaN or infinity"):
        cross_ranks(images, texts, image_of_text)
    images[4, 0] = np.inf
    with pytest.raises(ValueError, match="image 4 holds NaN or infinity"):
        cross_ranks(images, texts, image_of_text)


def test_an_error_in_a_thread_is_raised_and_the_number_of_threads_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*args: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    before = torch.get_num_threads()
    monkeypatch.setattr(dispatch, "block_products", broken)
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="out of memory"):
            cross_ranks(*hard_case())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# other people's code


def test_recall_is_that_of_clip_benchmark() -> None:
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

    n, rng = 120, np.random.default_rng(3)
    image_of_text = rng.permutation(np.repeat(np.arange(n), 5))
    images = random_rows(n, 32, 4)
    texts = truncate(
        images[image_of_text] + 0.5 * rng.standard_normal((5 * n, 32)).astype(np.float32), 32
    )
    scores = torch.from_numpy(texts) @ torch.from_numpy(images).T
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[torch.arange(5 * n), image_of_text] = True
    t2i, i2t = map(of_queries, both_ways(images, texts, image_of_text))
    for k in (1, 5, 10):
        theirs = (batchify(recall_at_k, scores, positive, 64, "cpu", k=k) > 0).double().numpy()
        assert np.array_equal(t2i[f"R@{k}"], theirs) and 0.1 < theirs.mean() < 0.97
        theirs = (batchify(recall_at_k, scores.T, positive.T, 64, "cpu", k=k) > 0).double().numpy()
        assert np.array_equal(i2t[f"R@{k}"], theirs)


def test_success_ndcg_and_mrr_are_those_of_trec_eval() -> None:
    import pytrec_eval

    rng = np.random.default_rng(8)
    n, d, image_of_text = 40, 16, np.sort(rng.integers(0, 40, 600))
    image_of_text[:40] = np.arange(40)
    images = random_rows(n, d, 9)
    texts = truncate(
        images[image_of_text] + 0.3 * rng.standard_normal((600, d)).astype(np.float32), d
    )
    relevant = Relevant.single(image_of_text).inverse(n)
    assert relevant.counts.max() > 10 > relevant.counts.min()
    scores = images.astype(np.float64) @ texts.T
    run = {f"q{i}": {f"d{j}": float(s) for j, s in enumerate(row)} for i, row in enumerate(scores)}
    truth = {f"q{i}": {f"d{j}": 1 for j in np.flatnonzero(image_of_text == i)} for i in range(n)}
    theirs = pytrec_eval.RelevanceEvaluator(truth, {"success", "ndcg_cut", "recip_rank"}).evaluate(
        run
    )
    ours = of_queries(ranks(images, texts, relevant))
    for name, key in {
        "R@1": "success_1",
        "R@5": "success_5",
        "R@10": "success_10",
        "MRR": "recip_rank",
    }.items():
        assert ours[name] == pytest.approx([theirs[f"q{i}"][key] for i in range(n)], abs=1e-12)
    assert ours["nDCG@10"] == pytest.approx(
        [theirs[f"q{i}"]["ndcg_cut_10"] for i in range(n)], abs=1e-9
    )
    assert 0.2 < mean(ours["nDCG@10"]) < 0.95
