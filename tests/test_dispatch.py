"""Counts are a function of the rows alone: no block, thread, order or matmul library changes a bit."""

import tracemalloc
from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.embeddings.truncation import truncate
from evals.ranking import accelerator, definition, dispatch, levels, products
from evals.ranking.definition import Ranks
from evals.ranking.metric_table import of_queries
from evals.ranking.metrics import mean
from evals.ranking.ranks import ranks
from evals.ranking.relevance import Relevant
from tests.ranking import assert_defined, both_ways, cross_ranks, hard_case, random_rows, rows, same

# relevance


def test_relevance_runs_both_ways() -> None:
    image_of_text = np.array([1, 0, 1])
    forward, back = Relevant.single(image_of_text), Relevant.single(image_of_text).inverse(2)
    assert forward.indptr.tolist() == [0, 1, 2, 3] and forward.docs.tolist() == [1, 0, 1]
    assert back.indptr.tolist() == [0, 1, 3] and back.docs.tolist() == [1, 0, 2]


def test_the_texts_of_an_image_keep_their_order() -> None:
    image_of_text = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 5))
    back = Relevant.single(image_of_text).inverse(100)
    assert all(
        back.docs[5 * i : 5 * i + 5].tolist() == np.flatnonzero(image_of_text == i).tolist()
        for i in range(100)
    )


def test_an_image_without_text_is_named() -> None:
    with pytest.raises(ValueError, match="image 1 has no text"):
        Relevant.single(np.array([0, 2, 2])).inverse(4)


def test_a_text_of_an_image_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="describes image 5, but there are 2"):
        Relevant.single(np.array([0, 5, 1])).inverse(2)
    with pytest.raises(ValueError, match="do not fit 2 queries and 2 documents"):
        ranks(rows([1], [1]), rows([1], [1]), Relevant.single(np.array([0, 2])))
    with pytest.raises(ValueError, match="do not fit 2 queries and 2 documents"):
        ranks(rows([1], [1]), rows([1], [1]), Relevant.single(np.array([0, -1])))


def test_relevance_refuses_a_query_without_document_and_a_document_twice() -> None:
    with pytest.raises(ValueError, match="query 1 has no relevant document"):
        Relevant(np.array([0, 1, 1, 2]), np.array([0, 1]))
    with pytest.raises(ValueError, match="query 1 has document 4 twice"):
        Relevant(np.array([0, 1, 4]), np.array([4, 4, 0, 4]))
    with pytest.raises(ValueError, match="indptr must run from 0 to the 3"):
        Relevant(np.array([0, 1]), np.array([0, 1, 2]))


# a function of the rows alone


@pytest.mark.parametrize("share", [0.0, 1 / 64, 1.0])
def test_ranks_equal_the_definition_however_close_calls_are_decided(
    monkeypatch: pytest.MonkeyPatch, small_blocks: None, share: float
) -> None:
    monkeypatch.setattr(levels, "DENSE_SHARE", share)
    images, texts, image_of_text = hard_case()
    for q, d, relevant in (
        (texts, images, Relevant.single(image_of_text)),
        (images, texts, Relevant.single(image_of_text).inverse(len(images))),
    ):
        out = ranks(q, d, relevant, chunk=13)
        assert (out.tied > 0).mean() > 0.1
        assert_defined(out, definition.ranks(q, d, relevant))


@pytest.mark.parametrize(
    ("chunk", "doc_block", "group"),
    [(1, 2048, 64), (2, 64, 7), (13, 31, 64), (1024, 9, 1), (512, 2**15, 180)],
)
def test_no_block_size_changes_a_bit(
    monkeypatch: pytest.MonkeyPatch, chunk: int, doc_block: int, group: int
) -> None:
    case = hard_case()
    expected = both_ways(*case)
    monkeypatch.setattr(dispatch, "DOC_BLOCK", doc_block)
    monkeypatch.setattr(accelerator, "GROUP", group)
    for way in ("kernel", "groups"):
        if way == "groups":
            monkeypatch.setattr(dispatch, "_way_to_count", lambda device: accelerator.count)
        assert all(map(same, both_ways(*case, chunk=chunk), expected))
        assert all(map(same, cross_ranks(*case, chunk=chunk), expected))


def test_no_thread_count_changes_a_bit() -> None:
    case, before = hard_case(), torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append((*both_ways(*case), *cross_ranks(*case, chunk=7)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(same(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_no_order_of_the_items_changes_a_bit(small_blocks: None, seed: int) -> None:
    images, texts, image_of_text = hard_case()
    rng = np.random.default_rng(seed)
    new_images, new_texts = rng.permutation(len(images)), rng.permutation(len(texts))
    place = np.argsort(new_images)
    t2i, i2t = both_ways(images, texts, image_of_text)
    t2i_moved, i2t_moved = both_ways(
        images[new_images], texts[new_texts], place[image_of_text[new_texts]], chunk=11
    )
    assert same(Ranks(*(x[new_texts] for x in astuple(t2i))), t2i_moved)
    assert same(Ranks(*(x[new_images] for x in astuple(i2t))), i2t_moved)
    for name, values in of_queries(i2t).items():
        assert mean(values) == mean(of_queries(i2t_moved)[name])


@pytest.mark.parametrize("d", [48, 768, 1024])
def test_duplicates_tie_wherever_they_stand(d: int) -> None:
    n = 300
    docs, queries = random_rows(n, d, 0), random_rows(40, d, 1)
    twins = [0, 1, 5, 63, 64, 127, 128, 200, 298, 299]
    docs[twins] = docs[0]
    for twin in twins:
        out = ranks(queries, docs, Relevant.single(np.full(40, twin)), chunk=17)
        assert (out.tied == len(twins) - 1).all()


def test_constant_rows_tie_though_float32_sums_drift() -> None:
    # 1/sqrt(d) added up d times in one direction: the largest rounding error there is
    docs = np.full((3000, 1000), 1000**-0.5, np.float32)
    out = ranks(docs[:5], docs, Relevant.single(np.arange(5)))
    assert out.tied.tolist() == [2999] * 5


@settings(max_examples=40, deadline=None)
@given(st.integers(-20, 20), st.integers(0, 10))
def test_scaling_by_a_power_of_two_changes_nothing(power: int, seed: int) -> None:
    queries = np.random.default_rng(seed).standard_normal((9, 12)).astype(np.float32)
    docs = np.random.default_rng(seed + 99).standard_normal((9, 12)).astype(np.float32)
    relevant = Relevant.single(np.arange(9))
    scale = np.float32(2.0**power)
    expected = ranks(truncate(queries, 8), truncate(docs, 8), relevant)
    assert same(ranks(truncate(queries * scale, 8), truncate(docs * scale, 8), relevant), expected)
    raw, scaled = ranks(queries, docs, relevant), ranks(queries * scale, docs, relevant)
    assert np.array_equal(raw.better, scaled.better) and np.array_equal(
        raw.score * scale, scaled.score
    )


def test_a_process_that_allows_tf32_or_autocast_gets_float32_and_keeps_its_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case, mm = hard_case(), dispatch.block_products
    expected = both_ways(*case)

    def watched(*args: torch.Tensor) -> torch.Tensor:
        assert (
            torch.get_float32_matmul_precision() == "highest"
        )  # few CPUs have anything lower to fall to
        return mm(*args)

    monkeypatch.setattr(dispatch, "block_products", watched)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert all(map(same, both_ways(*case), expected))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_memory_is_that_of_a_block_never_of_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "DOC_BLOCK", 200)
    monkeypatch.setattr(products, "BLOCK_MULTIPLE", 1)
    shapes: set[tuple[int, ...]] = set()
    mm = dispatch.block_products

    def recorded(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        shapes.add((len(a), len(b)))
        return mm(a, b)

    monkeypatch.setattr(dispatch, "block_products", recorded)
    queries, docs = random_rows(500, 8, 0), random_rows(3000, 8, 1)
    ranks(queries[:1], docs[:1], Relevant.single(np.zeros(1, dtype=int)))  # loads what is compiled
    shapes.clear()
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # more would share the queries in shorter strips
    tracemalloc.start()
    try:
        ranks(queries, docs, Relevant.single(np.arange(500)), chunk=50)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        torch.set_num_threads(before)
    assert shapes == {(50, 200)}
    assert peak < 500 * 3000 / 4  # bytes: a quarter of one mask of the matrix
