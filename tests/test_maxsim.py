"""MaxSim is the sum over a query's vectors of the best product each, whatever the blocks, and its places are exact."""

import dataclasses
from operator import mul

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.embeddings.vectors import JoinedVectors
from evals.ranking import definition, maxsim
from evals.ranking.maxsim import places, scored, top
from evals.ranking.relevance import Relevant
from evals.schema import Vectors
from tests.ranking import random_rows

# Exact in binary, so that equal scores are equal to the bit; and few, so that there are some.
EXACT = [-1.0, -0.5, 0.0, 0.25, 1.0, 3.0]
SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=5)
SEEDS = st.integers(0, 2**32)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks that hold an item or two, so that small cases have several."""
    monkeypatch.setattr(maxsim, "DOC_VECTORS", 5)
    monkeypatch.setattr(maxsim, "QUERY_VECTORS", 3)


def triple_loop(queries: Vectors, docs: Vectors) -> np.ndarray:
    """Khattab & Zaharia 2020, equation 3, word for word."""
    scores = np.zeros((len(queries), len(docs)))
    for query in range(len(queries)):
        for doc in range(len(docs)):
            doc_vectors = docs.item(doc).astype(float).tolist()
            for vector in queries.item(query).astype(float).tolist():
                products = [sum(map(mul, vector, candidate)) for candidate in doc_vectors]
                scores[query, doc] += max(products)
    return scores


def drawn(seed: int, sizes: list[int], dim: int = 4) -> Vectors:
    rng = np.random.default_rng(seed)
    return Vectors.of([rng.standard_normal((size, dim)) for size in sizes], dim)


def drawn_exact(seed: int, sizes: list[int], dim: int = 2) -> Vectors:
    rng = np.random.default_rng(seed)
    return Vectors.of([rng.choice(EXACT, (size, dim)) for size in sizes], dim)


@settings(max_examples=40)
@given(SEEDS, SIZES, SIZES, st.integers(1, 5))
def test_the_score_is_that_of_a_plain_triple_loop(seed, queries_of, docs_of, dim):
    queries, docs = drawn(seed, queries_of, dim), drawn(seed + 1, docs_of, dim)
    np.testing.assert_allclose(
        maxsim.maxsim(queries, docs), triple_loop(queries, docs), rtol=0, atol=1e-6
    )


@settings(max_examples=20)
@given(SEEDS, SIZES, SIZES, st.integers(1, 5))
def test_a_device_gives_the_scores_of_the_host_but_for_last_bits(seed, queries_of, docs_of, dim):
    queries, docs = drawn(seed, queries_of, dim), drawn(seed + 1, docs_of, dim)
    expected = maxsim.maxsim(queries, docs)
    on_device = maxsim._on_device(queries, docs, "cpu")
    np.testing.assert_allclose(on_device, expected, rtol=0, atol=1e-13)


def test_a_document_that_no_vector_likes_scores_below_zero():
    # Padded with zeros, as some libraries do it, the shorter document would score 0.
    docs = Vectors.of([np.array([[-1.0, 0]]), np.array([[-2.0, 0], [-3, 0]])], 2)
    query = Vectors.of([np.array([[1.0, 0], [1, 0]])], 2)
    np.testing.assert_array_equal(maxsim.maxsim(query, docs), [[-2, -4]])


@settings(max_examples=40)
@given(SEEDS, SIZES, SIZES, st.integers(1, 30))
def test_places_are_those_of_the_whole_matrix(seed, queries_of, docs_of, at_once):
    queries, docs = drawn_exact(seed, queries_of), drawn_exact(seed + 1, docs_of)
    grades = np.random.default_rng(seed).integers(0, 3, (len(queries), len(docs)))
    grades[:, 0] += 1  # every query has a relevant document
    pairs = np.argwhere(grades)
    relevant = Relevant.from_pairs(pairs, len(queries))
    gains = grades[pairs[:, 0], pairs[:, 1]].astype(float)
    found = places(queries, docs, relevant, gains, at_once=at_once)
    scores, is_relevant = triple_loop(queries, docs), grades > 0
    assert len(found.query) == len(pairs)
    for entry, query in enumerate(found.query):
        is_above, is_equal = scores[query] > found.score[entry], scores[query] == found.score[entry]
        assert found.above[entry] == is_above.sum()
        assert found.equal[entry] == is_equal.sum()
        assert found.relevant_above[entry] == (is_above & is_relevant[query]).sum()
        assert found.relevant_equal[entry] == (is_equal & is_relevant[query]).sum()


def test_of_one_vector_per_item_the_places_are_those_of_plain_retrieval():
    rows, docs = random_rows(9, 6, 0), random_rows(20, 6, 1)
    docs[7:11] = docs[3]  # ties
    rng = np.random.default_rng(2)
    pairs = np.argwhere(rng.random((9, 20)) < 0.3)
    relevant = Relevant.from_pairs(pairs, 9)
    gains = rng.integers(1, 4, len(pairs)).astype(float)
    single = [Vectors(part, np.arange(len(part) + 1)) for part in (rows, docs)]
    expected = definition.places(rows, docs, relevant, gains)
    found = places(*single, relevant, gains)
    for field in dataclasses.fields(expected):
        np.testing.assert_allclose(
            getattr(found, field.name), getattr(expected, field.name), atol=1e-12
        )


def test_equal_documents_tie_though_their_vectors_are_in_another_order():
    vectors = drawn(0, [40], dim=64).rows
    docs = Vectors.of([vectors, vectors[::-1]], 64)
    queries = drawn(1, [30, 12], dim=64)
    relevant = Relevant.from_pairs(np.array([[0, 0], [1, 1]]), 2)
    assert places(queries, docs, relevant, np.ones(2)).equal.tolist() == [2, 2]


@settings(max_examples=20)
@given(SEEDS, SIZES, SIZES, st.integers(1, 30))
def test_items_of_several_sources_score_as_those_of_one(seed, queries_of, docs_of, at_once):
    queries, docs = drawn(seed, queries_of), drawn(seed + 1, docs_of)
    joined = []
    for items in (queries, docs):
        source_of = np.random.default_rng(seed).integers(0, 3, len(items))
        positions = [np.flatnonzero(source_of == source) for source in range(3)]
        joined.append(JoinedVectors([items.take(part) for part in positions], positions))
    scores = np.concatenate([part.scores for part in scored(*joined, at_once=at_once)])
    np.testing.assert_allclose(scores, triple_loop(queries, docs), rtol=0, atol=1e-6)


def test_the_best_documents_come_first_and_of_equal_ones_the_smaller_place():
    docs = Vectors.of([np.array([[x]]) for x in (1.0, 3, 2, 3)], 1)
    (part,) = scored(Vectors.of([np.ones((1, 1))], 1), docs)
    best = top(part, 3)
    assert best.docs.tolist() == [[1, 3, 2]]
    assert best.scores.tolist() == [[3, 3, 2]]
    assert top(part, 9).docs.shape == (1, 4)


def test_last_bits_order_no_documents():
    """Scores that a kernel may have apart by a last bit are equal, and stand by their places."""
    bit = 2.0**-52
    scores = np.array([[1, 2 - 2 * bit, 2, 3, 2 - bit, 0.5], [5, 4, 3, 2, 1, 0]])
    part = maxsim.Scored(0, scores, np.full(2, 1e-12))
    for k in (2, 3, 4, 6):
        best = top(part, k)
        assert best.docs.tolist() == [[3, 1, 2, 4, 0, 5][:k], list(range(k))]
        assert best.scores.tolist() == [[3, 2, 2, 2, 1, 0.5][:k], [5, 4, 3, 2, 1, 0][:k]]


@pytest.mark.parametrize("empty", ["query", "document"])
def test_an_item_without_vectors_has_no_score(empty):
    some, none = drawn(0, [2]), drawn(0, [2, 0])
    queries, docs = (none, some) if empty == "query" else (some, none)
    with pytest.raises(ValueError, match=f"{empty} 1 has no vector"):
        maxsim.maxsim(queries, docs)


@pytest.mark.parametrize("offsets", [[1, 3], [0, 2], [0, 3, 2, 3], []])
def test_offsets_that_do_not_describe_the_rows_are_refused(offsets):
    with pytest.raises(ValueError, match="offsets"):
        Vectors(np.zeros((3, 2), np.float32), np.array(offsets, np.int64))
