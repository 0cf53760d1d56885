"""Every door for texts of one's own checks the same: each fault through each, as the table of docs/own-data.md has it."""

import gzip
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from evals.data.beir import load_beir
from evals.data.ir_library import judged_dataset
from evals.data.judged import NOTES
from evals.data.text_objects import text_retrieval
from evals.data.trec import load_trec
from evals.schema import InvalidError, TextRetrieval
from tests.test_data_judged import DOCS, QRELS, QUERIES
from tests.test_text_objects import toy_dataset

DOC = Path(__file__).parents[1] / "docs" / "own-data.md"
Rows = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Texts:
    """Documents (id, title, text), queries (id, text) and judgements (query, document, grade)."""

    docs: Rows = tuple(DOCS)
    queries: Rows = tuple(QUERIES[:2])
    qrels: Rows = tuple(QRELS)

    def corpus(self) -> list[dict[str, Any]]:
        return [{"_id": id_, "title": title, "text": text} for id_, title, text in self.docs]

    def asked(self) -> list[dict[str, Any]]:
        return [{"_id": id_, "text": text} for id_, text in self.queries]

    def judged(self) -> list[dict[str, Any]]:
        return [{"query-id": q, "corpus-id": d, "score": grade} for q, d, grade in self.qrels]


def at_beir(folder: Path, texts: Texts) -> TextRetrieval:
    (folder / "qrels").mkdir(parents=True)
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in texts.qrels)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    for name, rows in (("corpus", texts.corpus()), ("queries", texts.asked())):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return load_beir(folder, None)


def at_trec(folder: Path, texts: Texts) -> TextRetrieval:
    folder.mkdir(parents=True)
    files = {
        "collection.tsv": ["\t".join(row) for row in texts.docs],
        "topics.tsv": ["\t".join(row) for row in texts.queries],
        "qrels.txt": [f"{query} 0 {doc} {grade}" for query, doc, grade in texts.qrels],
    }
    for name, lines in files.items():
        (folder / name).write_text("\r\n".join(["\ufeff" + lines[0], *lines[1:]]) + "\r\n")
    return load_trec(folder, None)


def at_dataset(folder: Path, texts: Texts) -> TextRetrieval:
    make = pytest.importorskip("datasets").Dataset.from_list
    qrels = texts.judged()
    if any(isinstance(row["score"], str) for row in qrels):  # a column has one type
        qrels = [row | {"score": str(row["score"])} for row in qrels]
    return text_retrieval(make(texts.corpus()), make(texts.asked()), make(qrels))


def at_frame(folder: Path, texts: Texts) -> TextRetrieval:
    make = pytest.importorskip("pandas").DataFrame
    return text_retrieval(make(texts.corpus()), make(texts.asked()), make(texts.judged()))


def at_dicts(folder: Path, texts: Texts) -> TextRetrieval:
    return text_retrieval(texts.corpus(), texts.asked(), texts.judged())


def at_ir(folder: Path, texts: Texts) -> TextRetrieval:
    return judged_dataset(toy_dataset(texts.docs, texts.queries, texts.qrels), "toy", "0")


DOORS: Mapping[str, Callable[[Path, Texts], TextRetrieval]] = {
    "beir": at_beir,
    "trec": at_trec,
    "Dataset": at_dataset,
    "DataFrame": at_frame,
    "dicts": at_dicts,
    "ir": at_ir,
}


@dataclass(frozen=True)
class Fault:
    """Rows that are added, and what becomes of them; `note` is what is counted, `message` is told."""

    docs: Rows = ()
    queries: Rows = ()
    qrels: Rows = ()
    message: str = ""
    note: str = ""
    absent: tuple[str, ...] = ()  # doors that cannot hold it

    def at(self, door: str) -> str:
        if door in self.absent:
            return "–"
        return "refused" if self.message else "counted"


TYPED = ("trec",)  # all that a TREC file holds is text
FAULTS: Mapping[str, Fault] = {
    "document twice": Fault(docs=(("d1", "", "again"),), message="document 'd1' is listed at"),
    "query twice": Fault(queries=(("q1", "again"),), message="query 'q1' is listed at"),
    "blank id": Fault(docs=(("\u200b", "", "x"),), message="of the document is empty"),
    "empty query": Fault(queries=(("q9", ""),), message="the text of query 'q9' is empty"),
    "query of U+200B": Fault(queries=(("q9", "\u200b"),), message="'q9' is empty: it holds"),
    "query of U+FEFF": Fault(queries=(("q9", "\ufeff"),), message="'q9' is empty: it holds"),
    "list as a query": Fault(queries=(("q9", "['a', 'b']"),), message="a list written as a string"),
    "null as a query": Fault(queries=(("q9", None),), message="q9|`text`", absent=TYPED),
    "empty document": Fault(docs=(("d9", "", ""),), note="blank_documents"),
    "document of U+200B": Fault(docs=(("d9", "", "\u200b"),), note="blank_documents"),
    "unknown document": Fault(qrels=(("q1", "d9", 1),), message="there is no document 'd9'"),
    "unknown query": Fault(qrels=(("q9", "d1", 1),), message="there is no query 'q9'"),
    "grade is a word": Fault(qrels=(("q2", "d3", "yes"),), message="the grade is 'yes'"),
    "grade is 0.5": Fault(qrels=(("q2", "d3", 0.5),), message=r"the grade is '?0\.5"),
    "grade is NaN": Fault(qrels=(("q2", "d3", math.nan),), message="the grade is '?nan"),
    "two grades": Fault(qrels=(("q1", "d1", 1),), message="grade 1 for query 'q1', and 2"),
    "judgement twice": Fault(qrels=(("q1", "d1", 2),), note="repeated_judgements"),
    "negative grade": Fault(qrels=(("q2", "d3", -1),), note="negative_grades"),
    "query not judged": Fault(queries=(("q9", "why"),), note="queries_not_judged"),
    "query without relevant document": Fault(
        queries=(("q9", "why"),), qrels=(("q9", "d1", 0),), note="queries_without_relevant"
    ),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_at_a_door(name: str, door: str, tmp_path: Path) -> None:
    fault, texts = FAULTS[name], Texts()
    if fault.at(door) == "–":
        return
    faulty = replace(
        texts,
        docs=texts.docs + fault.docs,
        queries=texts.queries + fault.queries,
        qrels=texts.qrels + fault.qrels,
    )
    if fault.message:
        with pytest.raises(InvalidError, match=fault.message):
            DOORS[door](tmp_path / "data", faulty)
        return
    data = DOORS[door](tmp_path / "data", faulty)
    assert {key: data.origin.get(key) for key in NOTES if key in data.origin} == {fault.note: "1"}
    assert data.queries.ids == ["q1", "q2"]


@pytest.mark.parametrize("door", DOORS)
def test_every_door_gives_the_same(door: str, tmp_path: Path) -> None:
    data = DOORS[door](tmp_path / "data", Texts())
    assert list(data.docs.texts.items) == ["Cats They sleep.", "A dog runs.", "Sea Blue and deep."]
    assert data.qrels.tolist() == [[0, 0, 2], [1, 0, 1], [1, 1, 1]]
    assert not set(NOTES) & set(data.origin)


def table() -> str:
    """The table of docs/own-data.md."""
    lines = [f"| | {' | '.join(DOORS)} |", "|---" * (len(DOORS) + 1) + "|"]
    for name, fault in FAULTS.items():
        lines.append(f"| {name} | {' | '.join(fault.at(door) for door in DOORS)} |")
    return "\n".join(lines) + "\n"


def test_the_table_of_the_docs_is_the_one_that_is_tested() -> None:
    assert table() in DOC.read_text(encoding="utf-8"), f"put this there:\n{table()}"
