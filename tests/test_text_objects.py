"""Texts that a program holds, or a library names, are the data that a BEIR folder is."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

import evals
from evals.config.own_data import Reading, data_ref
from evals.data.beir import load_beir
from evals.data.ir_library import load_ir
from evals.data.own import read_own
from evals.data.text_objects import text_pairs, text_retrieval
from evals.evaluation.recording import content_hash
from evals.schema import ConfigError, InvalidError, MissingError, TextRetrieval
from tests.test_data_judged import DOCS, QRELS, QUERIES, assert_toy, beir
from tests.test_data_pairs import PAIRS

Rows = list[dict[str, Any]]


def corpus(id_name: str = "_id") -> Rows:
    return [{id_name: id_, "title": title, "text": text} for id_, title, text in DOCS]


def queries(id_name: str = "_id") -> Rows:
    return [{id_name: id_, "text": text} for id_, text in QUERIES]


def qrels(grade: type = int) -> Rows:
    return [{"query-id": q, "corpus-id": d, "score": grade(g)} for q, d, g in QRELS]


def in_datasets() -> TextRetrieval:
    datasets = pytest.importorskip("datasets")
    make = datasets.Dataset.from_list
    splits = datasets.DatasetDict({"train": make(qrels()[:1]), "test": make(qrels(float))})
    return text_retrieval(make(corpus()), make(queries("id")), splits)


def in_frames() -> TextRetrieval:
    pd = pytest.importorskip("pandas")
    return text_retrieval(*(pd.DataFrame(rows) for rows in (corpus("doc_id"), queries(), qrels())))


def in_dicts() -> TextRetrieval:
    grades: dict[str, dict[str, int]] = {}
    for query, doc, grade in QRELS:
        grades.setdefault(query, {})[doc] = grade
    docs = {id_: {"title": title, "text": text} for id_, title, text in DOCS}
    return text_retrieval(docs, dict(QUERIES), grades)


def test_every_kind_of_object_is_the_data_of_the_folder(tmp_path: Path) -> None:
    folder = load_beir(beir(tmp_path / "set"), None)
    ways = [
        text_retrieval(corpus(), queries("qid"), qrels()),
        in_datasets(),
        in_frames(),
        in_dicts(),
    ]
    for data in ways:
        assert_toy(data)
    assert {content_hash(data) for data in ways} == {content_hash(folder)}


def test_ids_that_are_whole_numbers_are_written_as_texts() -> None:
    docs: Rows = [{"id": 7, "text": "seven"}, {"id": 8, "text": "eight"}]
    data = text_retrieval(docs, [{"id": 1, "text": "q"}], [dict(query=1, doc_id=7, rel=1)])
    assert data.docs.ids == ["7", "8"] and data.queries.ids == ["1"]
    docs[1]["id"] = 8.0
    with pytest.raises(InvalidError, match=r"corpus, row 1: the id 8\.0 of the document is a fl"):
        text_retrieval(docs, [{"id": 1, "text": "q"}], [dict(query=1, doc_id=7, rel=1)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": math.nan}, r"qrels, row 0: the grade is nan, which is no whole number"),
        ({"score": None}, r"qrels, row 0: the grade is None"),
        ({"score": True}, r"qrels, row 0: the grade is True"),
        ({"corpus-id": "d9"}, r"qrels, row 0: there is no document 'd9'"),
    ],
)
def test_a_fault_of_a_judgement_is_named_by_row(change: dict[str, Any], message: str) -> None:
    rows = qrels()
    rows[0] = rows[0] | change
    with pytest.raises(InvalidError, match=message):
        text_retrieval(corpus(), queries(), rows)


def test_faults_of_documents_and_queries_are_those_of_every_door() -> None:
    with pytest.raises(
        InvalidError, match=r"corpus, row 3: document 'd1' is listed at corpus, row"
    ):
        text_retrieval([*corpus(), corpus()[0]], queries(), qrels())
    with pytest.raises(InvalidError, match=r"queries, row 3: the text of query 'x' is empty"):
        text_retrieval(corpus(), [*queries(), {"_id": "x", "text": "\ufeff"}], qrels())
    with pytest.raises(ConfigError, match=r"corpus: no column for the document id among name, t"):
        text_retrieval([{"name": "d1", "text": "x"}], queries(), qrels())
    with pytest.raises(ConfigError, match=r"qrels: no column for the grade among query-id, corpus"):
        text_retrieval(corpus(), queries(), [{"query-id": "q1", "corpus-id": "d1"}])
    with pytest.raises(InvalidError, match=r"qrels, query 'q1': is a list, not a dict"):
        text_retrieval(corpus(), queries(), {"q1": ["d1"]})


def test_documents_and_queries_may_have_images() -> None:
    datasets = pytest.importorskip("datasets")
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    docs = datasets.Dataset.from_list(
        [{"id": "a", "text": "", "image": red}, {"id": "b", "text": "sea", "image": blue}],
        features=datasets.Features(
            id=datasets.Value("string"), text=datasets.Value("string"), image=datasets.Image()
        ),
    )
    data = text_retrieval(docs, {"q": "red"}, {"q": {"a": 1}})
    assert data.docs.item_of_image.tolist() == [0, 1] and data.docs.item_of_text.tolist() == [1]
    assert np.asarray(data.docs.images.items[0]).tolist()[0][0] == [255, 0, 0]
    by_picture = text_retrieval({"a": "red"}, [{"id": "q", "image": blue}], {"q": {"a": 1}})
    assert len(by_picture.queries.images) == 1 and len(by_picture.queries.texts) == 0


class Letters:
    """A model as a program has one: counts of letters."""

    def encode_text(self, texts: list[str]) -> list[list[int]]:
        return [[1 + text.lower().count(letter) for letter in "acdeorst"] for text in texts]

    def encode_image(self, images: list[Any]) -> list[list[int]]:
        return [[1] * 8 for _ in images]


def test_a_program_measures_them(tmp_path: Path) -> None:
    places: dict[str, Any] = {"results": tmp_path / "runs", "store": None}
    data = evals.text_retrieval(corpus(), queries(), qrels())
    run = evals.evaluate(data, Letters(), name="letters", dims=[8, 4], **places)
    assert 0 < run.value("nDCG@10", dim=4) <= 1
    assert run.value("Recall@10", dim=8) == 1.0
    chosen = evals.evaluate(data, Letters(), name="letters", measures=["P@3"], **places)
    assert 0 < chosen.value("P@3") < 1
    with pytest.raises(ConfigError, match="--measures R@5: no such measure"):
        evals.evaluate(data, Letters(), measures="R@5", **places)
    pairs = evals.text_pairs([dict(sentence1=a, sentence2=b, score=gold) for a, b, gold in PAIRS])
    assert -1 <= evals.evaluate(pairs, Letters(), **places).value("spearman") <= 1


def test_pairs_of_every_kind_of_object_are_one_data() -> None:
    datasets, pd = pytest.importorskip("datasets"), pytest.importorskip("pandas")
    rows = [dict(sentence1=a, sentence2=b, score=gold) for a, b, gold in PAIRS]
    ways = [
        text_pairs(rows),
        text_pairs(datasets.Dataset.from_list(rows)),
        text_pairs(pd.DataFrame(rows)),
    ]
    assert len({content_hash(data) for data in ways}) == 1
    rows[1]["score"] = math.nan
    with pytest.raises(InvalidError, match="pairs, row 1: `score` is nan, which is no finite"):
        text_pairs(rows)


class Doc(NamedTuple):
    doc_id: str
    title: str
    text: str

    def default_text(self) -> str:
        return f"{self.title} {self.text}"


class Query(NamedTuple):
    query_id: str
    text: str

    def default_text(self) -> str:
        return self.text


class Qrel(NamedTuple):
    query_id: str
    doc_id: str
    relevance: int
    iteration: str = "0"


def toy_dataset(docs: Any = DOCS, queries: Any = QUERIES, qrels: Any = QRELS) -> Any:
    """A collection as ir_datasets has one; without queries it is of documents alone."""
    library = pytest.importorskip("ir_datasets")
    from ir_datasets.formats import BaseDocs, BaseQrels, BaseQueries

    class Docs(BaseDocs):  # type: ignore[misc]
        def docs_iter(self) -> Iterator[Doc]:
            return iter([Doc(*row) for row in docs])

    class Queries(BaseQueries):  # type: ignore[misc]
        def queries_iter(self) -> Iterator[Query]:
            return iter([Query(*row) for row in queries])

    class Qrels(BaseQrels):  # type: ignore[misc]
        def qrels_iter(self) -> Iterator[Qrel]:
            return iter([Qrel(*row) for row in qrels])

    return library.Dataset(*([Docs(), Queries(), Qrels()] if queries else [Docs()]))


@pytest.fixture
def toy_id() -> Iterator[str]:
    """The toy collection under an id of ir_datasets, for as long as a test runs."""
    library = pytest.importorskip("ir_datasets")
    names = {"toy/collection/test": toy_dataset(), "toy/collection": toy_dataset(queries=())}
    for name, dataset in names.items():
        library.registry.register(name, dataset)
    yield "toy/collection/test"
    for name in names:
        del library.registry._registered[name]


def test_an_id_of_ir_datasets_is_the_data_of_the_folder(toy_id: str, tmp_path: Path) -> None:
    ref = data_ref(f"ir:{toy_id}")
    assert ref is not None and ref.name == "toy-collection-test"
    row, subsets = read_own(ref, Reading())
    data = subsets["all"]
    assert isinstance(data, TextRetrieval)
    assert_toy(data)
    assert content_hash(data) == content_hash(load_beir(beir(tmp_path / "set"), None))
    assert row.task == "retrieval" and data.origin["layout"] == "ir_datasets"


def test_an_id_that_is_none_or_has_no_judgements_is_refused(toy_id: str) -> None:
    with pytest.raises(ConfigError, match="ir:toy/none: ir_datasets has no such id"):
        load_ir("toy/none")
    with pytest.raises(ConfigError, match="ir:toy/collection: has no queries and no qrels"):
        load_ir("toy/collection")


def test_without_the_library_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ir_datasets", None)
    with pytest.raises(MissingError, match=r"needs ir_datasets\. Run: pip install 'jina-clip"):
        load_ir("beir/scifact/test")
