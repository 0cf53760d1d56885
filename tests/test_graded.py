"""Places of all relevant documents, and trec_eval's measures of them with ties in expectation."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.ranking import definition, graded
from evals.ranking import places as places_module
from evals.ranking.definition import Places
from evals.ranking.metric_table import GRADED, of_places, of_queries
from evals.ranking.places import places
from evals.ranking.relevance import Relevant
from tests.ranking import hard_case, random_rows, rows, small_blocks

__all__ = ["small_blocks"]  # a fixture

# One query: grades by place from the first, unjudged and not relevant documents 0.
BY_HAND = [2, 0, 1, 0, 0, 3]
CUT_OFFS = (1, 2, 5, 10, 100)
MEASURES = (
    graded.ndcg,
    graded.average_precision,
    graded.first_reciprocal,
    graded.recall,
    graded.precision,
    graded.success,
)
TREC_NAMES = {
    "nDCG": "ndcg_cut",
    "MAP": "map_cut",
    "Recall": "recall",
    "P": "P",
    "Success": "success",
}


def placed(scores: Sequence[float], grades: Sequence[int]) -> Places:
    """The places of one query's relevant documents, by the plain definition."""
    docs = rows(*[[score] for score in scores])
    judged = np.flatnonzero(np.array(grades) > 0)
    gains = np.array([float(grades[doc]) for doc in judged])
    return definition.places(rows([1]), docs, Relevant(np.array([0, len(judged)]), judged), gains)


def in_order(*orders: Sequence[int]) -> Places:
    """The places of queries whose documents stand in these orders of grades, without ties."""
    grades = np.array(orders)
    query, place = np.nonzero(grades)
    alone = np.ones(len(query), dtype=np.int64)
    return Places(
        query=query,
        gain=grades[query, place].astype(float),
        score=np.zeros(len(query)),
        above=place,
        equal=alone,
        relevant_above=(np.cumsum(grades > 0, axis=1) - 1)[query, place],
        relevant_equal=alone,
        n_relevant=(grades > 0).sum(axis=1),
        ideal=np.concatenate([sorted(row[row > 0], reverse=True) for row in grades]).astype(float),
    )


def value(measure: Callable[..., np.ndarray], ranked: Places, k: int | None = None) -> float:
    [only] = measure(ranked, k)
    return float(only)


def test_every_measure_by_hand() -> None:
    ranked = in_order(BY_HAND)
    log = np.log2
    assert value(graded.ndcg, ranked, 3) == pytest.approx(
        (2 + 1 / log(4)) / (3 + 2 / log(3) + 1 / log(4)), abs=1e-15
    )
    assert value(graded.ndcg, ranked) == pytest.approx(
        (2 + 1 / log(4) + 3 / log(7)) / (3 + 2 / log(3) + 1 / log(4)), abs=1e-15
    )
    assert value(graded.average_precision, ranked) == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)
    assert value(graded.average_precision, ranked, 3) == pytest.approx((1 + 2 / 3) / 3)
    assert value(graded.recall, ranked, 5) == pytest.approx(2 / 3)
    assert value(graded.precision, ranked, 5) == 2 / 5
    assert value(graded.precision, ranked, 100) == 3 / 100
    assert value(graded.success, in_order([0, 0, 1]), 2) == 0
    assert value(graded.first_reciprocal, in_order([0, 0, 1])) == pytest.approx(1 / 3)
    assert value(graded.first_reciprocal, in_order([0, 0, 1]), 2) == 0


def test_the_best_order_is_worth_exactly_one() -> None:
    ranked = in_order([3, 3, 2, 1, 1, 0, 0])
    values = {name: values.tolist() for name, values in of_places(ranked).items()}
    assert values["nDCG@10"] == values["nDCG@100"] == values["MAP"] == values["Recall@10"] == [1.0]
    assert values["P@1"] == values["RR"] == values["Success@1"] == [1.0]
    assert values["Recall@1"] == [0.2] and values["P@10"] == [0.5]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_measure_is_its_mean_over_all_orders_of_equal_scores(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 6))
    scores = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    grades = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any))
    orders = [
        [grades[doc] for doc in order]
        for order in itertools.permutations(range(n))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    ranked, each_order = placed(scores, grades), in_order(*orders)
    for measure in (graded.ndcg, graded.average_precision, graded.first_reciprocal):
        assert value(measure, ranked) == pytest.approx(measure(each_order).mean(), abs=1e-12)
    for k in (1, 2, 4, 10):
        for measure in MEASURES:
            mean = measure(each_order, k).mean()
            assert value(measure, ranked, k) == pytest.approx(mean, abs=1e-12), (measure, k)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 130))
def test_trec_eval_agrees_on_every_query_where_no_scores_are_equal(
    seed: int, n_queries: int, n_docs: int
) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(seed)
    queries, docs = random_rows(n_queries, 8, seed), random_rows(n_docs, 8, seed + 1)
    grades = rng.integers(-1, 4, size=(n_queries, n_docs)) * (rng.random((n_queries, n_docs)) < 0.3)
    grades[:, 0] = 1  # trec_eval and we differ on queries without relevant documents
    pairs = np.argwhere(grades > 0)
    relevant = Relevant.from_pairs(pairs, n_queries)
    ranked = places(queries, docs, relevant, grades[pairs[:, 0], pairs[:, 1]].astype(float))

    # Ranks in place of scores: trec_eval reads them as float32, in which near scores would tie.
    scores = (queries.astype(np.float64) @ docs.astype(np.float64).T).argsort().argsort()
    run = {f"q{q}": {f"d{d}": float(scores[q, d]) for d in range(n_docs)} for q in range(n_queries)}
    judged = grades.tolist()
    qrels = {
        f"q{q}": {f"d{d}": judged[q][d] for d in range(n_docs) if judged[q][d]}
        for q in range(n_queries)
    }
    wanted = {"map", "ndcg", "recip_rank"}
    wanted |= {f"{name}.{','.join(map(str, CUT_OFFS))}" for name in TREC_NAMES.values()}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)
    ours = of_places(ranked, [f"{name}@{k}" for name in TREC_NAMES for k in CUT_OFFS])
    whole = {
        "map": graded.average_precision,
        "ndcg": graded.ndcg,
        "recip_rank": graded.first_reciprocal,
    }
    for q in range(n_queries):
        for name, theirs_name in TREC_NAMES.items():
            for k in CUT_OFFS:
                expected = theirs[f"q{q}"][f"{theirs_name}_{k}"]
                assert ours[f"{name}@{k}"][q] == pytest.approx(expected, abs=1e-6), (name, k)
        for theirs_name, measure in whole.items():
            assert measure(ranked)[q] == pytest.approx(theirs[f"q{q}"][theirs_name], abs=1e-6)


@pytest.mark.parametrize("levels", [1, 40, 2**20])
def test_the_engine_places_all_relevant_documents_as_the_definition_does(
    levels: int, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places_module, "LEVELS", levels)
    docs, queries, doc_of_query = hard_case()
    rng = np.random.default_rng(3)
    more = np.column_stack([np.repeat(np.arange(180), 25), rng.integers(0, 60, 4500)])
    pairs = np.unique(
        np.concatenate([more, np.column_stack([np.arange(180), doc_of_query])]), axis=0
    )
    relevant = Relevant.from_pairs(pairs, 180)
    gains = rng.integers(1, 4, len(pairs)).astype(float)
    ours = places(queries, docs, relevant, gains, chunk=50)
    plain = definition.places(queries, docs, relevant, gains)
    for field in fields(Places):
        if field.name in ("score", "gain"):
            continue  # equal documents stand in any order, each with its gain
        assert np.array_equal(getattr(ours, field.name), getattr(plain, field.name)), field.name
    assert ours.score == pytest.approx(plain.score, abs=1e-6)
    for name in GRADED:
        [a], [b] = of_places(ours, [name]).values(), of_places(plain, [name]).values()
        assert a == pytest.approx(b, abs=1e-12), name


def test_with_one_grade_it_is_what_ranks_say() -> None:
    docs, queries, doc_of_query = hard_case()
    relevant = Relevant.single(doc_of_query)
    ranks = definition.ranks(queries, docs, relevant)
    values = of_places(places(queries, docs, relevant, np.ones(180)))
    by_ranks = of_queries(ranks)
    for ours, theirs in (("Success@1", "R@1"), ("Success@10", "R@10"), ("RR", "MRR")):
        assert values[ours] == pytest.approx(by_ranks[theirs], abs=1e-12)
    assert values["nDCG@10"] == pytest.approx(ranks.ndcg10, abs=1e-12)
    # with one relevant document the precision at its place is the reciprocal rank
    assert values["MAP"] == pytest.approx(values["RR"], abs=1e-12)


def test_huge_groups_of_equal_scores_lose_no_precision() -> None:
    one = np.ones(1, dtype=np.int64)
    million = 10**6 * one
    ranked = Places(
        query=0 * one,
        gain=np.ones(1),
        score=np.ones(1),
        above=0 * one,
        equal=million,
        relevant_above=0 * one,
        relevant_equal=one,
        n_relevant=one,
        ideal=np.ones(1),
    )
    harmonic = np.sum(1 / np.arange(1.0, 10**6 + 1))
    assert value(graded.average_precision, ranked) == pytest.approx(harmonic / 10**6, rel=1e-12)
    assert value(graded.recall, ranked, 1000) == pytest.approx(1e-3, rel=1e-12)
    assert value(graded.first_reciprocal, ranked) == pytest.approx(harmonic / 10**6, rel=1e-12)
