"""Text and mixed retrieval, and sentence pairs, from rows to scores, on matrices that can be checked by eye."""

from dataclasses import replace

import numpy as np
import pytest

from evals.data import subset_of
from evals.data.items import text_items, with_roles
from evals.evaluation.lengths import lengths_of
from evals.evaluation.recording import content_hash
from evals.schema import (
    ConfigError,
    InvalidError,
    Items,
    MissingError,
    Side,
    TextPairs,
    TextRetrieval,
)
from evals.stats.correlation import spearman_interval
from evals.tasks import retrieval, text_pairs
from tests.toys import HashEncoder, image_text, text_side

# Three documents on the axes; the first query is nearest to the first, the second to the third.
DOCS = np.eye(3, 4, dtype=np.float32)
QUERIES = np.array([[3, 2, 1, 0], [1, 2, 3, 0], [2, 3, 1, 0]], dtype=np.float32)


def toy(qrels: list[list[int]], n_queries: int = 3, n_docs: int = 3) -> TextRetrieval:
    queries = [f"query {place}" for place in range(n_queries)]
    docs = [f"document {place}" for place in range(n_docs)]
    return TextRetrieval(
        text_items(queries, [f"q{place}" for place in range(n_queries)]),
        text_items(docs, [f"d{place}" for place in range(n_docs)]),
        np.array(qrels),
        {"layout": "toy"},
    )


def test_metrics_by_hand() -> None:
    data = toy([[0, 1, 1], [1, 0, 1], [2, 1, 2], [2, 2, 1]])  # at places 2, 3, and 1 with 3
    [score] = retrieval.score([QUERIES, DOCS], data, dims=[4])
    values = {name: value.value for name, value in score.values.items()}
    dcg = (2 + 1 / 2) / (2 + 1 / np.log2(3))
    assert values["nDCG@10"] == pytest.approx((1 / np.log2(3) + 1 / 2 + dcg) / 3, abs=1e-12)
    assert values["MAP"] == pytest.approx((1 / 2 + 1 / 3 + (1 + 2 / 3) / 2) / 3, abs=1e-12)
    assert values["RR"] == pytest.approx((1 / 2 + 1 / 3 + 1) / 3, abs=1e-12)
    assert values["Success@1"] == pytest.approx(1 / 3)
    assert values["Recall@1"] == pytest.approx(1 / 6)
    assert next(iter(values)) == "nDCG@10"  # the main score comes first
    assert score.columns["better"].tolist() == [1, 2, 0]
    assert score.columns["MAP"] == pytest.approx([1 / 2, 1 / 3, 5 / 6])
    assert "RR" not in score.columns and "Success@1" not in score.columns  # they follow from ranks
    assert (score.n_gallery, score.tie_rate, score.query_ids) == (3, 0, ["q0", "q1", "q2"])


def test_queries_that_share_a_relevant_document_are_one_cluster() -> None:
    data = toy([[0, 1, 1], [1, 0, 1], [2, 1, 2], [2, 2, 1]])
    [score] = retrieval.score([QUERIES, DOCS], data, dims=[4])
    assert score.group_ids == ["q0", "q1", "q0"]
    # three queries of their own are more than two clusters: the interval is narrower
    alone = toy([[0, 1, 1], [1, 0, 1], [2, 2, 1]])
    [apart] = retrieval.score([QUERIES, DOCS], alone, dims=[4])
    assert apart.group_ids == ["q0", "q1", "q2"]


def test_dimensions_and_precisions_are_scored_from_the_same_rows() -> None:
    data = toy([[0, 0, 1], [1, 2, 1], [2, 1, 1]])
    scores = retrieval.score(
        [QUERIES, DOCS], data, dims=[4, 2], precisions=("float32", "binary"), device="cpu"
    )
    assert [(score.dim, score.precision) for score in scores] == [
        (4, "float32"),
        (4, "binary"),
        (2, "float32"),
        (2, "binary"),
    ]
    # all values are equal in binary: every order of the documents is as likely
    assert scores[1].values["Success@1"].value == pytest.approx(1 / 3)
    assert scores[1].tie_rate == 1
    # the third document is zero at two dimensions, and the second query looks for it
    assert scores[2].values["Success@1"].value == pytest.approx(2 / 3)
    with pytest.raises(ConfigError, match="not scored in two stages"):
        retrieval.score([QUERIES, DOCS], data, dims=[4], precisions=("int8+rescore10",))


def test_an_item_with_text_and_image_is_the_sum_of_both_unit_vectors() -> None:
    texts, images = text_side(["a", "b"]), text_side(["c", "d"])
    images = Side("image", images.items, images.ids, images.hashes)
    items = Items(["x", "y", "z"], texts, images, np.array([0, 1]), np.array([1, 2]))
    text_rows = np.array([[2, 0], [0, 3]], dtype=np.float32)
    image_rows = np.array([[5, 0], [0, 7]], dtype=np.float32)
    vectors = retrieval.item_vectors(items, [text_rows, image_rows], 2)
    half = np.sqrt(0.5)
    assert vectors == pytest.approx(np.array([[1, 0], [half, half], [0, 1]]), abs=1e-7)


def test_a_limit_draws_queries_and_searches_every_document() -> None:
    data = toy([[0, 1, 1], [1, 0, 1], [2, 1, 2], [2, 2, 1]])
    part = subset_of(data, 2)
    assert part.counts["queries"] == 2 and part.counts["documents"] == 3
    for place, name in enumerate(part.queries.ids):
        of_part = part.qrels[part.qrels[:, 0] == place, 1:]
        of_all = data.qrels[data.qrels[:, 0] == data.queries.ids.index(name), 1:]
        assert of_part.tolist() == of_all.tolist()
    assert set(subset_of(data, 1).queries.ids) <= set(part.queries.ids)
    assert part.origin["limit"] == "2" and subset_of(data, 3) is data


def test_the_content_hash_is_of_texts_and_judgements_and_not_of_ids() -> None:
    data = toy([[0, 1, 1], [1, 0, 1], [2, 1, 2]])
    others = [toy([[0, 1, 1], [1, 0, 1], [2, 1, 1]]), toy([[0, 1, 1], [1, 0, 1], [2, 2, 2]])]
    assert len({content_hash(one) for one in (data, *others)}) == 3
    renamed = TextRetrieval(
        text_items(data.queries.texts.items, ["x", "y", "z"]), data.docs, data.qrels, {}
    )
    assert content_hash(renamed) == content_hash(data)


def test_with_instructions_queries_and_documents_have_their_roles() -> None:
    data = with_roles(toy([[0, 1, 1], [1, 0, 1], [2, 1, 2]]))
    assert [side.role for side in data.sides] == ["query", "document"]


class Short(HashEncoder):
    """Reads nine characters, as do models of a fixed number of tokens."""

    def truncated(self, side: Side) -> int:
        return sum(len(text) > 9 for text in side.items)


def test_documents_that_are_longer_than_the_encoder_reads_are_counted() -> None:
    parts = {"all": toy([[0, 1, 1], [1, 0, 1], [2, 1, 2]])}
    assert lengths_of(Short(), parts).counts == {
        "queries": {"texts": 3, "truncated": 0},
        "documents": {"texts": 3, "truncated": 3},
    }
    assert lengths_of(HashEncoder(), parts) == ({}, None)


def test_captions_that_are_longer_than_the_encoder_reads_are_counted_over_all_languages() -> None:
    languages = {"en": ["a dog", "a dog that runs"], "de": ["ein Hund am Meer"]}
    parts = {
        name: replace(image_text([0] * len(texts)), texts=text_side(texts))
        for name, texts in languages.items()
    }
    assert lengths_of(Short(), parts).counts == {"captions": {"texts": 3, "truncated": 2}}


class WithoutTokenizer(Short):
    """Counts English, and has no tokenizer for other texts."""

    def truncated(self, side: Side) -> int:
        if "Hund" in side.items[0]:
            raise MissingError("its tokenizer is not here.")
        return super().truncated(side)


def test_texts_that_cannot_be_counted_are_null_with_the_reason() -> None:
    parts = {
        name: replace(image_text([0]), texts=text_side([text]))
        for name, text in {"en": "a dog that runs", "de": "ein Hund", "fr": "un chien"}.items()
    }
    counts = {"captions": {"texts": 3, "truncated": None}}
    assert lengths_of(WithoutTokenizer(), parts) == (counts, "its tokenizer is not here")


def pairs(gold: list[float]) -> TextPairs:
    n = len(gold)
    first, second = text_side([f"a{i}" for i in range(n)]), text_side([f"b{i}" for i in range(n)])
    return TextPairs(first, second, np.array(gold, dtype=float), {"layout": "toy"})


def test_sentence_pairs_have_the_rank_correlation_of_scipy() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 40, 6)).astype(np.float32)
    gold = rng.integers(0, 5, 40).astype(float)
    [wide, narrow] = text_pairs.score([first, second], pairs(gold.tolist()), dims=[6, 3])
    for score, dim in ((wide, 6), (narrow, 3)):
        x, y = first[:, :dim], second[:, :dim]
        cosines = (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        value, interval = score.values["spearman"]
        assert value == pytest.approx(spearmanr(cosines, gold).statistic, abs=1e-12)
        assert score.columns["score"] == pytest.approx(cosines, abs=1e-6)
        assert interval == spearman_interval(score.columns["score"], gold)


def test_a_model_that_gives_all_pairs_one_cosine_has_no_correlation() -> None:
    ones = np.ones((4, 3), dtype=np.float32)
    with pytest.raises(InvalidError, match=r"All 4 pairs have the cosine 1\.000000"):
        text_pairs.score([ones, ones], pairs([1, 2, 3, 4]), dims=[3])
    with pytest.raises(ConfigError, match="pairs are not searched"):
        text_pairs.score([ones, ones], pairs([1, 2]), dims=[3], precisions=("int8+rescore10",))
