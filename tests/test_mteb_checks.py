"""mteb's path refuses what our loaders refuse, or counts it once and gives mteb's own number."""

import numpy as np
import pytest

pytest.importorskip("mteb")


from evals.mteb_bridge.scoring import score_hits
from evals.ranking.best_docs import Hits
from evals.records.record import read_run
from evals.schema import InvalidError
from tests.test_mteb_bridge import (
    BagEncoder,
    assert_equal_scores,
    best_pair_scores,
    measure,
    plainly,
    pytestmark,  # noqa: F401 - mteb's warnings
    sentence,
    toy_task,
)

TEXTS = "red cat|blue dog|cat sits|tree sun|moon river|bird song|stone mat|dog runs".split("|")


def documents() -> list[dict]:
    return [{"id": f"d{i}", "text": text, "title": ""} for i, text in enumerate(TEXTS)]


def queries() -> list[dict]:
    texts = ["red cat", "dog blue", "sun tree moon"]
    return [{"id": f"q{i}", "text": text} for i, text in enumerate(texts)]


def judgements() -> dict:
    return {"q0": {"d0": 1}, "q1": {"d1": 2, "d7": 1}, "q2": {"d3": 1}}


ONCE = {"q0": ["d1", "d0", "d5"], "q1": ["d2", "d1"], "q2": ["d3", "d1", "d4"]}
TWICE = {"q0": ["d1", "d0", "d0", "d5"], "q1": ["d2", "d1", "d1", "d1"], "q2": ["d3", "d1", "d4"]}


@pytest.mark.parametrize("attributes", [{}, {"skip_first_result": True}])
@pytest.mark.parametrize("own_scores", [False, True])
def test_a_candidate_listed_twice_counts_once_as_in_mteb(own_scores, attributes, tmp_path):
    if own_scores:
        attributes = attributes | {"task_specific_scores": best_pair_scores}
    data = (documents(), queries(), judgements())
    twice = measure(toy_task("Twice", *data, TWICE, **attributes), tmp_path)
    [theirs] = plainly(toy_task("Twice", *data, TWICE, **attributes)).values()
    assert_equal_scores(twice.scores[0].values, theirs)
    assert read_run(twice.path).manifest.raw["mteb"]["repeated"] == {
        "documents": 0,
        "candidates": 3,
    }
    if not attributes:
        once = measure(toy_task("Once", *data, ONCE), tmp_path)
        assert once.scores[0].values == twice.scores[0].values


@pytest.mark.parametrize("ranked", [None, {"q0": ["d0", "d3"], "q1": ["d1", "d6"], "q2": ["d3"]}])
def test_equal_documents_of_one_id_count_once_as_in_mteb(ranked, tmp_path):
    corpus = [*documents(), documents()[0], documents()[3]]
    data = (corpus, queries(), judgements(), ranked)
    ours = measure(toy_task("Equal", *data), tmp_path)
    [theirs] = plainly(toy_task("Equal", *data)).values()
    assert_equal_scores(ours.scores[0].values, theirs)
    assert read_run(ours.path).manifest.raw["mteb"]["repeated"] == {"documents": 2, "candidates": 0}


def test_many_repeated_ids_and_ties_give_mtebs_numbers(tmp_path):
    """With 10 as the deepest cut, what is listed again takes the places of other documents."""
    rng = np.random.default_rng(11)
    corpus = [{"id": f"d{i}", "text": sentence(rng, 2), "title": ""} for i in range(40)]
    corpus += [corpus[i] for i in rng.integers(0, 40, 30)]
    questions = [{"id": f"q{i}", "text": sentence(rng, 2)} for i in range(30)]
    relevant = {q["id"]: {f"d{i}": 1 for i in rng.integers(0, 40, 3)} for q in questions}
    ranked = {q["id"]: [f"d{i}" for i in rng.integers(0, 40, 20)] for q in questions}
    for candidates in (None, ranked):
        data = (corpus, questions, relevant, candidates)
        for cuts in ((1, 3, 5, 10), (1, 3, 5, 10, 100)):
            ours = measure(toy_task("Many", *data, k_values=cuts), tmp_path)
            [theirs] = plainly(toy_task("Many", *data, k_values=cuts)).values()
            assert_equal_scores(ours.scores[0].values, theirs)


def test_blank_documents_and_queries_are_measured_as_in_mteb_and_counted(tmp_path):
    corpus, questions = documents(), queries()
    corpus[2]["text"], corpus[5]["text"], questions[1]["text"] = "", "\u200b \ufeff", " "
    data = (corpus, questions, judgements())
    ours = measure(toy_task("Blank", *data), tmp_path, dims=(64, 16))
    [theirs] = plainly(toy_task("Blank", *data)).values()
    assert_equal_scores(ours.scores[0].values, theirs)
    assert read_run(ours.path).manifest.raw["mteb"]["blank_texts"] == 3


def refused(corpus=None, questions=None, relevant=None, ranked=None):
    data = (corpus or documents(), questions or queries(), relevant or judgements(), ranked)
    return toy_task("Refused", *data)


def other_text(rows: list[dict], **changes: object) -> list[dict]:
    return [*rows, {**rows[0], **changes}]


@pytest.mark.parametrize("scored_by_mteb", [False, True])
@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            lambda: refused(questions=other_text(queries())),
            "default test, query 3: query 'q0' is listed at default test, query 0 too",
        ),
        (
            lambda: refused(corpus=other_text(documents(), text="moon")),
            "default test: documents 0 and 8 differ and have one id, 'd0'",
        ),
        (
            lambda: refused(corpus=other_text(documents(), title="moon")),
            "documents 0 and 8 differ",
        ),
        (
            lambda: refused(corpus=other_text(documents(), id="")),
            "the id of document 8 is empty",
        ),
        (
            lambda: refused(corpus=[{**row, "id": i} for i, row in enumerate(documents())]),
            "the id of document 0 is a whole number, not a string",
        ),
        (
            lambda: refused(relevant=judgements() | {"q2": {"d3": "1"}}),
            "the grade of document 'd3' for query 'q2' is '1', which is no whole number",
        ),
        (
            lambda: refused(relevant=judgements() | {"q2": {"d3": float("nan")}}),
            "the grade of document 'd3' for query 'q2' is nan",
        ),
        (
            lambda: refused(relevant=judgements() | {"q2": {"d3": 1.0}}),
            "is 1.0, which is no whole number",
        ),
        (
            lambda: refused(ranked=ONCE | {"q1": ["d1", "d99"]}),
            "candidate d99 is not in the corpus",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_embedded(
    task, message, scored_by_mteb, tmp_path
):
    encoder, toy = BagEncoder(), task()
    if scored_by_mteb:
        type(toy).task_specific_scores = best_pair_scores
    with pytest.raises(InvalidError, match=message):
        measure(toy, tmp_path, encoder=encoder)
    assert encoder.encoded == 0


@pytest.mark.parametrize("none", [{}, {"q9": {}}], ids=["not there", "empty"])
def test_a_query_without_judgements_may_be_listed_twice(none, tmp_path):
    questions = [*queries(), {"id": "q9", "text": "moon"}, {"id": "q9", "text": "sun"}]
    task = toy_task("Toy", documents(), questions, judgements() | none)
    assert measure(task, tmp_path).scores[0].n == 3


def test_a_hit_that_comes_again_keeps_its_first_place_and_counts_once():
    """Of four hits the second comes again: the document of the third place counts as the second."""
    block = Hits(0, np.array([[0, 1, 1, 2]]), np.array([[0.9, 0.5, 0.5, 0.1]], np.float32))
    scores = score_hits([block], ["q"], ["a", "b", "c"], {"q": {"b": 1, "c": 1}}, (1, 2, 3))
    assert scores.metrics["P@3"] == pytest.approx([2 / 3])
    assert scores.metrics["Recall@2"] == pytest.approx([1 / 2])
    assert scores.metrics["MAP@3"] == pytest.approx([(1 / 2 + 2 / 3) / 2])
    ideal = 1 + 1 / np.log2(3)
    assert scores.metrics["NDCG@3"] == pytest.approx([(1 / np.log2(3) + 1 / 2) / ideal])
    assert scores.confidences["std"] == pytest.approx([np.std([0.9, 0.5, 0.1])])
