"""Ranks, recall and nDCG: checked by hand, against every order of the ties, and against other people's code."""

import itertools
import tracemalloc
from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from evals import counting, levels, metrics, threads
from evals import ranks as ranks_module
from evals.counting import Relevant
from evals.metrics import expected_rank, hit_at, mean, per_query, reciprocal_rank, truncate
from evals.ranks import Both, Ranks, ranks

Rows = np.ndarray


def cross_ranks(images: Rows, texts: Rows, image_of_text: Rows, **options: int) -> Both:
    return ranks_module.cross_ranks(images, texts, Relevant.one_of(image_of_text), **options)


def rows(*values: list[float]) -> Rows:
    return np.array(values, dtype=np.float32)


def random_rows(n: int, d: int, seed: int) -> Rows:
    return truncate(np.random.default_rng(seed).standard_normal((n, d)), d)


def ranks_of(better: list[int], tied: list[int], tied_relevant: list[int]) -> Ranks:
    g, t, r = (np.array(x, dtype=np.int64) for x in (better, tied, tied_relevant))
    return Ranks(g, t, r, np.zeros(len(g), dtype=np.float32), np.zeros(len(g)))


def same(a: Ranks, b: Ranks) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(astuple(a), astuple(b), strict=True))


def ndcg_of(order: list[bool]) -> float:
    gains = [1 / np.log2(i + 2) if hit and i < 10 else 0.0 for i, hit in enumerate(order)]
    return sum(gains) / sum(1 / np.log2(i + 2) for i in range(min(sum(order), 10)))


@pytest.fixture(params=["kernel", "groups"])
def small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, counted as on a CPU and as on an accelerator."""
    monkeypatch.setattr(counting, "DOC_BLOCK", 37)
    monkeypatch.setattr(levels, "GROUP", 5)
    monkeypatch.setattr(threads, "ROW_BLOCK", 1)
    if request.param == "groups":
        monkeypatch.setattr(counting, "_kernel", lambda: levels.add_groups)


# truncate


def test_truncate_keeps_the_first_values_and_makes_unit_rows() -> None:
    out = truncate(rows([3, 4, 12], [0, 2, 7]), 2)
    assert out.dtype == np.float32
    assert np.array_equal(out, rows([0.6, 0.8], [0, 1]))


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


# relevance


def test_relevance_runs_both_ways() -> None:
    image_of_text = np.array([1, 0, 1])
    forward, back = Relevant.one_of(image_of_text), Relevant.one_of(image_of_text).inverse(2)
    assert forward.indptr.tolist() == [0, 1, 2, 3] and forward.docs.tolist() == [1, 0, 1]
    assert back.indptr.tolist() == [0, 1, 3] and back.docs.tolist() == [1, 0, 2]


def test_the_texts_of_an_image_keep_their_order() -> None:
    image_of_text = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 5))
    back = Relevant.one_of(image_of_text).inverse(100)
    assert all(back.docs[5 * i : 5 * i + 5].tolist() == np.flatnonzero(image_of_text == i).tolist() for i in range(100))


def test_an_image_without_text_is_named() -> None:
    with pytest.raises(ValueError, match="image 1 has no text"):
        Relevant.one_of(np.array([0, 2, 2])).inverse(4)


def test_a_text_of_an_image_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="describes image 5, but there are 2"):
        Relevant.one_of(np.array([0, 5, 1])).inverse(2)
    with pytest.raises(ValueError, match="do not fit 2 queries and 2 documents"):
        ranks(rows([1], [1]), rows([1], [1]), Relevant.one_of(np.array([0, 2])))
    with pytest.raises(ValueError, match="do not fit 2 queries and 2 documents"):
        ranks(rows([1], [1]), rows([1], [1]), Relevant.one_of(np.array([0, -1])))


def test_relevance_refuses_a_query_without_document_and_a_document_twice() -> None:
    with pytest.raises(ValueError, match="query 1 has no relevant document"):
        Relevant(np.array([0, 1, 1, 2]), np.array([0, 1]))
    with pytest.raises(ValueError, match="query 1 has document 4 twice"):
        Relevant(np.array([0, 1, 4]), np.array([4, 4, 0, 4]))
    with pytest.raises(ValueError, match="indptr must run from 0 to the 3"):
        Relevant(np.array([0, 1]), np.array([0, 1, 2]))


# ranks by hand


def test_hand_matrix_of_three_texts_and_three_images() -> None:
    images = rows([1, 0], [0, 1], [2, 1])
    texts = rows([1, 0], [1, 3], [0, 1])  # scores: [1 0 2], [1 3 5], [0 1 1]
    out = ranks(texts, images, Relevant.one_of(np.array([2, 1, 1])))
    assert out.better.tolist() == [0, 1, 0]
    assert out.tied.tolist() == [0, 0, 1]
    assert out.tied_relevant.tolist() == [1, 1, 1]
    assert out.score.tolist() == [2.0, 3.0, 1.0]
    assert hit_at(out, 1).tolist() == [1.0, 0.0, 0.5]
    assert hit_at(out, 2).tolist() == [1.0, 1.0, 1.0]
    assert reciprocal_rank(out).tolist() == [1.0, 0.5, 0.75]
    assert expected_rank(out).tolist() == [1.0, 2.0, 1.5]
    assert out.ndcg10 == pytest.approx([1, 1 / np.log2(3), (1 + 1 / np.log2(3)) / 2])


def test_hand_matrix_of_an_image_with_three_captions_among_eight() -> None:
    texts = rows([9], [8], [7], [7], [7], [6], [5], [4])  # best first; the image's own are 1, 3 and 6
    out = ranks(rows([1]), texts, Relevant(np.array([0, 3]), np.array([6, 1, 3])))
    assert astuple(out)[:4] == (1, 0, 1, 8.0)
    # own captions stand 2nd, somewhere in 3rd to 5th, and 7th
    gain = 1 / np.log2(3) + np.mean([1 / np.log2(4), 1 / np.log2(5), 1 / np.log2(6)]) + 1 / np.log2(8)
    assert out.ndcg10[0] == pytest.approx(gain / (1 + 1 / np.log2(3) + 1 / np.log2(4)))


def test_relevant_documents_never_stand_in_each_others_way() -> None:
    out = ranks(rows([1]), rows([5], [5], [5], [4]), Relevant(np.array([0, 3]), np.array([0, 1, 2])))
    assert astuple(out)[:3] == (0, 0, 3)
    assert out.ndcg10[0] == 1.0


@pytest.mark.parametrize("equal", [1, 2, 20])
def test_a_perfect_ranking_scores_exactly_one(equal: int) -> None:
    for own in range(1, 14):
        docs = rows(*[[100.0 - i // equal] for i in range(own)], [1], [2])
        out = ranks(rows([1]), docs, Relevant(np.array([0, own]), np.arange(own)))
        assert all(values.tolist() == [1.0] for values in per_query(out).values())


def test_a_document_past_the_tenth_place_adds_nothing_to_ndcg() -> None:
    docs = rows(*[[float(i)] for i in range(40)])
    far = Relevant(np.array([0, 2, 4]), np.array([29, 0, 30, 28]))  # 11th and last; 10th and 12th
    out = ranks(rows([1], [1]), docs, far)
    assert out.better.tolist() == [10, 9]
    assert out.ndcg10 == pytest.approx([0, (1 / np.log2(11)) / (1 + 1 / np.log2(3))])


def test_constant_embeddings_score_chance_in_both_directions() -> None:
    n, captions = 200, 5
    image_of_text = np.repeat(np.arange(n), captions)
    images, texts = np.full((n, 48), 0.1443, np.float32), np.full((n * captions, 48), 0.1443, np.float32)
    t2i = per_query(ranks(texts, images, Relevant.one_of(image_of_text)))
    i2t = per_query(ranks(images, texts, Relevant.one_of(image_of_text).inverse(n)))
    for k in (1, 5, 10):
        assert mean(t2i[f"R@{k}"]) == pytest.approx(k / n, abs=1e-12)
        missed = np.prod([(n * captions - captions - i) / (n * captions - i) for i in range(k)])
        assert mean(i2t[f"R@{k}"]) == pytest.approx(1 - missed, abs=1e-12)
    assert mean(i2t["R@1"]) == pytest.approx(1 / n, abs=1e-12)
    assert metrics.tie_rate(ranks(texts, images, Relevant.one_of(image_of_text))) == 1.0


def test_zero_rows_tie_with_what_scores_zero() -> None:
    docs = rows([0, 0], [1, 0], [0, 1], [-1, 0])
    out = ranks(rows([0, 0], [1, 0]), docs, Relevant.one_of(np.array([1, 0])))
    assert out.better.tolist() == [0, 1]
    assert out.tied.tolist() == [3, 1]


def test_a_difference_below_float32_still_decides() -> None:
    one, tiny = np.float32(1), np.float32(2.0**-30)
    docs = np.array([[one, 0], [one, tiny], [one, -tiny]], np.float32)
    out = ranks(rows([1, 1]), docs, Relevant.one_of(np.array([0])))
    assert (out.better.tolist(), out.tied.tolist()) == ([1], [0])


@pytest.mark.parametrize("side", ["query", "document"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_refused_by_number(side: str, value: float) -> None:
    queries, docs = random_rows(4, 3, 0), random_rows(4, 3, 1)
    (queries if side == "query" else docs)[2, 1] = value
    with pytest.raises(ValueError, match=f"{side} 2 holds NaN or infinity"):
        ranks(queries, docs, Relevant.one_of(np.arange(4)))


def test_a_chunk_below_one_is_refused() -> None:
    for chunk in (0, -1):
        with pytest.raises(ValueError, match=f"cannot take {chunk} queries"):
            ranks(rows([1]), rows([1]), Relevant.one_of(np.array([0])), chunk=chunk)


def test_float64_rows_are_refused_not_rounded() -> None:
    with pytest.raises(TypeCheckError):
        ranks(np.ones((1, 2)), np.ones((1, 2)), Relevant.one_of(np.array([0])))


def test_rows_of_a_read_only_array_are_ranked() -> None:
    docs = random_rows(5, 4, 0)
    docs.setflags(write=False)
    assert ranks(docs, docs, Relevant.one_of(np.arange(5))).better.tolist() == [0] * 5


# ties in expectation


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_metric_is_its_mean_over_all_orders_of_the_ties(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 6))
    scores = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    own = sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1)))
    out = ranks(rows([1]), rows(*[[s] for s in scores]), Relevant(np.array([0, len(own)]), np.array(own)))
    orders = [
        [doc in own for doc in order]
        for order in itertools.permutations(range(n))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    first = np.array([order.index(True) + 1 for order in orders])
    for k in range(1, n + 2):
        assert hit_at(out, k)[0] == pytest.approx(np.mean(first <= k), abs=1e-12)
    assert expected_rank(out)[0] == pytest.approx(first.mean(), abs=1e-12)
    assert reciprocal_rank(out)[0] == pytest.approx((1 / first).mean(), abs=1e-12)
    assert out.ndcg10[0] == pytest.approx(np.mean([ndcg_of(order) for order in orders]), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 6)), min_size=1, max_size=5))
def test_recall_grows_with_k_to_one(cases: list[tuple[int, int, int]]) -> None:
    out = ranks_of(*map(list, zip(*cases, strict=True)))
    curve = np.array([hit_at(out, k) for k in range(1, 62)])
    assert (np.diff(curve, axis=0) >= -1e-15).all()
    assert (curve >= 0).all() and (curve[-1] == 1).all()


def test_huge_tie_groups_neither_overflow_nor_lose_precision() -> None:
    out = ranks_of([0, 3, 0], [24_999, 5_000_000, 10**6], [1, 5, 100])
    assert hit_at(out, 10) == pytest.approx([10 / 25_000, 1 - (1 - 5 / 5_000_005) ** 7, 1 - (1 - 1e-4) ** 10], rel=1e-3)
    assert reciprocal_rank(out)[0] == pytest.approx(sum(1 / i for i in range(1, 25_001)) / 25_000, rel=1e-12)


def test_the_random_order_of_ties_is_the_one_that_hypergeometry_has() -> None:
    out = ranks_of([2], [7], [3])  # P(hit@4) = 1 - C(7,2)/C(10,2) = 1 - 21/45
    assert hit_at(out, 4)[0] == pytest.approx(24 / 45, abs=1e-15)
    assert hit_at(out, 2)[0] == 0.0


# a function of the rows alone


def hard_case() -> tuple[Rows, Rows, np.ndarray]:
    """Duplicates, near-duplicates, binary codes, zero rows: 60 images, 3 captions each."""
    rng = np.random.default_rng(5)
    images, image_of_text = random_rows(60, 33, 2), rng.permutation(np.repeat(np.arange(60), 3))
    texts = truncate(images[image_of_text] + 0.4 * rng.standard_normal((180, 33)).astype(np.float32), 33)
    images[10:20] = images[10]
    images[20:30] = images[21] * np.float32(1 + 2.0**-23)
    images[30:45] = truncate(np.sign(images[30:45]), 33)
    texts[rng.permutation(180)[:60]] = truncate(np.sign(texts[:1]), 33)
    texts[50:80] = texts[50]
    texts[90], images[50] = 0, 0
    return images, texts, image_of_text


def both_ways(images: Rows, texts: Rows, image_of_text: np.ndarray, chunk: int = 1024) -> tuple[Ranks, Ranks]:
    t2i = ranks(texts, images, Relevant.one_of(image_of_text), chunk=chunk)
    return t2i, ranks(images, texts, Relevant.one_of(image_of_text).inverse(len(images)), chunk=chunk)


def plain(queries: Rows, docs: Rows, relevant: Relevant) -> Ranks:
    """The definition, in float64 with the whole matrix."""
    scores = queries.astype(np.float64) @ docs.T.astype(np.float64)
    scores = np.round(scores, 11)  # equal rows have equal scores again
    columns = []
    for i, row in enumerate(scores):
        own = np.zeros(len(row), bool)
        own[relevant.docs[relevant.indptr[i] : relevant.indptr[i + 1]]] = True
        best = row[own].max()
        gains = 0.0
        for s in row[own]:
            above, beside = (row > s).sum(), (row == s).sum()
            gains += np.mean([1 / np.log2(p + 1) if p <= 10 else 0 for p in range(above + 1, above + beside + 1)])
        ideal = sum(1 / np.log2(p + 1) for p in range(1, min(own.sum(), 10) + 1))
        columns.append(((row[~own] > best).sum(), (row[~own] == best).sum(), (row[own] == best).sum(), best, gains / ideal))
    g, t, r, score, ndcg = zip(*columns, strict=True)
    return Ranks(np.array(g), np.array(t), np.array(r), np.array(score, np.float32), np.array(ndcg))


@pytest.mark.parametrize("share", [0.0, 1 / 64, 1.0])
def test_ranks_equal_the_definition_however_close_calls_are_decided(
    monkeypatch: pytest.MonkeyPatch, small_blocks: None, share: float
) -> None:
    monkeypatch.setattr(levels, "DENSE_SHARE", share)
    images, texts, image_of_text = hard_case()
    for q, d, relevant in (
        (texts, images, Relevant.one_of(image_of_text)),
        (images, texts, Relevant.one_of(image_of_text).inverse(len(images))),
    ):
        out, expected = ranks(q, d, relevant, chunk=13), plain(q, d, relevant)
        assert (out.tied > 0).mean() > 0.1
        assert np.array_equal(out.better, expected.better)
        assert np.array_equal(out.tied, expected.tied)
        assert np.array_equal(out.tied_relevant, expected.tied_relevant)
        assert out.score == pytest.approx(expected.score, abs=1e-7)
        assert out.ndcg10 == pytest.approx(expected.ndcg10, abs=1e-9)


@pytest.mark.parametrize(
    ("chunk", "doc_block", "group"), [(1, 2048, 64), (2, 64, 7), (13, 31, 64), (1024, 9, 1), (512, 2**15, 180)]
)
def test_no_block_size_changes_a_bit(monkeypatch: pytest.MonkeyPatch, chunk: int, doc_block: int, group: int) -> None:
    case = hard_case()
    expected = both_ways(*case)
    monkeypatch.setattr(counting, "DOC_BLOCK", doc_block)
    monkeypatch.setattr(levels, "GROUP", group)
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
    t2i_moved, i2t_moved = both_ways(images[new_images], texts[new_texts], place[image_of_text[new_texts]], chunk=11)
    assert same(Ranks(*(x[new_texts] for x in astuple(t2i))), t2i_moved)
    assert same(Ranks(*(x[new_images] for x in astuple(i2t))), i2t_moved)
    for name, values in per_query(i2t).items():
        assert mean(values) == mean(per_query(i2t_moved)[name])


@pytest.mark.parametrize("d", [48, 768, 1024])
def test_duplicates_tie_wherever_they_stand(d: int) -> None:
    n = 300
    docs, queries = random_rows(n, d, 0), random_rows(40, d, 1)
    twins = [0, 1, 5, 63, 64, 127, 128, 200, 298, 299]
    docs[twins] = docs[0]
    for twin in twins:
        out = ranks(queries, docs, Relevant.one_of(np.full(40, twin)), chunk=17)
        assert (out.tied == len(twins) - 1).all()


def test_constant_rows_tie_though_float32_sums_drift() -> None:
    # 1/sqrt(d) added up d times in one direction: the largest rounding error there is
    docs = np.full((3000, 1000), 1000**-0.5, np.float32)
    out = ranks(docs[:5], docs, Relevant.one_of(np.arange(5)))
    assert out.tied.tolist() == [2999] * 5


@settings(max_examples=40, deadline=None)
@given(st.integers(-20, 20), st.integers(0, 10))
def test_scaling_by_a_power_of_two_changes_nothing(power: int, seed: int) -> None:
    queries = np.random.default_rng(seed).standard_normal((9, 12)).astype(np.float32)
    docs = np.random.default_rng(seed + 99).standard_normal((9, 12)).astype(np.float32)
    relevant = Relevant.one_of(np.arange(9))
    scale = np.float32(2.0**power)
    expected = ranks(truncate(queries, 8), truncate(docs, 8), relevant)
    assert same(ranks(truncate(queries * scale, 8), truncate(docs * scale, 8), relevant), expected)
    raw, scaled = ranks(queries, docs, relevant), ranks(queries * scale, docs, relevant)
    assert np.array_equal(raw.better, scaled.better) and np.array_equal(raw.score * scale, scaled.score)


def test_a_process_that_allows_tf32_or_autocast_gets_float32_and_keeps_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    case, mm = hard_case(), counting.products
    expected = both_ways(*case)

    def watched(*args: torch.Tensor) -> torch.Tensor:
        assert torch.get_float32_matmul_precision() == "highest"  # few CPUs have anything lower to fall to
        return mm(*args)

    monkeypatch.setattr(counting, "products", watched)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert all(map(same, both_ways(*case), expected))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_memory_is_that_of_a_block_never_of_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "DOC_BLOCK", 200)
    monkeypatch.setattr(counting, "FILLED", 1)
    shapes: set[tuple[int, ...]] = set()
    mm = counting.products

    def recorded(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        shapes.add((len(a), len(b)))
        return mm(a, b)

    monkeypatch.setattr(counting, "products", recorded)
    queries, docs = random_rows(500, 8, 0), random_rows(3000, 8, 1)
    tracemalloc.start()
    ranks(queries, docs, Relevant.one_of(np.arange(500)), chunk=50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert shapes == {(50, 200)}
    assert peak < 500 * 3000 / 4  # bytes: a quarter of one mask of the matrix


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
    assert i2t.ndcg10 == pytest.approx([(1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3)), 1 / np.log2(4)])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_both_directions_at_once_are_two_calls_bit_for_bit(data: st.DataObject) -> None:
    n, d = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 3))
    more = data.draw(st.lists(st.integers(0, n - 1), max_size=15))
    image_of_text = np.array(data.draw(st.permutations([*range(n), *more])))
    values = st.sampled_from([-1.0, 0.0, 0.1, 0.7, 1.0])  # few values: many ties
    images, texts = (
        np.array(data.draw(st.lists(values, min_size=m * d, max_size=m * d)), np.float32).reshape(m, d)
        for m in (n, len(image_of_text))
    )
    found = cross_ranks(images, texts, image_of_text, chunk=data.draw(st.integers(1, 9)))
    assert all(map(same, found, both_ways(images, texts, image_of_text, chunk=data.draw(st.integers(1, 9)))))


def test_both_directions_score_every_pair_once(monkeypatch: pytest.MonkeyPatch, small_blocks: None) -> None:
    pairs, mm = [], counting.products
    monkeypatch.setattr(counting, "FILLED", 1)  # no rows of zeros

    def recorded(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        pairs.append(len(a) * len(b))
        return mm(a, b)

    monkeypatch.setattr(counting, "products", recorded)
    cross_ranks(*hard_case(), chunk=9)
    assert sum(pairs) == 60 * 180


def test_ranks_do_not_depend_on_the_matmul_library(monkeypatch: pytest.MonkeyPatch, small_blocks: None) -> None:
    expected = cross_ranks(*hard_case())
    monkeypatch.setattr(counting, "products", lambda a, b: torch.mm(a, b.T))
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


def test_an_error_in_a_thread_is_raised_and_the_number_of_threads_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    before = torch.get_num_threads()
    monkeypatch.setattr(counting, "products", broken)
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
    texts = truncate(images[image_of_text] + 0.5 * rng.standard_normal((5 * n, 32)).astype(np.float32), 32)
    scores = torch.from_numpy(texts) @ torch.from_numpy(images).T
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[torch.arange(5 * n), image_of_text] = True
    t2i, i2t = map(per_query, both_ways(images, texts, image_of_text))
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
    texts = truncate(images[image_of_text] + 0.3 * rng.standard_normal((600, d)).astype(np.float32), d)
    relevant = Relevant.one_of(image_of_text).inverse(n)
    assert relevant.counts.max() > 10 > relevant.counts.min()
    scores = images.astype(np.float64) @ texts.T
    run = {f"q{i}": {f"d{j}": float(s) for j, s in enumerate(row)} for i, row in enumerate(scores)}
    truth = {f"q{i}": {f"d{j}": 1 for j in np.flatnonzero(image_of_text == i)} for i in range(n)}
    theirs = pytrec_eval.RelevanceEvaluator(truth, {"success", "ndcg_cut", "recip_rank"}).evaluate(run)
    ours = per_query(ranks(images, texts, relevant))
    for name, key in {"R@1": "success_1", "R@5": "success_5", "R@10": "success_10", "MRR": "recip_rank"}.items():
        assert ours[name] == pytest.approx([theirs[f"q{i}"][key] for i in range(n)], abs=1e-12)
    assert ours["nDCG@10"] == pytest.approx([theirs[f"q{i}"]["ndcg_cut_10"] for i in range(n)], abs=1e-9)
    assert 0.2 < mean(ours["nDCG@10"]) < 0.95


# summaries


def test_summaries_of_ranks_by_hand() -> None:
    out = ranks_of([0, 4, 1, 0], [0, 0, 1, 2], [1, 1, 1, 1])  # ranks 1, 5, 2.5, 2
    assert metrics.median_rank(out) == 2.25
    assert metrics.mean_rank(out) == 2.625
    assert metrics.tie_rate(out) == 0.5
    assert list(per_query(out, ks=(3,))) == ["R@3", "MRR", "nDCG@10"]
    assert per_query(out, ks=(3,))["R@3"].tolist() == [1.0, 0.0, 1.0, 1.0]


def test_the_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no queries"):
        mean(np.zeros(0))


def test_importing_metrics_loads_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, evals.metrics, evals.stats, evals.records; sys.exit('torch' in sys.modules or 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
