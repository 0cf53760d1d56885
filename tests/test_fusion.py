"""Merges of text-text and text-image scores: checked by hand, and against the card's own numpy on all scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.embeddings.truncation import truncate
from evals.ranking.metrics import hit_at
from evals.ranking.ranks import ranks
from evals.ranking.relevance import Relevant
from evals.schema import ConfigError
from evals.tasks import fusion
from evals.tasks.fusion import Merge, merged_ranks, roles, score, sides, spread, weighted, zscore
from evals.tasks.scores import Scores
from tests.toys import image_text

E = np.eye(4, dtype=np.float32)


def random_rows(n: int, d: int, seed: int) -> np.ndarray:
    return truncate(np.random.default_rng(seed).standard_normal((n, d)), d)


def placed(scores: np.ndarray, relevant: list[int]) -> list[tuple[int, int]]:
    """Documents above the relevant one of each query, and beside it, from all scores."""
    own = scores[np.arange(len(scores)), relevant][:, None]
    near = np.abs(scores - own) < 1e-9
    return [
        (int(a), int(b) - 1)
        for a, b in zip(((scores > own) & ~near).sum(1), near.sum(1), strict=True)
    ]


def found(
    queries: np.ndarray, texts: np.ndarray, images: np.ndarray, merge: Merge, relevant: list[int]
) -> list[tuple[int, int]]:
    result = merged_ranks(queries, texts, images, merge, Relevant.single(np.array(relevant)))
    return list(zip(result.better.tolist(), result.tied.tolist(), strict=True))


def by_name(scores: list[Scores], dim: int) -> dict[str, Scores]:
    return {s.direction: s for s in scores if s.dim == dim}


# One query (1, 0). Its text-text scores are 0.6, 0.8, 0; its text-image scores 0.8, 0, 0.6. Document 0 is meant.
QUERY = np.array([[1, 0]], np.float32)
TEXTS = np.array([[0.6, 0.8], [0.8, 0.6], [0, 1]], np.float32)
IMAGES = np.array([[0.8, 0.6], [0, 1], [0.6, 0.8]], np.float32)


def test_a_merge_finds_what_either_score_alone_may_miss():
    one = Relevant.single(np.array([0]))
    assert ranks(QUERY, TEXTS, one).better.tolist() == [1]  # by text document 1 comes first
    for alpha, better in (
        (0.6, 0),
        (0.7, 0),
        (0.9, 1),
    ):  # 0.9: 0.62 against 0.72; 0.7: 0.66 against 0.56
        assert found(QUERY, TEXTS, IMAGES, weighted(alpha, 1), [0]) == [(better, 0)]


def test_the_score_of_a_merge_is_the_cards():
    result = merged_ranks(QUERY, TEXTS, IMAGES, weighted(0.6, 1), Relevant.single(np.array([0])))
    assert result.score[0] == pytest.approx(0.6 * 0.6 + 0.4 * 0.8)
    z = zscore(0.5, spread(QUERY, TEXTS), spread(QUERY, IMAGES))
    tt, ti = np.array([0.6, 0.8, 0]), np.array([0.8, 0, 0.6])
    expected = 0.5 * ((tt - tt.mean()) / tt.std())[0] + 0.5 * ((ti - ti.mean()) / ti.std())[0]
    assert merged_ranks(QUERY, TEXTS, IMAGES, z, Relevant.single(np.array([0]))).score[
        0
    ] == pytest.approx(expected, abs=1e-6)


def test_z_scores_lift_the_list_that_spreads_less():
    # text-text: 0.99, 1, 1, 1 (of document 0, …), text-image: 0.9, 0.1, 0.5, 0.5
    t = np.array([[0.99, np.sqrt(1 - 0.99**2)], [1, 0], [1, 0], [1, 0]], np.float32)
    i = np.array(
        [
            [0.9, np.sqrt(1 - 0.81)],
            [0.1, np.sqrt(0.99)],
            [0.5, np.sqrt(0.75)],
            [0.5, np.sqrt(0.75)],
        ],
        np.float32,
    )
    assert found(QUERY, t, i, weighted(0.6, 1), [0]) == [(0, 0)]  # 0.954 against 0.8
    # z of document 0: (-1.732 + 1.414) / 2 < 0; of 2 and 3: (0.577 + 0) / 2
    assert found(QUERY, t, i, zscore(0.5, spread(QUERY, t), spread(QUERY, i)), [0]) == [(2, 0)]


def test_mirrored_documents_tie():
    t, i = E[[0, 1, 2], :2], E[[1, 0, 2], :2]  # of the query (1, 0): tt 1, 0, 0 and ti 0, 1, 0
    assert found(QUERY, t, i, weighted(0.5, 1), [0]) == [(0, 1)]
    assert found(QUERY, t, i, zscore(0.5, spread(QUERY, t), spread(QUERY, i)), [0]) == [(0, 1)]


def test_z_scores_of_two_documents_that_disagree_tie_exactly():
    """Each list gives one document 1 and the other -1, however near the scores are."""
    q, t, i = random_rows(1, 8, 1), random_rows(2, 8, 2), random_rows(2, 8, 3)
    if (q @ t[0] > q @ t[1]) == (q @ i[0] > q @ i[1]):
        i = i[::-1].copy()
    assert found(q, t, i, zscore(0.5, spread(q, t), spread(q, i)), [0]) == [(0, 1)]


@pytest.mark.parametrize("seed", range(5))
def test_a_list_of_equal_scores_adds_nothing(seed):
    q, same = random_rows(6, 32, seed), np.repeat(random_rows(1, 32, seed + 100), 9, axis=0)
    other, meant = random_rows(9, 32, seed + 200), [0, 1, 2, 3, 4, 5]
    assert (spread(q, same).std == 0).all()
    assert found(q, same, other, zscore(0.5, spread(q, same), spread(q, other)), meant) == placed(
        q.astype(np.float64) @ other.T.astype(np.float64), meant
    )
    both = zscore(0.5, spread(q, same), spread(q, same))
    chance = merged_ranks(q, same, same, both, Relevant.single(np.array(meant)))
    assert hit_at(chance, 1) == pytest.approx(1 / 9)


def test_scores_that_differ_by_rounding_alone_have_no_deviation():
    docs = random_rows(50, 64, 0)
    docs[:, 1] = docs[:, 0]
    across = np.zeros((1, 64), np.float32)
    across[0, :2] = np.sqrt(0.5), -np.sqrt(0.5)
    assert spread(across, docs).std[0] == 0 < spread(docs[:1], docs).std[0]


@given(
    seed=st.integers(0, 2**32 - 1), n=st.integers(2, 40), d=st.integers(1, 24), q=st.integers(1, 30)
)
@settings(max_examples=60, deadline=None)
def test_merges_rank_as_the_cards_numpy_does(seed, n, d, q):
    rng = np.random.default_rng(seed)
    queries, texts, images = (random_rows(m, d, seed + k) for k, m in enumerate((q, n, n)))
    texts[rng.integers(n)], images[rng.integers(n)] = texts[0], images[0]  # some equal rows
    meant = rng.integers(n, size=q).tolist()
    tt, ti = (queries.astype(np.float64) @ docs.T.astype(np.float64) for docs in (texts, images))
    for alpha in (0.1, 0.5, 0.6):
        assert found(queries, texts, images, weighted(alpha, q), meant) == placed(
            alpha * tt + (1 - alpha) * ti, meant
        )
    spreads = spread(queries, texts), spread(queries, images)
    for mine, scores in zip(spreads, (tt, ti), strict=True):
        assert np.allclose(mine.mean, scores.mean(axis=1), rtol=0, atol=1e-14)
        assert np.allclose(mine.std, scores.std(axis=1), rtol=0, atol=1e-14)
    if min(s.std.min() for s in spreads) > 1e-3:  # else the oracle divides by its own rounding
        z = [(s - s.mean(axis=1, keepdims=True)) / s.std(axis=1, keepdims=True) for s in (tt, ti)]
        assert found(queries, texts, images, zscore(0.5, *spreads), meant) == placed(
            z[0] + z[1], meant
        )


def test_the_first_caption_is_the_document_and_the_others_are_queries():
    data = image_text([1, 0, 0, 1, 2, 1])
    given = roles(data)
    assert given.doc_texts.tolist() == [1, 0, 4]
    assert given.queries.tolist() == [2, 3, 5]  # image 2 is a document for which no query looks
    assert given.relevant.docs.tolist() == given.group.tolist() == [0, 1, 1]


def test_a_caption_of_several_images_finds_any_of_them():
    data = image_text([0, 1, 0])
    data = type(data)(
        data.images, data.texts, data.image_of_text, data.origin, also=np.array([[2, 1]])
    )
    given = roles(data)
    assert (given.queries.tolist(), given.relevant.docs.tolist(), given.group.tolist()) == (
        [2],
        [0, 1],
        [0],
    )


@pytest.mark.parametrize("image_of_text", [[0, 1, 2], [0, 0, 0]])
def test_data_without_queries_or_choice_are_refused_before_anything_is_embedded(image_of_text):
    with pytest.raises(ConfigError, match="Choose a benchmark with two or more captions per image"):
        sides(image_text(image_of_text))


def test_every_direction_is_scored_at_every_dimension():
    data = image_text([0, 0, 1, 1, 2, 2, 3, 3])
    texts, images = random_rows(8, 16, 0), random_rows(4, 16, 1)
    scores = score([images, texts], data, dims=[16, 8])
    names = ["tt", "ti", *(f"weighted@{a}" for a in fusion.SWEEP), "zscore@0.5", "zscore@0.6"]
    assert [(s.dim, s.direction) for s in scores] == [
        (dim, name) for dim in (16, 8) for name in names
    ]
    for dim in (16, 8):
        t, i = truncate(texts, dim).astype(np.float64), truncate(images, dim).astype(np.float64)
        tt, ti = t[1::2] @ t[::2].T, t[1::2] @ i.T
        for name, expected in (("tt", tt), ("ti", ti), ("weighted@0.6", 0.6 * tt + 0.4 * ti)):
            only = by_name(scores, dim)[name]
            assert list(only.columns["better"]) == [
                place for place, _ in placed(expected, [0, 1, 2, 3])
            ]
            assert only.columns["score"] == pytest.approx(np.diag(expected), abs=1e-6)
            assert (list(only.query_ids), list(only.group_ids)) == (
                ["t1", "t3", "t5", "t7"],
                ["i0", "i1", "i2", "i3"],
            )


def test_the_order_of_documents_changes_nothing():
    data = image_text([0, 0, 1, 1, 2, 2, 3, 3])
    texts, images = random_rows(8, 16, 0), random_rows(4, 16, 1)
    mirrored = image_text([3, 3, 2, 2, 1, 1, 0, 0])
    for a, b in zip(
        score([images, texts], data, dims=[16]),
        score([images[::-1].copy(), texts], mirrored, dims=[16]),
        strict=True,
    ):
        assert all(np.array_equal(a.columns[name], b.columns[name]) for name in a.columns)


def test_other_precisions_are_refused():
    with pytest.raises(ConfigError, match="float32 only, not in int8"):
        score([np.ones((1, 2)), np.ones((2, 2))], image_text([0, 0]), dims=[2], precisions=["int8"])
