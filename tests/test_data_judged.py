"""BEIR folders and TREC files become one data, and every fault is refused by place or counted."""

import gzip
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evals.config.own_data import Reading, data_ref
from evals.data.beir import load_beir
from evals.data.judged import notes
from evals.data.own import read_own
from evals.data.trec import load_trec, read_judgements
from evals.evaluation.recording import content_hash
from evals.schema import ConfigError, InvalidError, MissingError, TextRetrieval

DOCS = [("d1", "Cats", "They sleep."), ("d2", "", "A dog runs."), ("d3", "Sea", "Blue and deep.")]
QUERIES = [("q1", "what do cats do"), ("q2", "a running animal"), ("q3", "nobody asks")]
QRELS = [("q1", "d1", 2), ("q1", "d3", 0), ("q2", "d2", 1), ("q2", "d1", 1)]


def beir(folder: Path, *, end: str = "\n", bom: bytes = b"", zipped: bool = False) -> Path:
    """The toy collection as a BEIR folder."""
    corpus = [json.dumps({"_id": id_, "title": title, "text": text}) for id_, title, text in DOCS]
    queries = [json.dumps({"_id": id_, "text": text}) for id_, text in QUERIES]
    qrels = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in QRELS)]
    (folder / "qrels").mkdir(parents=True)
    files = {"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels/test.tsv": qrels}
    for name, lines in files.items():
        data = bom + "".join(line + end for line in lines).encode()
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / name).write_bytes(data)
    return folder


def trec(folder: Path, *, markup: bool = False) -> Path:
    """The same as TREC files."""
    folder.mkdir(parents=True)
    docs = ["\t".join(row) for row in DOCS]
    topics = ["\t".join(row) for row in QUERIES]
    if markup:
        topics = [
            f"<top>\n<num> Number: {id_}\n<title> {text}\n<desc> Description:\nAt length.\n</top>\n"
            for id_, text in QUERIES
        ]
    qrels = [f"{query} 0 {doc} {grade}" for query, doc, grade in QRELS]
    files = {"collection.tsv": docs, "topics.txt": topics, "qrels.txt": qrels}
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def assert_toy(data: TextRetrieval) -> None:
    assert list(data.docs.texts.items) == ["Cats They sleep.", "A dog runs.", "Sea Blue and deep."]
    assert list(data.queries.texts.items) == ["what do cats do", "a running animal"]
    assert data.queries.ids == ["q1", "q2"] and data.docs.ids == ["d1", "d2", "d3"]
    assert data.qrels.tolist() == [[0, 0, 2], [1, 0, 1], [1, 1, 1]]
    assert data.counts == {"queries": 2, "documents": 3, "judgements": 3}
    assert notes(data.origin) == ["queries without a judgement, left out: 1"]


@pytest.mark.parametrize(("file", "what"), [("corpus", "document"), ("queries", "query")])
def test_a_file_without_items_is_refused_by_its_folder(
    tmp_path: Path, file: str, what: str
) -> None:
    folder = beir(tmp_path / "toy")
    (folder / f"{file}.jsonl").write_text("")
    with pytest.raises(InvalidError, match=rf"toy: has no {what}\. Give one or more"):
        load_beir(folder, None)


def test_every_way_to_write_the_files_gives_one_data(tmp_path: Path) -> None:
    ways = [
        load_beir(beir(tmp_path / "plain"), None),
        load_beir(beir(tmp_path / "windows", end="\r\n", bom=b"\xef\xbb\xbf"), None),
        load_beir(beir(tmp_path / "zipped", zipped=True), "test"),
        load_trec(trec(tmp_path / "tsv"), None),
        load_trec(trec(tmp_path / "markup", markup=True), None),
    ]
    for data in ways:
        assert_toy(data)
    assert len({content_hash(data) for data in ways}) == 1


def test_it_is_named_on_the_command_line_by_its_kind(tmp_path: Path) -> None:
    ref = data_ref(f"beir:{beir(tmp_path / 'My set')}")
    assert ref is not None
    row, subsets = read_own(ref, Reading())
    assert_toy(subsets["all"])
    assert (row.name, row.task, row.split) == ("my-set", "retrieval", "test")
    assert row.counts("all") == {"queries": 2, "documents": 3}


def test_the_split_is_the_usual_one_the_only_one_or_named(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set")
    (folder / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq3\td3\t1\n")
    assert load_beir(folder, None).origin["split"] == "test"
    dev = load_beir(folder, "dev")
    assert dev.queries.ids == ["q3"] and dev.docs.ids == ["d1", "d2", "d3"]
    with pytest.raises(ConfigError, match=r"no judgements of split 'train'; .* are dev, test"):
        load_beir(folder, "train")
    (folder / "qrels" / "test.tsv").unlink()
    assert load_beir(folder, None).origin["split"] == "dev"


def test_mtebs_judgements_in_json_lines_are_read(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set")
    (folder / "qrels" / "test.tsv").unlink()
    lines = [
        json.dumps({"query-id": query, "corpus-id": doc, "score": float(grade)})
        for query, doc, grade in QRELS
    ]
    (folder / "qrels" / "test.jsonl").write_text("\n".join(lines) + "\n")
    assert_toy(load_beir(folder, None))


FAULTS: Mapping[str, tuple[str, str, str]] = {
    # file, what is written at its end, and what the message says of it
    "document twice": (
        "corpus.jsonl",
        '{"_id": "d1", "text": "again"}\n',
        r"corpus\.jsonl, line 4: document 'd1' is listed at .*corpus\.jsonl, line 1 too\. Merge",
    ),
    "query twice": (
        "queries.jsonl",
        '{"_id": "q2", "text": "again"}\n',
        r"queries\.jsonl, line 4: query 'q2' is listed at .*line 2 too",
    ),
    "blank query": (
        "queries.jsonl",
        '{"_id": "q4", "text": "\\u200b\\ufeff"}\n',
        r"queries\.jsonl, line 4: the text of query 'q4' is empty: it holds invisible",
    ),
    "blank id": ("corpus.jsonl", '{"_id": " ", "text": "x"}\n', r"line 4: the id ' ' of the docu"),
    "number as text": (
        "corpus.jsonl",
        '{"_id": "d4", "text": 5}\n',
        r"line 4: the text of document 'd4' is a whole number, not a string",
    ),
    "no text": ("corpus.jsonl", '{"_id": "d4"}\n', r"line 4: no key `text`"),
    "no id": ("corpus.jsonl", '{"text": "x"}\n', r"line 4: no key `_id`"),
    "no JSON": ("corpus.jsonl", "d4\tx\n", r"corpus\.jsonl, line 4: not JSON"),
    "NaN": ("corpus.jsonl", '{"_id": "d4", "text": NaN}\n', r"line 4: NaN is no number of JSON"),
    "empty line": ("corpus.jsonl", "\n", r"line 4: is empty"),
    "list as string": (
        "queries.jsonl",
        '{"_id": "q4", "text": "[\'a\', \'b\']"}\n',
        r"line 4: the text of query 'q4' is a list written as a string",
    ),
    "unknown document": (
        "qrels/test.tsv",
        "q1\td9\t1\n",
        r"test\.tsv, line 6: there is no document 'd9'\. Correct the judgement, or complete",
    ),
    "unknown query": ("qrels/test.tsv", "q9\td1\t1\n", r"line 6: there is no query 'q9'"),
    "grade is a word": ("qrels/test.tsv", "q3\td1\tyes\n", r"line 6: the grade is 'yes', which"),
    "grade is a share": ("qrels/test.tsv", "q3\td1\t0.5\n", r"line 6: the grade is '0\.5', which"),
    "grade is nan": ("qrels/test.tsv", "q3\td1\tnan\n", r"line 6: the grade is 'nan', which is no"),
    "two grades": (
        "qrels/test.tsv",
        "q1\td1\t1\n",
        r"line 6: document 'd1' has grade 1 for query 'q1', and 2 before\. Remove one",
    ),
    "two cells": (
        "qrels/test.tsv",
        "q1\td1\n",
        r"line 6: 2 cells, where 3 are expected \(query-id",
    ),
    "four cells": ("qrels/test.tsv", "q1\t0\td1\t1\n", r"line 6: 4 cells, where 3 are expected"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_with_file_line_and_remedy(fault: str, tmp_path: Path) -> None:
    name, addition, message = FAULTS[fault]
    folder = beir(tmp_path / "set")
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write(addition)
    with pytest.raises(InvalidError, match=message):
        load_beir(folder, None)


def test_what_changes_no_ranking_is_counted_and_said(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set")
    with (
        (folder / "corpus.jsonl").open("a") as corpus,
        (folder / "qrels/test.tsv").open("a") as qrels,
    ):
        corpus.write('{"_id": "d4", "title": "", "text": "\\u200b"}\n')
        qrels.write("q3\td4\t-1\nq1\td1\t2\n")
    data = load_beir(folder, None)
    assert data.counts["documents"] == 4 and data.queries.ids == ["q1", "q2"]
    assert notes(data.origin) == [
        "blank documents, without visible text, measured as they are: 1",
        "queries without a relevant document, left out: 1",
        "negative grades, not relevant as in trec_eval: 1",
        "judgements that come again with the same grade, counted once: 1",
    ]


def test_without_any_relevant_document_there_is_nothing_to_measure(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t0\n")
    with pytest.raises(InvalidError, match="no query has a relevant document"):
        load_beir(folder, None)


def test_what_is_missing_or_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder"):
        load_beir(tmp_path / "nowhere", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match=r"no corpus\.jsonl in it, .* it holds nothing"):
        load_beir(tmp_path / "empty", None)
    folder = beir(tmp_path / "set")
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(ConfigError, match=r"corpus\.jsonl and corpus\.jsonl\.gz, either"):
        load_beir(folder, None)


def test_a_gzip_that_ends_early_is_broken(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set", zipped=True)
    file = folder / "corpus.jsonl.gz"
    file.write_bytes(file.read_bytes()[:-12])
    with pytest.raises(InvalidError, match=r"corpus\.jsonl\.gz: broken gzip"):
        load_beir(folder, None)


def test_text_that_is_not_utf8_is_named_by_line(tmp_path: Path) -> None:
    folder = trec(tmp_path / "set")
    (folder / "topics.txt").write_bytes(b"q1\tcats\nq2\t\xff\n")
    with pytest.raises(InvalidError, match=r"topics\.txt, line 2: not UTF-8"):
        load_trec(folder, None)


@pytest.mark.parametrize(
    ("name", "addition", "message"),
    [
        ("qrels.txt", "q1 0 d2\n", r"qrels\.txt, line 5: 3 columns, where 4 are expected"),
        ("collection.tsv", "d4\tx\n", r"collection\.tsv, line 4: 2 cells, where 3 are expected"),
        ("collection.tsv", "d4\tx\ty\tz\n", r"line 4: 4 cells, where 3 are expected"),
        ("topics.txt", "q4\n", r"topics\.txt, line 4: 1 cell, where 2 are expected"),
    ],
)
def test_a_line_of_trec_with_other_columns_is_refused(
    name: str, addition: str, message: str, tmp_path: Path
) -> None:
    folder = trec(tmp_path / "set")
    with (folder / name).open("a") as file:
        file.write(addition)
    with pytest.raises(InvalidError, match=message):
        load_trec(folder, None)


def test_judgements_of_beir_are_told_from_those_of_trec(tmp_path: Path) -> None:
    file = tmp_path / "test.tsv"
    file.write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    with pytest.raises(
        InvalidError, match=r"line 1: 3 columns.*a file of BEIR.*Rewrite it: "
    ) as told:
        list(read_judgements(file))
    command = str(told.value).partition("Rewrite it: ")[2]
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    [judgement] = read_judgements(tmp_path / "test.qrels")
    assert judgement[:3] == ("q1", "d1", "1")


def test_broken_markup_is_refused(tmp_path: Path) -> None:
    folder = trec(tmp_path / "set", markup=True)
    topics = folder / "topics.txt"
    whole = topics.read_text()
    topics.write_text(whole.replace("</top>", "", 1))
    with pytest.raises(InvalidError, match="3 topics begin and 2 end"):
        load_trec(folder, None)
    topics.write_text(whole.replace("<num> Number: q2\n", ""))
    with pytest.raises(InvalidError, match=r"topics\.txt, line 8: the topic has no <num>"):
        load_trec(folder, None)


def test_several_files_of_trec_need_a_split(tmp_path: Path) -> None:
    folder = trec(tmp_path / "set")
    (folder / "qrels.dev.txt").write_text("q3 0 d3 1\n")
    with pytest.raises(ConfigError, match=r"qrels\.dev\.txt, qrels\.txt could all be the qrels"):
        load_trec(folder, None)
    assert load_trec(folder, "dev").queries.ids == ["q3"]
    (folder / "collection.tsv").unlink()
    with pytest.raises(MissingError, match=r"no collection, a file with collection or corpus"):
        load_trec(folder, "dev")


def test_documents_may_have_images_beside_their_text_or_in_place_of_it(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set")
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (4, 4), colour).save(folder / name)
    with (folder / "corpus.jsonl").open("a") as corpus:
        corpus.write('{"_id": "d4", "image": "a.png"}\n')
        corpus.write('{"_id": "d5", "text": "both", "image": "b.png"}\n')
    data = load_beir(folder, None)
    assert data.docs.item_of_text.tolist() == [0, 1, 2, 4]
    assert data.docs.item_of_image.tolist() == [3, 4]
    assert np.asarray(data.docs.images.items[1]).tolist()[0][0] == [0, 0, 255]
    with (folder / "corpus.jsonl").open("a") as corpus:
        corpus.write('{"_id": "d6", "image": "../a.png"}\n')
    with pytest.raises(InvalidError, match=r"line 6: `image` must be a path below"):
        load_beir(folder, None)
